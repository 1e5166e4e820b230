"""Routes that act on live calls; each answer says what happened (docs/control.md)."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request

from offhook.api import routers
from offhook.api.models import DoneResponse, OpenStreamResponse
from offhook.api.operator import Operator
from offhook.api.principal import principal_of
from offhook.api.problems import ApiError
from offhook.calls.operations import (
    OPERATIONS,
    RECORDING,
    STREAM_OPERATIONS,
    Operation,
    StreamOperation,
    no_live_call,
)
from offhook.errors import UserError
from offhook.link.messages import OpenOperatorStream
from offhook.tools.declare import ToolError

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    404: {"description": "No such call is live."},
    409: {"description": "It was not done; `detail` says what happened."},
}


def router(operator: Operator) -> APIRouter:
    """Return a route for each operation, except RECORDING, which api/calls.py answers."""
    made = routers.for_users("live calls")
    for operation in OPERATIONS:
        if operation is RECORDING:
            continue
        made.add_api_route(
            f"/calls/{{sid}}/{operation.name}",
            _endpoint(operator, operation),
            methods=["POST"],
            operation_id=operation.id,
            summary=operation.summary,
            description=operation.description,
            response_model=DoneResponse,
            responses=_RESPONSES,
        )
    for stream in STREAM_OPERATIONS:
        made.add_api_route(
            f"/calls/{{sid}}/{stream.name}",
            _stream_endpoint(operator, stream),
            methods=["POST"],
            operation_id=stream.id,
            summary=stream.summary,
            description=stream.description,
            status_code=201,
            response_model=OpenStreamResponse,
            responses=_RESPONSES,
        )
    return made


def _stream_endpoint(
    operator: Operator, operation: StreamOperation
) -> Callable[[Request, str], Awaitable[OpenStreamResponse]]:
    """Return the endpoint of an operation that opens a stream."""

    async def open_stream(http: Request, sid: str) -> OpenStreamResponse:
        by = principal_of(http).name
        order = OpenOperatorStream(sid, operation.name, by)
        try:
            stream = await operator.processes.stream_of(sid, order)
        except ToolError as error:
            raise not_done(error) from None
        except UserError as error:
            if error.code == no_live_call().code:
                raise ApiError(404, error) from None
            raise
        return OpenStreamResponse(stream=operator.streams.path(stream, by, full="drop"))

    return open_stream


def _endpoint(
    operator: Operator, operation: Operation
) -> Callable[[Request, str, Any], Awaitable[DoneResponse]]:
    """Return the endpoint of an operation, with a body of the declared type."""

    async def act(http: Request, sid: str, arguments: Any) -> DoneResponse:
        given = (arguments or operation.arguments()).model_dump()
        by = principal_of(http).name
        try:
            performed = await operator.processes.perform(sid, operation.name, given, by)
        except ToolError as error:
            raise not_done(error) from None
        if performed.outcome == "done":
            return DoneResponse(done=True, what=performed.what)
        if performed.outcome == "over" and operation.name == "hang-up":
            return DoneResponse(done=True, what="the call was over already")
        raise ApiError(404, no_live_call())

    body: Any = operation.arguments
    if not any(field.is_required() for field in operation.arguments.model_fields.values()):
        body = Annotated[body | None, Body()]
        act.__defaults__ = (None,)
    act.__annotations__["arguments"] = body  # FastAPI checks and documents the body by it
    return act


def not_done(refused: ToolError) -> ApiError:
    """Return the answer to an operation that was refused."""
    return ApiError(
        409,
        UserError(
            "E-API-19",
            f"It was not done: {str(refused).rstrip('.')}.",
            "docs/control.md says when what can be asked.",
        ),
    )
