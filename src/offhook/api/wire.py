"""Routes of a call's wire log: the messages of both sockets, where the call was captured."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from offhook.api import routers
from offhook.api.audio import CHUNK_BYTES
from offhook.api.operator import Operator, as_json
from offhook.api.principal import needs
from offhook.api.problems import ApiError
from offhook.capture import wire_log
from offhook.capture.wire_log import WirePage
from offhook.errors import UserError
from offhook.records import queries, tables
from offhook.users.principal import Role


def router(operator: Operator) -> APIRouter:
    """Return the routes of wire logs."""
    made = routers.for_users("wire log")
    unknown = {"description": "No such call, or it was not captured."}

    async def started_ms(sid: str) -> int:
        row = await operator.ask(
            lambda connection: queries.columns_of(connection, sid, tables.calls.c.started_ms)
        )
        return int(row.started_ms)

    @made.get(
        "/calls/{sid}/wire",
        operation_id="getWireLog",
        summary="The messages of both sockets of a call",
        dependencies=[needs(Role.OPERATOR)],
        response_model=WirePage,
        responses={404: unknown},
    )
    async def get_wire_log(
        sid: str,
        limit: Annotated[int, Query(ge=1, le=wire_log.PAGE_MAX)] = 200,
        cursor: Annotated[
            str | None, Query(description="`next_cursor` of the previous page.")
        ] = None,
    ) -> Response:
        """Return what went over both sockets, in order, where `serve --capture` has captured it.

        A viewer may not see it: it has what redaction took out of the record, and the prompt.

        Frames of audio are counted. A page looks through 8 MB of a capture at most: it may have
        few entries, and a `next_cursor` all the same.
        """
        began = await started_ms(sid)

        def work() -> bytes:
            files = _captures(operator, sid)
            return msgspec.json.encode(wire_log.page(files, began, limit, cursor))

        return as_json(await operator.readers.run(work))

    @made.get(
        "/calls/{sid}/wire.jsonl",
        operation_id="downloadWireLog",
        summary="A call's captures",
        dependencies=[needs(Role.OPERATOR)],
        response_class=Response,
        responses={
            200: {
                "description": "Its captures, for `offhook rehearse --replay`.",
                "content": {"application/jsonl": {"schema": {"type": "string"}}},
            },
            404: unknown,
        },
    )
    async def download_wire_log(sid: str) -> Response:
        """Send the captures of a call as they are on the disk, with their audio."""
        await started_ms(sid)
        files = await operator.readers.run(lambda: _captures(operator, sid))

        async def pieces() -> AsyncIterator[bytes]:
            parts = wire_log.pieces(files, CHUNK_BYTES)
            while (piece := await operator.readers.run(lambda: next(parts, None))) is not None:
                yield piece

        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(sid, safe='')}.jsonl"
        }
        return StreamingResponse(pieces(), media_type="application/jsonl", headers=headers)

    return made


def _captures(operator: Operator, sid: str) -> list[Path]:
    try:
        return wire_log.captures_of(operator.captures, sid)
    except UserError as none:
        raise ApiError(404, none) from None
