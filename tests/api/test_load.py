"""GET /api/v1/load: a ratio that can be trusted, or 503."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from tests.api.desk import Desk, desk
from tests.waiting import until
from tests.whole_server import GREET, HANG_UP

from offhook.api.load import count
from offhook.api.operator import Operator
from offhook.link.messages import CallProcessState
from offhook.outbound.errors import TryLaterError

LOAD = "/api/v1/load"


class Processes:
    """Call processes with these states."""

    def __init__(self, *states: CallProcessState | None) -> None:
        self._states = [*states]
        self.processes = self

    async def states(self) -> list[CallProcessState | None]:
        return self._states


def process(live: int, capacity: int) -> CallProcessState:
    return CallProcessState(
        is_draining=not capacity, live=live, knows_call=False, capacity=capacity
    )


async def counted(*states: CallProcessState | None) -> dict[str, Any]:
    return (await count(cast("Operator", Processes(*states)))).model_dump()


async def loaded(d: Desk) -> dict[str, Any]:
    answer = await d.ask(LOAD)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_it_is_live_calls_divided_by_the_capacity(tmp_path: Path) -> None:
    async with desk(tmp_path, capacity=4) as d:
        assert await loaded(d) == {"load": 0.0, "live": 0, "capacity": 4}
        seen = []
        entered = d.whole.server.calls.registry

        async def look() -> None:
            await until(lambda: entered.live_count == 1)
            seen.append(await loaded(d))

        async with asyncio.TaskGroup() as group:
            group.create_task(look())
            group.create_task(d.whole.call(GREET, HANG_UP))
        assert seen == [{"load": 0.25, "live": 1, "capacity": 4}]


async def test_what_drains_has_calls_and_no_capacity() -> None:
    found = await counted(process(30, 0), process(6, 24))
    assert found == {"load": 1.5, "live": 36, "capacity": 24}


@pytest.mark.parametrize("states", [(process(3, 0),), (process(3, 50), None)])
async def test_what_cannot_be_counted_is_no_number(states: Any) -> None:
    with pytest.raises(TryLaterError) as refused:
        await counted(*states)
    assert refused.value.code == "E-API-29"


async def test_a_server_that_drains_answers_503(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.whole.server.calls.registry.is_draining = True
        answer = await d.ask(LOAD)
        assert (answer.status_code, answer.json()["code"]) == (503, "E-API-29")
        assert answer.headers["Retry-After"] == "5"
