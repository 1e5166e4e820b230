"""Tools as they run: tasks, threads, results, and what is left when nobody wants them."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from offhook.call.inputs import ToolFinished
from offhook.tools import Call, ToolError, tool
from offhook.tools.files import Toolbox
from offhook.tools.runner import RESULT_MAX, CallTools, Runner
from offhook.tools.threads import THREADS_MAX

CALL = Call("CA1", "shop", None, None)


class House:
    """One call's tools, and what they answered."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.finished: list[ToolFinished] = []
        self._came = asyncio.Event()

    def call(self, *tools: Any) -> CallTools:
        toolbox: Toolbox = {each.name: each for each in tools}
        return self.runner.for_call(toolbox, CALL)

    def tell(self, finished: ToolFinished) -> None:
        self.finished.append(finished)
        self._came.set()

    async def answers(self, count: int) -> list[ToolFinished]:
        while len(self.finished) < count:
            self._came.clear()
            await self._came.wait()
        return self.finished

    async def ask(self, tools: CallTools, name: str, arguments: str = "") -> ToolFinished:
        count = len(self.finished)
        tools.run(f"call-{count}", name, arguments, self.tell)
        return (await self.answers(count + 1))[count]


@pytest_asyncio.fixture
async def house() -> AsyncIterator[House]:
    async with asyncio.TaskGroup() as group:
        yield House(Runner(group))


def returning(value: Any) -> Any:
    @tool
    def give() -> Any:
        """Give it."""
        return value

    return give


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("Sunny.", "Sunny."),
        (None, "done"),
        ({"booked": True, "table": 4}, '{"booked":true,"table":4}'),
        (3, "3"),
        ({1, 2}, "[1,2]"),
    ],
)
async def test_a_result_is_told_as_text(house: House, value: Any, told: str) -> None:
    answer = await house.ask(house.call(returning(value)), "give")
    assert (answer.content, answer.outcome) == (told, "answered")


async def test_a_huge_result_is_cut_visibly(house: House) -> None:
    answer = await house.ask(house.call(returning("ä" * 6_000_000)), "give")
    assert len(answer.content.encode()) <= RESULT_MAX
    assert answer.content.endswith("(cut: 12000000 bytes are more than 8192)")


async def test_tools_run_at_the_same_time_in_threads_and_tasks(house: House) -> None:
    meet = threading.Barrier(2)
    gate = asyncio.Event()

    @tool
    def block() -> str:
        """Wait for the other."""
        meet.wait(20)
        return threading.current_thread().name

    @tool
    async def wait() -> str:
        """Wait for the gate."""
        await gate.wait()
        return "through"

    tools = house.call(block, wait)
    for call_id, name in (("1", "wait"), ("2", "block"), ("3", "block")):
        tools.run(call_id, name, "", house.tell)
    assert {a.id for a in await house.answers(2)} == {"2", "3"}
    assert all(a.content == "tool block" for a in house.finished)
    gate.set()
    assert (await house.answers(3))[2] == ToolFinished("1", "through", "answered")


@tool
def fail() -> str:
    """Fail."""
    raise ValueError("+12025550142 said so")


@tool
async def explain(day: str) -> str:
    """Explain."""
    raise ToolError(f"we are closed on {day}")


@tool
def leave() -> str:
    """Leave."""
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("name", "arguments", "told", "outcome"),
    [
        ("fail", "", "the function failed", "failed"),
        ("leave", "", "the function failed", "failed"),
        ("explain", '{"day": "sunday"}', "we are closed on sunday", "failed"),
        ("explain", "not json", "JSON", "failed"),
        ("explain", "{}", "day: Field required", "failed"),
        ("guess", "{}", "there is no function 'guess'; there are: fail, leave, explain", "unknown"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_agent_and_not_to_the_log(
    house: House,
    caplog: pytest.LogCaptureFixture,
    name: str,
    arguments: str,
    told: str,
    outcome: str,
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await house.ask(house.call(fail, leave, explain), name, arguments)
    assert told in json.loads(answer.content)["error"]
    assert answer.outcome == outcome
    assert "+1" not in caplog.text
    assert ("test_runner.py:" in caplog.text) == (name in ("fail", "leave"))


async def test_without_tools_every_function_is_unknown(house: House) -> None:
    answer = await house.ask(house.call(), "weather")
    assert json.loads(answer.content) == {"error": "there is no function 'weather'"}


class Slow:
    """A tool that says when it began, how it ended, and ends when it is told to."""

    def __init__(self, *, irreversible: bool = False, finish_after_hangup: bool = False) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.gate = asyncio.Event()
        self.cancelled = False
        self.count = 0

        @tool(irreversible=irreversible, finish_after_hangup=finish_after_hangup)
        async def slow(size: int = 1) -> str:
            """Take time."""
            self.count += 1
            self.began.set()
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
            finally:
                self.ended.set()
            return f"number {self.count}"

        self.tool = slow


async def test_a_cancelled_tool_stops_and_tells_nothing(house: House) -> None:
    slow = Slow()
    tools = house.call(slow.tool)
    tools.run("1", "slow", "", house.tell)
    await slow.began.wait()
    tools.cancel("1", over=False)
    await slow.ended.wait()
    assert slow.cancelled
    assert house.finished == []


async def test_a_tool_that_is_cancelled_at_once_never_ran(house: House) -> None:
    slow = Slow(irreversible=True)
    tools = house.call(slow.tool)
    tools.run("1", "slow", "", house.tell)
    tools.cancel("1", over=False)
    slow.gate.set()
    answer = await house.ask(tools, "slow")
    assert answer.content == "number 1", "the first one never ran"


async def test_what_cannot_be_taken_back_runs_on_and_a_repeat_gets_its_result(
    house: House,
) -> None:
    slow = Slow(irreversible=True)
    tools = house.call(slow.tool)
    tools.run("1", "slow", "", house.tell)
    await slow.began.wait()
    tools.cancel("1", over=False)
    slow.gate.set()
    await slow.ended.wait()
    assert house.finished == []
    assert (await house.ask(tools, "slow", '{"size": 1}')).content == "number 1"
    assert (await house.ask(tools, "slow", '{"size": 2}')).content == "number 2"
    assert slow.count == 2


@pytest.mark.parametrize("finish", [True, False])
async def test_a_hang_up_stops_tools_but_those_that_may_finish(house: House, finish: bool) -> None:
    slow = Slow(finish_after_hangup=finish)
    tools = house.call(slow.tool)
    tools.run("1", "slow", "", house.tell)
    await slow.began.wait()
    tools.cancel("1", over=True)
    if finish:
        slow.gate.set()
    await slow.ended.wait()
    assert slow.cancelled is not finish
    assert house.finished == []


async def test_threads_are_bounded_and_a_stuck_one_is_named(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    inside = threading.Semaphore(0)

    @tool
    def stuck() -> str:
        """Hang."""
        inside.release()
        gate.wait(30)
        return "late"

    tools = house.call(stuck, returning("free"))
    for number in range(THREADS_MAX):
        tools.run(f"stuck-{number}", "stuck", "", house.tell)
    for _ in range(THREADS_MAX):
        await asyncio.to_thread(inside.acquire)
    for number in range(THREADS_MAX):
        tools.cancel(f"stuck-{number}", over=False)
    answer = await house.ask(tools, "give")
    assert "too much is going on" in answer.content
    assert f"{{'stuck': {THREADS_MAX}}}" in caplog.text
    gate.set()
    while (answer := await house.ask(tools, "give")).outcome == "failed":
        pass
    assert answer.content == "free"
    assert all(a.id.startswith("call-") for a in house.finished), "a late result is dropped"
