"""Routes that place calls and follow them."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from sqlalchemy import Connection

from offhook.api import routers
from offhook.api.audit_log import acted_on
from offhook.api.models import (
    CallStatusResponse,
    PlaceCallRequest,
    PlaceCallResponse,
)
from offhook.api.operator import Operator
from offhook.api.problems import STATUS, ApiError
from offhook.errors import UserError
from offhook.outbound.requests import OutboundRequest
from offhook.records import queries, tables

WAIT_MAX_S: Final = 25
"""Seconds for which a request for a call's state may wait for a change."""

_STATUS: Final = STATUS | {
    "E-OUT-07": 409,
    "E-OUT-08": 409,
    "E-OUT-10": 409,
    "E-OUT-12": 429,
    "E-OUT-13": 429,
    "E-OUT-17": 429,
    "E-OUT-05": 403,
    "E-OUT-11": 403,
    "E-TW-02": 503,
    "E-TW-03": 502,
}


def router(operator: Operator) -> APIRouter:
    """Return the routes for placing a call and following it."""
    made = routers.for_users("calls")

    @made.post(
        "/calls",
        operation_id="placeCall",
        summary="Place a call",
        status_code=201,
        response_model=PlaceCallResponse,
        responses={
            200: {
                "model": PlaceCallResponse,
                "description": "It was placed before, by the same key.",
            },
            403: {"description": "This number may not be called."},
            409: {
                "description": "Not under this key, or not at this hour.",
            },
            502: {"description": "Twilio refused."},
        },
    )
    async def place_call(
        asked: PlaceCallRequest,
        request: Request,
        response: Response,
        idempotency_key: Annotated[
            str | None,
            Header(
                description="Asked for again with the same key, it is the same call.",
                min_length=1,
                max_length=200,
            ),
        ] = None,
    ) -> PlaceCallResponse:
        """Have an agent call somebody.

        A key never causes two calls, whatever fails on the way. After a refusal with `Retry-After`
        the same request may be repeated at that time. When it is unknown if Twilio was asked
        (E-OUT-14), repeat the request with the same key: the call is then looked up.
        """
        wanted = OutboundRequest(
            asked.to,
            asked.agent,
            asked.variables,
            idempotency_key,
            asked.timezone,
            asked.within_hours,
        )
        try:
            placed = await operator.processes.place(wanted)
        except UserError as problem:
            raise ApiError.of(problem, _STATUS) from None
        acted_on(request, placed.sid)
        if placed.again:
            response.status_code = 200
        return PlaceCallResponse(call_sid=placed.sid, again=placed.again)

    @made.get(
        "/calls/{sid}/status",
        operation_id="stateOfCall",
        summary="Show the status of a placed call",
        response_model=CallStatusResponse,
        responses={404: {"description": "There is no such call."}},
    )
    async def state_of_call(
        sid: str,
        seen: Annotated[
            str | None, Query(description="Answer when the status is another than this.")
        ] = None,
        wait_s: Annotated[
            float, Query(ge=0, le=WAIT_MAX_S, description="How long to wait for that, in s.")
        ] = 0,
    ) -> CallStatusResponse:
        """Return the state of a placed call, by Twilio's last report."""
        try:
            state = await operator.processes.state(sid, seen, wait_s)
        except UserError as problem:
            raise ApiError.of(problem, _STATUS) from None
        if state is None:
            raise ApiError(
                404,
                UserError(
                    "E-OUT-18",
                    "Twilio knows no call with that CallSid.",
                    "Take the call_sid that POST /api/v1/calls has answered.",
                ),
            )
        slug, words = state.slug, state.words
        if slug is None and state.final:
            slug, words = await operator.ask(lambda connection: _ending(connection, sid))
        return CallStatusResponse(
            call_sid=sid,
            status=state.status,  # type: ignore[arg-type]  # pydantic checks it
            final=state.final,
            answered_by=state.answered_by,
            slug=slug,
            words=words,
        )

    return made


def _ending(connection: Connection, sid: str) -> tuple[str | None, str | None]:
    """Return the recorded ending of a call from an earlier run of the server."""
    calls = tables.calls.c
    try:
        row = queries.columns_of(connection, sid, calls.slug, calls.words)
    except UserError:
        return None, None
    return row.slug, row.words
