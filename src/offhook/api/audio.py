"""A call's recording over HTTP: in ranges, as browsers request it, and while it still grows."""

import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Header, Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from offhook.api import routers
from offhook.api.models import LinkRequest, LinkResponse, PeaksResponse
from offhook.api.operator import Operator, as_json
from offhook.api.problems import ApiError
from offhook.errors import UserError
from offhook.journal.folders import machine_id
from offhook.recordings import reading
from offhook.recordings.files import LocalFiles
from offhook.recordings.peaks import BUCKET_MS
from offhook.recordings.wav import STEREO_HEADER_BYTES, stereo_header
from offhook.records import queries, tables
from offhook.records.recording_place import elsewhere, node_of_recording

CHUNK_BYTES: Final = 128 * 1024
"""Bytes that are read and sent at once: no thread or file waits for a slow client."""

Form = Literal["mulaw", "pcm16"]

MISSING: Final = "E-AUD-04"
"""Code of the error for a recording that is not in this node's folder."""

_T = TypeVar("_T")

_SPAN: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class _View:
    """A recording in one of its two forms, with its length at the time of opening."""

    files: LocalFiles
    found: reading.RecordingFile
    form: Form
    changed: int

    @property
    def size(self) -> int:
        if self.form == "pcm16":
            return self.found.pcm16_bytes
        return STEREO_HEADER_BYTES + 2 * self.found.samples

    @property
    def etag(self) -> str:
        return f'"{self.form}-{self.found.samples:x}-{self.changed:x}"'

    def read(self, start: int, stop: int) -> bytes:
        """Return a range of the recording's bytes. Blocks."""
        if self.form == "pcm16":
            return b"".join(reading.pcm16(self.files, self.found.name, start, stop))
        header = stereo_header(self.found.samples)[start:stop]
        with self.files.open(self.found.name) as file:
            file.seek(max(start, STEREO_HEADER_BYTES))
            return header + file.read(max(0, stop - max(start, STEREO_HEADER_BYTES)))


