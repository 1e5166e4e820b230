"""Routes that act on live calls; each answer says what happened (docs/control.md)."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body

from offhook.api.models import DoneResponse, ProblemResponse
from offhook.api.operator import Operator
from offhook.api.problems import ApiError
from offhook.calls.operations import OPERATIONS, RECORDING, Operation
from offhook.errors import UserError
from offhook.tools.declare import ToolError

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": ProblemResponse, "description": "No such call is live."},
    409: {"model": ProblemResponse, "description": "It was not done; `detail` says what happened."},
}


def router(operator: Operator) -> APIRouter:
    """Return a route for each operation, except RECORDING, which api/calls.py answers."""
    made = APIRouter(tags=["live calls"])
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
    return made


def _endpoint(
    operator: Operator, operation: Operation
) -> Callable[[str, Any], Awaitable[DoneResponse]]:
    """Return the endpoint of an operation, with a body of the declared type."""

    async def act(sid: str, arguments: Any) -> DoneResponse:
        given = (arguments or operation.arguments()).model_dump()
        try:
            performed = await operator.processes.perform(sid, operation.name, given)
        except ToolError as error:
            raise ApiError(
                409,
                UserError(
                    "E-API-19",
                    f"It was not done: {str(error).rstrip('.')}.",
                    "docs/control.md says when what can be asked.",
                ),
            ) from None
        if performed.outcome == "done":
            return DoneResponse(done=True, what=performed.what)
        if performed.outcome == "over" and operation.name == "hang-up":
            return DoneResponse(done=True, what="the call was over already")
        raise ApiError(
            404,
            UserError(
                "E-API-18",
                "No call with that CallSid is live.",
                "See which are: GET /api/v1/calls?live=true, or offhook calls --live.",
            ),
        )

    body: Any = operation.arguments
    if not any(field.is_required() for field in operation.arguments.model_fields.values()):
        body = Annotated[body | None, Body()]
        act.__defaults__ = (None,)
    act.__annotations__["arguments"] = body  # FastAPI checks and documents the body by it
    return act
