"""Route GET /api/v1/live: events of calls as they happen."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from offhook.api import routers
from offhook.api.live import LiveListener
from offhook.api.models import LiveSnapshotResponse
from offhook.api.operator import Operator, as_json

_EXAMPLE = """\
id: 5f1d02c4-17
event: CallerSaid
data: {"call_sid":"CA0123456789abcdef0123456789abcdef","at_ms":5230,"event":{"text":"Hello?","start_ms":4310},"words":"the caller spoke"}

"""  # noqa: E501 - must be one line


class _Stream(StreamingResponse):
    """A response that stops listening when the client is gone, however the server notices that."""

    def __init__(self, listener: LiveListener) -> None:
        super().__init__(listener, media_type="text/event-stream")
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._listener:
            await super().__call__(scope, receive, send)


def router(operator: Operator) -> APIRouter:
    """Return the route of live events."""
    made = routers.for_users("live")

    @made.get(
        "/live",
        operation_id="followCalls",
        summary="Follow the events of live calls",
        response_class=Response,
        responses={
            200: {
                "description": "Events, until the client goes or the server stops.",
                "content": {
                    "text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}
                },
            }
        },
    )
    async def follow(
        call_sid: Annotated[str | None, Query(description="Of this call alone.")] = None,
        after: Annotated[
            str | None,
            Query(description="As `Last-Event-ID`, which wins over it, for a first request."),
        ] = None,
        last_event_id: Annotated[
            str | None, Header(description="`id` of the last event that was received.")
        ] = None,
    ) -> Response:
        """Server-sent events, from now on, or from behind `Last-Event-ID`.

        `event` is the name of an event of Offhook and `data` is JSON: `call_sid`, `at_ms` since
        that call began, the `event`'s fields, and `words`: a sentence about it without what was
        said, which may change. `call` has the fields of the call's row in `/api/v1/live/snapshot`
        that the event changes, if any; null: the call is over. An event named `gap` says that
        some are not available any more: `lost` of them, or null when their number is not known,
        as after a restart of the server. One named `nodes` has the `nodes` of a fleet, as in the
        snapshot, when one of them has changed its state. Every 15 s a comment shows that the
        connection is alive.
        """
        return _Stream(operator.live.listen(last_event_id or after, call_sid))

    @made.get(
        "/live/snapshot",
        operation_id="showLiveCalls",
        summary="Show the live calls",
        response_model=LiveSnapshotResponse,
    )
    async def show_live_calls() -> Response:
        """Return every live call, those with trouble first, then the longest.

        Follow `/api/v1/live?after=LAST_EVENT_ID`: the snapshot and the events behind it are every
        event once. Each event's `call` has the fields of its call's row that it changes, and is
        null when the call is over.
        """
        return as_json(await operator.snapshots.take(operator.ask))

    return made
