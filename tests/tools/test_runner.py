"""Tools as they run: tasks, threads, results, and what is left when nobody wants them."""

import asyncio
import dataclasses
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pydantic
import pytest
import pytest_asyncio
from tests.waiting import until

from offhook.call.inputs import ToolBegan, ToolFinished, ToolFinishedLate
from offhook.concurrency.server_tasks import ServerTasks
from offhook.tools import Call, ToolError, tool
from offhook.tools.declare import WaitOnEventLoopError
from offhook.tools.files import Toolbox
from offhook.tools.results import RESULT_MAX
from offhook.tools.runner import ONCE_MAX, CallTools, Runner, Told
from offhook.tools.threads import THREADS_MAX

CALL = Call("CA1", "shop", None, None)


class House:
    """One call's tools, and what they answered."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.finished: list[ToolFinished] = []
        self.began: list[str] = []
        self.late: list[ToolFinishedLate] = []
        self._came = asyncio.Event()

    def call(self, *tools: Any) -> CallTools:
        toolbox: Toolbox = {each.name: each for each in tools}
        return self.runner.for_call(toolbox, Call("CA1", "shop", None, None))

    def tell(self, told: Told) -> None:
        match told:
            case ToolBegan():
                self.began.append(told.id)
            case ToolFinished():
                self.finished.append(told)
            case ToolFinishedLate():
                self.late.append(told)
        self._came.set()

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._came.clear()
            await self._came.wait()

    async def answers(self, count: int) -> list[ToolFinished]:
        await self.until(lambda: len(self.finished) >= count)
        return self.finished

    async def ask(self, tools: CallTools, name: str, arguments: str = "") -> ToolFinished:
        count = len(self.finished)
        tools.run(f"call-{count}", name, arguments, self.tell)
        return (await self.answers(count + 1))[count]


@pytest_asyncio.fixture
async def house() -> AsyncIterator[House]:
    async with asyncio.TaskGroup() as group:
        yield House(Runner(ServerTasks(group)))


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
    assert house.began == ["1"]
    await house.until(lambda: bool(house.late))
    assert house.late == [ToolFinishedLate("1", "number 1", "answered")]
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
    if finish:
        await house.until(lambda: bool(house.late))
    assert house.finished == []
    assert [each.id for each in house.late] == ["1"] * finish


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


async def test_more_tools_than_threads_wait_for_a_thread(house: House) -> None:
    gate = threading.Event()

    @tool
    def look() -> str:
        """Look."""
        gate.wait(30)
        return "seen"

    tools = house.call(look)
    for number in range(THREADS_MAX + 8):
        tools.run(f"look-{number}", "look", "", house.tell)
    await until(lambda: len(house.runner.threads.running) == THREADS_MAX)
    tools.cancel(f"look-{THREADS_MAX + 7}", over=False)
    gate.set()
    answers = await house.answers(THREADS_MAX + 7)
    assert {answer.content for answer in answers} == {"seen"}
    assert len({answer.id for answer in answers}) == THREADS_MAX + 7


async def test_what_waits_for_a_thread_and_is_called_off_never_ran(house: House) -> None:
    gate = threading.Event()
    ran = []

    @tool
    def fill() -> str:
        """Take a thread."""
        gate.wait(30)
        return "done"

    @tool(irreversible=True)
    def pay() -> str:
        """Pay."""
        ran.append(True)
        return "paid"

    tools = house.call(fill, pay)
    for number in range(THREADS_MAX):
        tools.run(f"fill-{number}", "fill", "", house.tell)
    tools.run("pay", "pay", "", house.tell)
    await until(lambda: len(house.runner.threads.running) == THREADS_MAX)
    tools.cancel("pay", over=False)
    gate.set()
    await house.answers(THREADS_MAX)
    assert ran == []
    assert (await house.ask(tools, "pay")).content == "paid"


async def test_a_thread_that_nobody_waits_for_is_named_with_the_line_at_which_it_hangs(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.tools.threads.STUCK_S", 0.01)
    gate, inside = threading.Event(), threading.Event()

    @tool
    def hang() -> str:
        """Hang."""
        inside.set()
        gate.wait(30)
        return "late"

    tools = house.call(hang)
    tools.run("1", "hang", "", house.tell)
    await asyncio.to_thread(inside.wait)
    assert house.runner.threads.stuck == 0
    tools.cancel("1", over=True)
    await until(lambda: "hangs at test_runner.py:" in caplog.text)
    assert house.runner.threads.stuck == 1
    gate.set()
    await until(lambda: not house.runner.threads.running)
    assert house.finished == []


@pytest.mark.parametrize("late", ["running", "done"])
async def test_a_repeat_of_what_still_runs_gets_its_result(house: House, late: str) -> None:
    slow = Slow(irreversible=True)
    tools = house.call(slow.tool)
    tools.run("1", "slow", "", house.tell)
    await slow.began.wait()
    tools.cancel("1", over=False)
    if late == "running":
        tools.run("2", "slow", '{"size": 1}', house.tell)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        slow.gate.set()
    else:
        slow.gate.set()
        await slow.ended.wait()
        tools.run("2", "slow", '{"size": 1}', house.tell)
    assert await house.answers(1) == [ToolFinished("2", "number 1", "answered")]
    assert slow.count == 1
    # Of what still runs nobody can say that it was not done, nor of a repeat that waits for it.
    assert house.began == (["1", "2"] if late == "running" else ["1"])


async def test_once_in_a_call_is_once_whichever_agent_calls(house: House) -> None:
    """The memory is the call's: an agent that takes over books nothing a second time."""
    slow = Slow(irreversible=True)
    slow.gate.set()
    call = Call("CA2", "shop", None, None)
    runner = house.runner
    first = runner.for_call({"slow": slow.tool}, call)
    second = runner.for_call({"slow": slow.tool}, dataclasses.replace(call, agent="billing"))
    other = runner.for_call({"slow": slow.tool}, Call("CA3", "shop", None, None))
    assert (await house.ask(first, "slow", '{"size": 1}')).content == "number 1"
    assert (await house.ask(second, "slow", '{"size": 1}')).content == "number 1"
    assert slow.count == 1
    assert (await house.ask(other, "slow", '{"size": 1}')).content == "number 2"


