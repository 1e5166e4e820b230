"""GET /api/v1/load: a ratio that can be trusted, or 503."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection, Engine, text
from tests.api.desk import Desk, desk
from tests.postgres import Postgres
from tests.waiting import until
from tests.whole_server import GREET, HANG_UP

from offhook.api.load import count
from offhook.api.operator import Operator
from offhook.link.messages import CallProcessState
from offhook.outbound.errors import TryLaterError
from offhook.records import database

LOAD = "/api/v1/load"


class Processes:
    """Call processes with these states."""

    def __init__(self, *states: CallProcessState | None) -> None:
        self._states = [*states]
        self.processes = self
        self.shares_calls = False

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
        assert await loaded(d) == {"load": 0.0, "live": 0, "capacity": 4, "nodes": 1}
        seen = []
        entered = d.whole.server.calls.registry

        async def look() -> None:
            await until(lambda: entered.live_count == 1)
            seen.append(await loaded(d))

        async with asyncio.TaskGroup() as group:
            group.create_task(look())
            group.create_task(d.whole.call(GREET, HANG_UP))
        assert seen == [{"load": 0.25, "live": 1, "capacity": 4, "nodes": 1}]


async def test_what_drains_has_calls_and_no_capacity() -> None:
    found = await counted(process(30, 0), process(6, 24))
    assert found == {"load": 1.5, "live": 36, "capacity": 24, "nodes": 1}


@pytest.mark.parametrize("states", [(process(3, 0),), (process(3, 50), None)])
async def test_what_cannot_be_counted_is_no_number(states: Any) -> None:
    with pytest.raises(TryLaterError) as refused:
        await counted(*states)
    assert refused.value.code == "E-API-29"


@dataclass
class Shared:
    """The operator of one of several nodes, with the database of all."""

    engine: Engine
    shares_calls: bool = True

    async def ask(self, question: Callable[[Connection], Any]) -> Any:
        with self.engine.connect() as connection:
            return question(connection)

    async def load(self) -> dict[str, Any]:
        return (await count(cast("Operator", self))).model_dump()


BEAT = """INSERT INTO fleet_processes (process_id, node, address, version, is_draining, live,
    capacity, started_at, beat_at, unbroken_since) VALUES (:id, :node, '', '', :drains, 0,
    :capacity, clock_timestamp(), clock_timestamp() - :ago * interval '1 s', clock_timestamp())"""
CALL = """INSERT INTO fleet_calls (call_sid, epoch, process_id, from_process, answered_epoch, legs,
    budget, began_at, changed_at, ended_at) VALUES (:sid, 1, 'x', '', 0, 1, 'b', clock_timestamp(),
    clock_timestamp(), CASE WHEN :over THEN clock_timestamp() END)"""


async def test_of_several_nodes_all_calls_and_the_capacity_of_those_that_live(
    postgres: Postgres,
) -> None:
    with postgres.database(migrated=True) as url:
        engine = database.open_engine(database.url_of(url.render_as_string(hide_password=False)))
        operator = Shared(engine)

        def beat(node: str, capacity: int, *, drains: bool = False, ago: int = 0) -> None:
            row = {"id": f"{node}{ago}", "node": node, "drains": drains}
            with engine.begin() as connection:
                connection.execute(text(BEAT), row | {"capacity": capacity, "ago": ago})

        with pytest.raises(TryLaterError):  # nobody has said that it lives
            await operator.load()
        beat("a", 20)
        beat("b", 30)
        beat("c", 50, drains=True)
        beat("d", 50, ago=11)
        beat("a", 20, ago=12)  # an earlier process of a
        with engine.begin() as connection:
            for number in range(10):
                connection.execute(text(CALL), {"sid": f"CA{number}", "over": number >= 8})
        assert await operator.load() == {"load": 0.16, "live": 8, "capacity": 50, "nodes": 2}
        engine.dispose()


async def test_a_server_that_drains_answers_503(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.whole.server.calls.registry.is_draining = True
        answer = await d.ask(LOAD)
        assert (answer.status_code, answer.json()["code"]) == (503, "E-API-29")
        assert answer.headers["Retry-After"] == "5"
