"""Route POST /api/v1/phone-calls: call an agent from the console's softphone."""

from typing import Final

from fastapi import APIRouter, Request

from offhook.api import routers
from offhook.api.audit_log import acted_on
from offhook.api.models import (
    AnnouncementResponse,
    OpenPhoneRequest,
    OpenPhoneResponse,
)
from offhook.api.operator import Operator
from offhook.api.principal import principal_of
from offhook.api.problems import STATUS, ApiError
from offhook.errors import UserError
from offhook.link.messages import OpenedStream, OpenPhoneCall

_STATUS: Final = STATUS | {"E-PHONE-01": 404, "E-PHONE-03": 429, "E-PHONE-04": 429}


def router(operator: Operator) -> APIRouter:
    """Return the route for calls from the softphone."""
    made = routers.for_users("calls")

    @made.post(
        "/phone-calls",
        operation_id="openPhoneCall",
        summary="Call an agent from the browser",
        status_code=201,
        response_model=OpenPhoneResponse,
        responses={
            404: {"description": "There is no such agent."},
            429: {"description": "A limit takes no further call."},
        },
    )
    async def open_phone_call(request: Request, asked: OpenPhoneRequest) -> OpenPhoneResponse:
        """Begin a call to an agent, whose caller's side is a WebSocket.

        The call counts against every limit at once. Say the `announcement`, if there is one, then
        open the WebSocket at `stream` within 10 s, as the same user: docs/protocols/console.md says
        what is sent there.
        """
        user = principal_of(request).name
        order = OpenPhoneCall(asked.agent, user, asked.variables)
        try:
            stream = await operator.processes.phone(order)
        except UserError as problem:
            raise ApiError.of(problem, _STATUS) from None
        opened = stream.opened
        acted_on(request, opened.call_sid)
        return OpenPhoneResponse(
            call_sid=opened.call_sid,
            account_sid=opened.account_sid,
            stream_sid=opened.stream_sid,
            stream=operator.streams.path(stream, user, full="wait"),
            announcement=_announcement(opened),
        )

    return made


def _announcement(opened: OpenedStream) -> AnnouncementResponse | None:
    if not opened.announcement:
        return None
    return AnnouncementResponse(say=opened.announcement, language=opened.language)