async def test_what_is_done_once_in_a_call_is_bounded(house: House) -> None:
    slow = Slow(irreversible=True)
    slow.gate.set()
    tools = house.call(slow.tool)
    for size in range(ONCE_MAX):
        await house.ask(tools, "slow", f'{{"size": {size}}}')
    refused = await house.ask(tools, "slow", '{"size": -1}')
    assert (slow.count, refused.outcome) == (ONCE_MAX, "failed")
    assert (await house.ask(tools, "slow", '{"size": 0}')).content == "number 1"


async def test_what_failed_may_be_tried_again(house: House) -> None:
    tries = []

    @tool(irreversible=True)
    async def pay() -> str:
        """Pay."""
        tries.append(True)
        if len(tries) == 1:
            raise ToolError("the bank is closed")
        return "paid"

    tools = house.call(pay)
    assert "bank" in (await house.ask(tools, "pay")).content
    assert (await house.ask(tools, "pay")).content == "paid"
    assert (await house.ask(tools, "pay")).content == "paid"
    assert len(tries) == 2


class Odd(pydantic.BaseModel):
    """Arguments whose own check is wrong."""

    size: int

    @pydantic.field_validator("size")
    @classmethod
    def check(cls, size: int) -> int:
        raise KeyError(size)


@tool
def take_odd(odd: Odd) -> str:
    """Take it."""
    return "taken"


@tool
def exhaust() -> Any:
    """Take the next of nothing."""
    return next(iter(()))


@tool
async def wait_for_nothing() -> str:
    """Wait for something that was cancelled."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.cancel()
    return await future


@tool
def interrupt() -> str:
    """Raise what would stop the process."""
    raise KeyboardInterrupt


@tool
async def group_of_exits() -> str:
    """Raise several at once."""
    raise BaseExceptionGroup("all", [SystemExit(1)])


@pytest.mark.parametrize(
    "wrong", [take_odd, exhaust, wait_for_nothing, interrupt, group_of_exits], ids=lambda t: t.name
)
async def test_nothing_that_a_function_does_goes_unanswered_or_ends_the_server(
    house: House, caplog: pytest.LogCaptureFixture, wrong: Any
) -> None:
    arguments = '{"odd": {"size": 1}}' if wrong is take_odd else ""
    answer = await house.ask(house.call(wrong), wrong.name, arguments)
    assert json.loads(answer.content) == {"error": "the function failed"}
    assert answer.outcome == "failed"
    assert "test_runner.py:" in caplog.text


async def test_a_sync_function_around_an_async_one_is_awaited(house: House) -> None:
    async def inner() -> str:
        return "inner"

    @tool
    def outer() -> Any:
        """Hand it on."""
        return inner()

    assert (await house.ask(house.call(outer), "outer")).content == "inner"


async def test_half_a_character_does_not_break_the_answer(house: House) -> None:
    answer = await house.ask(house.call(returning("a\ud800b")), "give")
    assert answer.content == "a?b"

    @tool
    async def explain() -> str:
        """Explain."""
        raise ToolError("a\ud800b")

    assert json.loads((await house.ask(house.call(explain), "explain")).content) == {"error": "a?b"}


# --- what a thread has the server do -------------------------------------------------------------


async def test_a_thread_has_the_server_do_something_and_waits_for_it(house: House) -> None:
    here = threading.get_ident()

    async def where() -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    async def refuse() -> None:
        raise ToolError("not now")

    @tool
    def wait(call: Call) -> str:
        """Wait."""
        assert call.wait(where()) == here != threading.get_ident()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(call.wait, where()).result() == here
        call.wait(refuse())
        return "never"

    answer = await house.ask(house.call(wait), "wait")
    assert (answer.content, answer.outcome) == ('{"error": "not now"}', "failed")


async def test_on_the_loop_nothing_is_waited_for(house: House) -> None:
    @tool
    async def wait(call: Call) -> str:
        """Wait."""
        with pytest.raises(WaitOnEventLoopError, match="await"):
            call.wait(asyncio.sleep(0))
        return "said"

    assert (await house.ask(house.call(wait), "wait")).content == "said"


def test_a_call_of_no_server_can_have_nothing_done() -> None:
    with pytest.raises(ToolError, match="not one of a server"):
        CALL.wait(CALL.say("Hello."))
