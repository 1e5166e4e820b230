"""Route GET /api/v1/load: live calls by capacity, for whatever adds and removes nodes."""

from typing import Final

from fastapi import APIRouter

from offhook.api import routers
from offhook.api.models import LoadResponse
from offhook.api.operator import Operator
from offhook.api.problems import STATUS, ApiError
from offhook.errors import UserError
from offhook.outbound.errors import TryLaterError
from offhook.records.fleet_load import fleet_load

AGAIN_S: Final = 5.0
"""Seconds after which the load can be asked for again."""


def router(operator: Operator) -> APIRouter:
    """Return the route of the load."""
    made = routers.for_users("calls")

    @made.get(
        "/load",
        operation_id="showLoad",
        summary="Live calls divided by the capacity",
        responses={503: {"description": "The load cannot be counted."}},
    )
    async def show_load() -> LoadResponse:
        """Count live calls and the capacity of all that takes calls.

        What cannot be counted is 503, never 0: an autoscaler that takes an error for no load would
        remove nodes in the middle of their calls.
        """
        try:
            return await count(operator)
        except UserError as problem:
            raise ApiError.of(problem, STATUS) from None

    return made


async def count(operator: Operator) -> LoadResponse:
    """Return the load of this machine, or of all nodes that share calls.

    Raises TryLaterError when it cannot be counted, and SQLAlchemyError when the database of the
    nodes does not answer.
    """
    if operator.shares_calls:
        live, capacity, nodes = await operator.ask(fleet_load)
        if not capacity:
            raise _uncounted("no node takes calls, or none has said so within its lease")
        return _response(live, capacity, nodes)
    states = await operator.processes.states()
    known = [state for state in states if state is not None]
    if len(known) < len(states):
        raise _uncounted("a call process does not answer")
    capacity = sum(state.capacity for state in known)
    if not capacity:
        raise _uncounted("every call process drains")
    return _response(sum(state.live for state in known), capacity, 1)


def _response(live: int, capacity: int, nodes: int) -> LoadResponse:
    return LoadResponse(load=round(live / capacity, 4), live=live, capacity=capacity, nodes=nodes)


def _uncounted(why: str) -> TryLaterError:
    return TryLaterError(
        "E-API-29",
        f"The load cannot be counted: {why}.",
        "Leave the number of nodes as it is, and ask again in a moment.",
        AGAIN_S,
    )
