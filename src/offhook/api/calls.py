"""The record, over HTTP: which calls there were, what they come to, all of one of them."""

from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.responses import Response

from offhook.api.models import (
    ListCallsRequest,
    ProblemResponse,
    RecordingRequest,
    RecordingResponse,
    SumCallsRequest,
)
from offhook.api.operator import Operator
from offhook.api.problems import ApiError
from offhook.clock import wall_clock
from offhook.errors import UserError
from offhook.records import call_record, queries
from offhook.records.models import CallPage, CallRecord, GroupTotals, Totals


def router(operator: Operator) -> APIRouter:
    """Asking, and what can be done about one call."""
    made = APIRouter(tags=["calls"])
    unknown = {"model": ProblemResponse, "description": "There is no such call."}

    @made.get("/calls", operation_id="listCalls", summary="List calls", response_model=CallPage)
    async def list_calls(asked: Annotated[ListCallsRequest, Query()]) -> Response:
        """Calls, newest first. `next_cursor` of one page asks for the next one."""
        which = asked.filter(wall_clock(UTC))

        def question(connection: Connection) -> CallPage:
            return queries.find(connection, which, asked.limit, asked.cursor)

        return await operator.answer(question)

    @made.get(
        "/totals",
        operation_id="sumCalls",
        summary="What calls come to",
        response_model=Totals | list[GroupTotals],
    )
    async def sum_calls(asked: Annotated[SumCallsRequest, Query()]) -> Response:
        """Sums over calls: one of all of them, or one for each agent or day (UTC)."""
        which, by = asked.filter(wall_clock(UTC)), asked.by

        def question(connection: Connection) -> Totals | list[GroupTotals]:
            if by is None:
                return queries.totals(connection, which)
            return queries.sums(connection, which, by)

        return await operator.answer(question)

    @made.get(
        "/calls/{sid}",
        operation_id="showCall",
        summary="All of one call",
        response_model=CallRecord,
        responses={404: unknown},
    )
    async def show_call(sid: str) -> Response:
        """Everything that is known of a call, with its timeline."""

        def question(connection: Connection) -> CallRecord:
            return call_record.shown(connection, sid)

        return await operator.answer(question)

    @made.post(
        "/calls/{sid}/recording",
        operation_id="pauseRecording",
        summary="Pause or resume a recording",
        response_model=RecordingResponse,
        responses={
            404: unknown,
            409: {"model": ProblemResponse, "description": "It is over, or is not recorded."},
        },
    )
    async def set_recording(sid: str, asked: RecordingRequest) -> RecordingResponse:
        """While a recording is paused both sides are silent in it, and its time goes on."""
        paused = asked.state == "paused"
        change = operator.calls.pause_recording if paused else operator.calls.resume_recording
        if not change(sid):
            if operator.calls.find(sid) is None:
                await operator.ask(lambda connection: call_record.shown(connection, sid))
            raise ApiError(
                409,
                UserError(
                    "E-API-13",
                    "This call is over, or it is not recorded.",
                    'Calls are recorded whose agent file says "recording: on".',
                ),
            )
        what = "the recording is paused" if paused else "what is said is recorded"
        return RecordingResponse(done=True, what=what, call_sid=sid, state=asked.state)

    return made
