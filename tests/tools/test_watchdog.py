"""Functions that hold the interpreter, and the thread that names them."""

import asyncio
import contextlib
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.waiting import until

from offhook.call.inputs import ToolFinished
from offhook.call_context import of_call
from offhook.clock import LoopClock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.tools import Call, tool
from offhook.tools.runner import Runner, Told
from offhook.tools.watchdog import Held, Watchdog

CALL = Call("CA1", "shop", None, None)


class Named(logging.Handler):
    """Set once the watchdog has named somebody in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "the interpreter" in record.getMessage():
            self.event.set()


class House:
    def __init__(self, runner: Runner, named: threading.Event) -> None:
        self.runner = runner
        self.named = named
        self.late: list[float] = []
        self.held: list[Held] = []
        self.told = asyncio.Event()

    def on_held(self, held: Held) -> None:
        self.held.append(held)
        self.told.set()

    async def run(self, function: Any) -> list[Held]:
        """Run it as a tool, until it is answered and somebody was named on the loop."""
        answered = asyncio.Event()

        def finished(answer: Told) -> None:
            assert isinstance(answer, ToolFinished)
            assert answer.outcome == "answered", answer.content
            answered.set()

        tools = self.runner.for_call({function.name: function}, CALL)
        async with asyncio.timeout(240):
            tools.run("1", function.name, "", finished)
            await answered.wait()
            await self.told.wait()
        return self.held


@pytest_asyncio.fixture
async def house() -> AsyncIterator[House]:
    handler = Named()
    log = logging.getLogger("offhook.tools")
    log.addHandler(handler)
    try:
        async with asyncio.TaskGroup() as group:
            runner = Runner(ServerTasks(group))
            house = House(runner, handler.event)
            clock = LoopClock(asyncio.get_running_loop())
            with Watchdog(
                clock,
                runs=lambda: runner.runs,
                threads=lambda: runner.threads.lately,
                late=house.late.append,
                held=house.on_held,
            ):
                yield house
    finally:
        log.removeHandler(handler)


def here() -> int:
    """The line that calls this."""
    return sys._getframe(1).f_lineno


async def test_a_function_that_waits_without_await_is_named_while_it_waits(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    lines = []

    @tool
    async def wait() -> str:
        """Wait."""
        lines.append(here() + 1)
        assert house.named.wait(240), "nobody named it while it waited"
        return "done"

    (held,) = await house.run(wait)
    assert held.tool == "wait"
    assert held.where == f"test_watchdog.py:{lines[0]}"
    assert held.call_sid == "CA1"
    assert held.held_ms >= 200
    record = next(r for r in caplog.records if "the interpreter" in r.getMessage())
    assert record.__dict__["call_sid"] == "CA1"
    assert "wait holds the interpreter" in record.getMessage()
    assert f"test_watchdog.py:{lines[0]}" in record.getMessage()
    assert max(house.late) >= 0.2


async def test_a_function_that_computes_is_named_while_it_computes(house: House) -> None:
    @tool
    async def compute() -> str:
        """Compute."""
        given_up = time.monotonic() + 240
        while not house.named.is_set():
            assert time.monotonic() < given_up, "nobody named it while it computed"
        return "done"

    (held,) = await house.run(compute)
    assert (held.tool, held.call_sid) == ("compute", "CA1")


async def test_what_a_function_begins_is_named_after_it(house: House) -> None:
    async def part() -> None:
        assert house.named.wait(240)

    @tool
    async def gather() -> str:
        """Gather."""
        await asyncio.gather(part(), asyncio.sleep(0))
        return "done"

    (held,) = await house.run(gather)
    assert (held.tool, held.call_sid) == ("gather", "CA1")
    assert held.where.startswith("test_watchdog.py:")


@pytest.fixture(scope="module")
def a_second() -> int:
    """So much to add up in one call into C takes a second, and keeps the lock all the while."""
    size = 100_000
    while True:
        began = time.thread_time()
        sum(range(size))
        spent = time.thread_time() - began
        if spent > 0.3:  # a shorter look is wrong by some factor on a machine that wakes up
            return int(size / spent)
        size *= 2


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="threads have no clock here")
@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_thread_that_keeps_the_lock_is_named_and_one_that_waits_is_not(
    a_second: int, house: House, goes_on: bool
) -> None:
    gate = threading.Event()

    @tool
    def innocent() -> str:
        """Wait."""
        gate.wait(60)
        return "done"

    @tool
    def hog() -> str:
        """Add up."""
        sum(range(a_second))
        if goes_on:
            gate.wait(60)
        return "done"

    tools = house.runner.for_call({"innocent": innocent, "hog": hog}, CALL)
    with of_call("CA1"):
        tools.run("innocent", "innocent", "", lambda answer: None)
        for run in range(20):  # a machine may be quicker now than when the second was measured
            tools.run(f"hog {run}", "hog", "", lambda answer: None)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(house.told.wait(), 10)
                break
    gate.set()
    assert {(held.tool, held.call_sid) for held in house.held} == {("hog", "CA1")}
    assert house.held[0].where.startswith("test_watchdog.py:")


async def test_a_loop_that_is_only_late_accuses_nobody(house: House) -> None:
    gate = threading.Event()

    @tool
    def innocent() -> str:
        """Wait."""
        gate.wait(60)
        return "done"

    house.runner.for_call({"innocent": innocent}, CALL).run("1", "innocent", "", lambda _: None)
    loop = asyncio.get_running_loop()
    loop.call_soon(time.sleep, 0.8)  # of C alone: no function of a user's is on the stack
    await until(lambda: any(late > 0.3 for late in house.late))
    beats = len(house.late)
    await until(lambda: len(house.late) > beats + 3)  # by then an accused one is named
    gate.set()
    assert house.held == []
