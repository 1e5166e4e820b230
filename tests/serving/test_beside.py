"""Limits of two call processes of one data folder, one of which takes the other's place."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.waiting import until, until_it

from offhook.clock import LoopClock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.events.types import AgentConnected, CallEnded, CallEvent
from offhook.link.messages import CallProcessState
from offhook.outbound.errors import TryLaterError
from offhook.outbound.ledger import CallLedger
from offhook.outbound.placement_checks import PlacementChecks
from offhook.policy.dial_count import DialCount
from offhook.policy.dial_policy import DialPolicy, DialRules
from offhook.policy.inbound_policy import InboundPolicy, InboundRules, UseLimit
from offhook.serving import beside
from offhook.serving.beside import ProcessesBeside

ADA, BOB = "+12025550142", "+12025550143"


class Process:
    """What one call process counts, with its files."""

    def __init__(self, folder: Path, tasks: ServerTasks, stack: ExitStack) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        self.clock = clock
        self.count = stack.enter_context(DialCount(folder / "dialled", 10))
        self.ledger = stack.enter_context(CallLedger(folder / "ledger.db"))
        self.policy = DialPolicy(
            DialRules(calls_per_hour=2), earlier=self.count.earlier(clock.now()), keep=self.count
        )
        rules = InboundRules(calls_per_hour=2, day=UseLimit(minutes=1))
        self.inbound = InboundPolicy(
            rules,
            clock,
            lambda ms, tier: ms,
            earlier=self.ledger.calls_of_the_day(clock.now()),
            keep=self.ledger.used,
        )
        self.calls = SimpleNamespace(live_beside=0, placed_beside=0, is_draining=False)
        self.others: dict[str, int | None] = {}
        self.placed = 0
        """Calls that each of the others has placed."""
        calls: Any = self.calls
        self.beside = ProcessesBeside(
            calls,
            self.policy,
            self.inbound,
            self.count,
            self.ledger,
            clock,
            tasks,
            find=lambda: [*self.others],
            state_of=self._state_of,
        )

    async def _state_of(self, process_id: str) -> CallProcessState | None:
        live = self.others[process_id]
        return None if live is None else CallProcessState(True, live, False, placed=self.placed)

    async def dials(self) -> bool:
        return await self.policy.check("call", ADA, self.clock.now()) is None

    def refused(self, from_: str = ADA) -> str | None:
        why = self.inbound.used_up(from_)
        return None if why is None else why.slug


@pytest.fixture
async def tasks() -> AsyncIterator[ServerTasks]:
    async with asyncio.TaskGroup() as group:
        made = ServerTasks(group)
        yield made
        assert made.faults == 0


@contextmanager
def two(folder: Path, tasks: ServerTasks) -> Iterator[tuple[Process, Process]]:
    with ExitStack() as stack:
        old, new = (Process(folder, tasks, stack) for _ in range(2))
        old.others, new.others = {"new": 0}, {"old": 0}
        yield old, new


async def test_dials_of_an_hour_are_counted_for_both(tmp_path: Path, tasks: ServerTasks) -> None:
    with two(tmp_path, tasks) as (old, new):
        assert await old.dials()
        assert await new.beside.look()
        assert await new.dials()
        assert not await new.dials(), "the draining process has dialled, too"
        await old.beside.look()
        assert not await old.dials()
        for process in (old, new):
            await process.beside.look()
            await process.beside.look()
            assert len(process.policy._spent) == 2, "each counts once"


async def test_what_calls_use_in_a_day_is_counted_for_both(
    tmp_path: Path, tasks: ServerTasks
) -> None:
    with two(tmp_path, tasks) as (old, new):
        for number in range(2):
            old.inbound.admit(f"CA{number}", ADA, "standard")

        async def is_known() -> bool:
            await new.beside.look()
            return new.refused() == "calls_per_hour"

        await until_it(is_known)
        assert new.refused(BOB) is None
        # A minute of the draining process's call is a minute of the day, whoever counts it.
        old.inbound(CallEvent("CA0", 0, AgentConnected("request", 1)))
        old.inbound._running = dict.fromkeys(old.inbound._running, old.clock.now() - 61)
        old.inbound(CallEvent("CA0", 0, CallEnded("none", "caller_hung_up", "", "", 0)))

        async def is_used_up() -> bool:
            await new.beside.look()
            return new.refused(BOB) == "day"

        await until_it(is_used_up)
        before = new.inbound._day.ms
        await new.beside.look()
        assert new.inbound._day.ms == before, "once"


async def test_live_calls_of_the_others_count_until_they_are_gone(
    tmp_path: Path, tasks: ServerTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "LOOK_S", 0.01)
    with two(tmp_path, tasks) as (old, new):
        new.others = {"old": 3, "older": 2}
        await new.beside.open()
        assert new.calls.live_beside == 5
        new.others["old"] = None  # it does not answer: it has what it had
        await until(lambda: new.others["old"] is None)
        new.others["older"] = 0
        await until(lambda: new.calls.live_beside == 3)
        new.others.clear()
        await until(lambda: new.calls.live_beside == 0)
        watching = new.beside._watching
        assert watching is not None
        await until(watching.done)
        # A process that drains looks on, as another one may come in the place of the next.
        old.calls.is_draining = True
        old.others.clear()
        old.beside.watch()
        old.others["another"] = 4
        await until(lambda: old.calls.live_beside == 4)
        old.beside.close()


async def test_placed_calls_of_the_others_count_against_the_calls_at_once(
    tmp_path: Path, tasks: ServerTasks
) -> None:
    with two(tmp_path, tasks) as (_, new):
        config: Any = SimpleNamespace(outbound=SimpleNamespace(concurrent=5))
        registry: Any = new.calls
        registry.limit_reached = None
        nothing: Any = None
        checks = PlacementChecks(config, registry, nothing, nothing, new.clock, nothing)
        new.others, new.placed = {"old": 3, "older": 2}, 2
        assert await new.beside.look()
        checks.find_room(0)
        with pytest.raises(TryLaterError) as refused:
            checks.find_room(1)
        assert refused.value.code == "E-OUT-12"
        new.others["old"] = None  # it does not answer: it has what it had
        assert await new.beside.look()
        with pytest.raises(TryLaterError):
            checks.find_room(1)
        new.others.clear()
        await new.beside.look()
        checks.find_room(4)


async def test_a_file_that_cannot_be_read_keeps_nobody_from_looking(
    tmp_path: Path, tasks: ServerTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two(tmp_path, tasks) as (old, new):
        assert await old.dials()

        def broken() -> None:
            raise OSError("no disk")

        monkeypatch.setattr(new.count, "_read_others", broken)
        new.others["old"] = 1
        assert await new.beside.look()
        assert new.calls.live_beside == 1
