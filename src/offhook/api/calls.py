"""Routes of the record: calls, their sums, and all data of one call."""

import contextlib
from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from offhook.api import routers
from offhook.api.models import (
    ListCallsRequest,
    PricesResponse,
    RecordingResponse,
    SumCallsRequest,
)
from offhook.api.operator import Operator
from offhook.api.principal import principal_of
from offhook.api.problems import ApiError
from offhook.calls.operations import RECORDING, RecordingRequest
from offhook.clock import wall_clock
from offhook.errors import UserError
from offhook.records import call_record, queries
from offhook.records.models import CallPage, ExportedCall, GroupTotals, Totals
from offhook.tools.declare import ToolError


def router(operator: Operator) -> APIRouter:
    """Return the routes of the record, and of a recording."""
    made = routers.for_users("calls")
    unknown = {"description": "There is no such call."}

    @made.get("/calls", operation_id="listCalls", summary="List calls", response_model=CallPage)
    async def list_calls(asked: Annotated[ListCallsRequest, Query()]) -> Response:
        """List calls, newest first. `next_cursor` of one page requests the next one."""
        which = asked.filter(wall_clock(UTC))

        def question(connection: Connection) -> CallPage:
            return queries.find(connection, which, asked.limit, asked.cursor)

        return await operator.answer(question)

    @made.get(
        "/totals",
        operation_id="sumCalls",
        summary="Sum calls",
        response_model=Totals | list[GroupTotals],
    )
    async def sum_calls(asked: Annotated[SumCallsRequest, Query()]) -> Response:
        """Sum calls: one sum of all of them, or one for each agent or day (UTC)."""
        which, by = asked.filter(wall_clock(UTC)), asked.by

        def question(connection: Connection) -> Totals | list[GroupTotals]:
            if by is None:
                return queries.totals(connection, which)
            return queries.sums(connection, which, by)

        return await operator.answer(question)

    @made.get("/prices", operation_id="showPrices", summary="Prices by which costs are computed")
    async def show_prices() -> PricesResponse:
        """Return the prices of a minute. Calls that are over keep the cost of their day."""
        return PricesResponse(**operator.prices.model_dump())

    @made.get(
        "/calls/{sid}",
        operation_id="showCall",
        summary="Show a call",
        response_model=ExportedCall,
        responses={404: unknown},
    )
    async def show_call(sid: str) -> Response:
        """Return everything that is known of a call, with its timeline."""

        def question(connection: Connection) -> ExportedCall:
            return call_record.exported(
                call_record.shown(connection, sid), operator.prices.currency
            )

        return await operator.answer(question)

    @made.post(
        f"/calls/{{sid}}/{RECORDING.name}",
        operation_id=RECORDING.id,
        summary=RECORDING.summary,
        description=RECORDING.description,
        response_model=RecordingResponse,
        responses={
            404: unknown,
            409: {"description": "It is over, or is not recorded."},
        },
    )
    async def set_recording(http: Request, sid: str, asked: RecordingRequest) -> RecordingResponse:
        # Unlike other operations, this one distinguishes a call that is over from an unknown one.
        what = ""
        with contextlib.suppress(ToolError):
            by = principal_of(http).name
            done = await operator.processes.perform(sid, RECORDING.name, asked.model_dump(), by)
            what = done.what
            if done.outcome == "unknown":
                await operator.ask(lambda connection: call_record.shown(connection, sid))
        if not what:
            raise ApiError(
                409,
                UserError(
                    "E-API-13",
                    "This call is over, or it is not recorded.",
                    'Calls are recorded whose agent file says "recording: on".',
                ),
            )
        return RecordingResponse(done=True, what=what, call_sid=sid, state=asked.state)

    return made
