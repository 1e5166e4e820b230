"""Routes for a call that is over: erase it, or deliver its record again."""

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.responses import Response

from offhook.api import routers
from offhook.api.models import EraseResponse
from offhook.api.operator import Operator
from offhook.api.principal import needs
from offhook.api.problems import ApiError
from offhook.errors import UserError
from offhook.records import erasing, jobs, queries, tables
from offhook.records.database import clock_ms
from offhook.users.principal import Role


def router(operator: Operator) -> APIRouter:
    """Return the routes for erasing and resending."""
    made = routers.for_users("calls")
    unknown = {"description": "There is no such call."}
    early = {
        "description": "It is not over, or there is no such webhook.",
    }

    @made.delete(
        "/calls/{sid}",
        operation_id="eraseCall",
        summary="Erase a call",
        dependencies=[needs(Role.ADMIN)],
        response_model=EraseResponse,
        responses={
            404: unknown,
            409: {**early, "description": "It is not over."},
            500: {"description": "Erased, but for its recording's file."},
        },
    )
    async def erase_call(sid: str) -> EraseResponse:
        """Remove a call's rows and recording for good, and return what was removed.

        After a timeout the removal goes on: repeat the request to see its result.
        """
        await operator.ask(lambda connection: _over(connection, sid))
        operator.live.forget(sid)
        operator.board.drop(sid)
        erasure = await operator.readers.run(
            lambda: erasing.erase(operator.engine, operator.files, operator.journal, [sid])
        )
        erasing.require_all_gone(erasure)
        return EraseResponse(removed=dict(erasure.removed))

    @made.post(
        "/calls/{sid}/resend",
        operation_id="resendCall",
        summary="Deliver a call's record again",
        status_code=202,
        response_class=Response,
        responses={404: unknown, 409: early},
    )
    async def resend_call(sid: str) -> Response:
        """Deliver the after-call webhook again, with all its attempts."""
        if not operator.delivers:
            raise ApiError(
                409,
                UserError(
                    "E-API-17",
                    "No after-call webhook is configured, so nothing can be delivered.",
                    "Set records.webhook.url in offhook.yaml, and restart.",
                ),
            )
        await operator.change(lambda connection: jobs.resend(connection, sid, clock_ms(connection)))
        return Response(status_code=202)

    return made


def _over(connection: Connection, sid: str) -> None:
    """Raise UserError E-ASK-04 if there is no such call, and ApiError 409 if it is live."""
    if queries.columns_of(connection, sid, tables.calls.c.duration_ms).duration_ms is None:
        raise ApiError(
            409,
            UserError(
                "E-API-16",
                "This call is live: what it leaves behind is still being written.",
                "Erase it when it is over.",
            ),
        )