def router(operator: Operator) -> APIRouter:
    """Return the routes of audio, of its loudness, and of links to it."""
    made = routers.for_users("recordings")
    unknown = {"description": "No such call, or no recording of it."}

    async def read(sid: str, work: Callable[[str], _T]) -> _T:
        """Return what `work` reads of a call's recording, by its name."""
        name = await operator.ask(lambda connection: recording_of(connection, sid))
        try:
            return await operator.readers.run(lambda: work(name))
        except UserError as error:
            if error.code != MISSING:
                raise
            machine = machine_id(operator.journal)
            node = await operator.ask(
                lambda connection: node_of_recording(connection, sid, machine)
            )
            if node is None:
                raise
            raise elsewhere(name, node) from None

    async def look(sid: str, form: Form) -> _View:
        return await read(sid, lambda name: _look(operator.files, name, form))

    async def pieces(view: _View, start: int, stop: int) -> AsyncIterator[bytes]:
        for at in range(start, stop, CHUNK_BYTES):
            end = min(at + CHUNK_BYTES, stop)
            yield await operator.readers.run(lambda at=at, end=end: view.read(at, end))  # type: ignore[misc]

    async def send(request: Request, sid: str, form: Form) -> Response:
        view = await look(sid, form)
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": view.etag,
            "Content-Type": "audio/wav",
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(sid, safe='')}.wav",
        }
        if view.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"ETag": view.etag})
        span = None
        if request.headers.get("if-range", view.etag) == view.etag:
            span = _span(request.headers.get("range"), view.size)
        start, stop = span or (0, view.size)
        headers["Content-Length"] = str(stop - start)
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{view.size}"
        status = 200 if span is None else 206
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        return StreamingResponse(pieces(view, start, stop), status, headers)

    @made.get(
        "/calls/{sid}/audio",
        operation_id="getAudio",
        summary="Download the audio of a call",
        response_class=Response,
        responses={
            200: {
                "description": "A WAV file in stereo, 8000 Hz: caller left, agent right.",
                "content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}},
            },
            206: {
                "description": "The part of it that was asked for.",
                "content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}},
            },
            304: {"description": "It is the one that the client has."},
            416: {"description": "It has no such part."},
            404: unknown,
        },
    )
    async def get_audio(
        request: Request,
        sid: str,
        form: Annotated[
            Form,
            Query(alias="format", description="`pcm16` is what browsers play."),
        ] = "mulaw",
        range_: Annotated[
            str | None, Header(alias="Range", description="One range of bytes.")
        ] = None,
    ) -> Response:
        """Send the recording as far as it is written; that of a live call grows.

        A path from a link needs no token.
        """
        return await send(request, sid, form)

    @made.head("/calls/{sid}/audio", include_in_schema=False)
    async def head_audio(
        request: Request, sid: str, form: Annotated[Form, Query(alias="format")] = "mulaw"
    ) -> Response:
        return await send(request, sid, form)

    @made.get(
        "/calls/{sid}/peaks",
        operation_id="getPeaks",
        summary="Show the loudness of a call, to draw it",
        response_model=PeaksResponse,
        responses={404: unknown},
    )
    async def get_peaks(sid: str) -> Response:
        """Return the loudness of caller and agent, for a drawing."""

        def work(name: str) -> bytes:
            found = reading.find(operator.files, name)
            peaks = reading.peaks(operator.files, name)
            body = {
                "bucket_ms": BUCKET_MS,
                "length_ms": found.length_ms,
                "caller": list(peaks.caller),
                "agent": list(peaks.agent),
            }
            return msgspec.json.encode(body)

        return as_json(await read(sid, work))

    @made.post(
        "/calls/{sid}/links",
        operation_id="makeLink",
        summary="Make a link to a call's audio",
        response_model=LinkResponse,
        status_code=201,
        responses={404: unknown},
    )
    async def make_link(sid: str, asked: LinkRequest) -> LinkResponse:
        """Make a link with which anybody can hear this call, and nothing else, until it expires."""
        await look(sid, "mulaw")
        url, expires = operator.links.make(sid, asked.lasts_s)
        return LinkResponse(url=url, expires=expires)

    return made


def recording_of(connection: Connection, sid: str) -> str:
    """Return the name of a call's recording.

    Raises UserError E-ASK-04 when there is no such call, and ApiError 404 when it has no recording.
    """
    name: str | None = queries.columns_of(connection, sid, tables.calls.c.recording).recording
    if name is None:
        raise _none()
    return name


def _look(files: LocalFiles, name: str, form: Form) -> _View:
    found = reading.find(files, name)
    try:
        with files.open(name) as file:
            # Silencing a part later keeps the length but changes the content.
            changed = os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:  # erased since
        raise _none() from None
    return _View(files, found, form, changed)


def _none() -> ApiError:
    return ApiError(
        404,
        UserError(
            "E-API-12",
            "There is no recording of this call.",
            'Calls are recorded whose agent file says "recording: on".',
        ),
    )


def _span(asked: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last; None for all of it.

    A request for several ranges, or for a unit other than bytes, may be answered with all of it
    (RFC 9110, 14.2). Raises ApiError 416.
    """
    if asked is None or not asked.startswith("bytes=") or "," in asked:
        return None
    given = _SPAN.fullmatch(asked.replace(" ", ""))
    if given is not None and any(given.groups()):
        first, last = given[1], given[2]
        start = int(first) if first else max(0, size - int(last))
        stop = min(int(last) + 1, size) if first and last else size
        if start < stop:
            return start, stop
    raise ApiError(
        416,
        UserError(
            "E-API-10",
            f"The recording has no such range of bytes; it has {size}.",
            "Ask for bytes=FIRST-LAST within that, or without Range.",
        ),
        {"Content-Range": f"bytes */{size}"},
    )
