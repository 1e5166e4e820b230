"""Functions in processes of their own: answered, called off, dead, and never in anybody's way."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.tools.test_runner import House
from tests.waiting import until, wait_until

from offhook.call.inputs import ToolFinished
from offhook.concurrency.server_tasks import ServerTasks
from offhook.tools import Call, tool
from offhook.tools import processes as process_pool
from offhook.tools.declare import ToolDefinitionError
from offhook.tools.files import ToolFiles
from offhook.tools.process_messages import FunctionRequest
from offhook.tools.processes import ToolProcess, ToolProcessDiedError
from offhook.tools.results import RESULT_MAX
from offhook.tools.runner import CallTools, Runner

FILE = '''
import os
from pathlib import Path

from offhook.tools import Call, ToolError, tool

HERE = Path(__file__).parent


@tool(process=True)
def add(a: int, b: int) -> dict[str, int]:
    """Add."""
    print("noise on stdout")
    return {"sum": a + b, "process": os.getpid()}


@tool(process=True)
def spin(mark: str) -> None:
    """Compute without end."""
    (HERE / mark).write_text(str(os.getpid()))
    while True:
        pass


@tool(process=True)
def refuse() -> None:
    """Refuse."""
    raise ToolError("we are closed")


@tool(process=True)
def fail() -> None:
    """Fail."""
    raise ValueError("a secret")


@tool(process=True)
def large() -> str:
    """Say a megabyte."""
    return "x" * 1_000_000


@tool(process=True)
def nothing() -> None:
    """Return nothing."""


@tool(process=True)
def who(call: Call) -> list[str | None]:
    """Tell whose call it is."""
    return [call.sid, call.caller, call.variables["name"]]


@tool(process=True)
def act(call: Call) -> str:
    """Act on the call."""
    return call.wait(call.say("Hello."))


@tool(process=True)
def die() -> None:
    """Die."""
    os._exit(3)


@tool(process=True, irreversible=True)
def pay() -> None:
    """Pay, and die."""
    with (HERE / "paid").open("a") as file:
        file.write("x")
    os._exit(3)
'''


class ProcessHouse(House):
    """One call's tools in a file, and what they answered."""

    def __init__(self, runner: Runner, path: Path) -> None:
        super().__init__(runner)
        self.path = path
        path.write_text(FILE)
        self.files = ToolFiles([path])
        self.tools = self.begin()

    def begin(self) -> CallTools:
        call = Call("CA1", "shop", "+12025550142", None, {"name": "Ada"})
        return self.runner.for_call(self.files.toolbox.refresh(), call)

    async def answer(self, name: str, **arguments: Any) -> ToolFinished:
        return await self.ask(self.tools, name, json.dumps(arguments))


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[ProcessHouse]:
    async with asyncio.TaskGroup() as group:
        runner = Runner(ServerTasks(group))
        with runner.processes:
            yield ProcessHouse(runner, tmp_path / "tools.py")


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def begun(house: ProcessHouse, mark: str) -> int:
    """Have a function compute without end; the id of its process."""
    house.tools.run(mark, "spin", json.dumps({"mark": mark}), house.tell)
    file = house.path.parent / mark
    await until(lambda: file.exists() and file.read_text() != "")
    return int(file.read_text())


async def test_what_a_process_answers(
    house: ProcessHouse, caplog: pytest.LogCaptureFixture
) -> None:
    first = json.loads((await house.answer("add", a=1, b=2)).content)
    assert first["sum"] == 3
    assert first["process"] != os.getpid()
    assert (await house.answer("nothing")).content == "done"
    refused = await house.answer("refuse")
    assert (json.loads(refused.content), refused.outcome) == ({"error": "we are closed"}, "failed")
    failed = await house.answer("fail")
    assert (json.loads(failed.content), failed.outcome) == (
        {"error": "the function failed"},
        "failed",
    )
    assert "the tool fail raised ValueError at tools.py:" in caplog.text
    assert "a secret" not in caplog.text
    large = (await house.answer("large")).content
    assert len(large.encode()) <= RESULT_MAX
    assert "(cut: 1000000 bytes" in large
    assert json.loads((await house.answer("who")).content) == ["CA1", "+12025550142", "Ada"]
    assert "nothing can be done to it" in (await house.answer("act")).content
    wrong = await house.answer("add", a="one")
    assert wrong.outcome == "failed"
    assert json.loads((await house.answer("add", a=2, b=2)).content)["sum"] == 4
    # One was started with the call, and one more if the first function came before it was there.
    assert house.runner.processes.count <= 2
    assert house.runner.processes.died == 0


async def test_a_function_that_is_called_off_is_ended_with_its_process(house: ProcessHouse) -> None:
    pid = await begun(house, "first")
    house.tools.cancel("first", over=False)
    await until(lambda: not is_there(pid))
    await until(lambda: not house.runner.threads.running)
    assert house.runner.processes.died == 0
    assert json.loads((await house.answer("add", a=1, b=2)).content)["sum"] == 3


async def test_a_function_that_dies_fails_alone(
    house: ProcessHouse, caplog: pytest.LogCaptureFixture
) -> None:
    died = await house.answer("die")
    assert (json.loads(died.content), died.outcome) == ({"error": "the function failed"}, "failed")
    assert house.runner.processes.died == 1
    assert "the process of the tool die has ended, with the exit code 3" in caplog.text
    for _ in range(2):  # nobody knows whether it was paid: it is not paid again
        unknown = await house.answer("pay")
        assert unknown.outcome == "outcome_unknown"
        assert "Do not do it again" in unknown.content
    assert (house.path.parent / "paid").read_text() == "x"
    assert json.loads((await house.answer("add", a=1, b=2)).content)["sum"] == 3


async def test_a_process_that_died_while_idle_costs_no_answer(house: ProcessHouse) -> None:
    pid = json.loads((await house.answer("add", a=1, b=2)).content)["process"]
    os.kill(pid, 9)
    for _ in range(2):
        again = json.loads((await house.answer("add", a=1, b=2)).content)
        assert (again["sum"], again["process"] != pid) == (3, True)


async def test_functions_wait_for_a_process_and_a_changed_file_gets_a_new_one(
    house: ProcessHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "PROCESSES_MAX", 1)
    for number in range(3):
        house.tools.run(f"call {number}", "add", json.dumps({"a": 1, "b": number}), house.tell)
    answers = [json.loads(each.content) for each in await house.answers(3)]
    assert sorted(each["sum"] for each in answers) == [1, 2, 3]
    assert len({each["process"] for each in answers}) == 1
    # Of another size: Python takes bytecode of the same second and size for that of the file.
    house.path.write_text(FILE.replace("a + b", "a - 1 * b"))
    house.tools = house.begin()
    changed = json.loads((await house.answer("add", a=5, b=2)).content)
    assert changed["sum"] == 3
    assert changed["process"] != answers[0]["process"]
    assert house.runner.processes.count == 1


async def test_one_that_waits_for_a_process_can_be_called_off(
    house: ProcessHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "PROCESSES_MAX", 1)
    await begun(house, "first")
    house.tools.run("waits", "add", '{"a": 1, "b": 2}', house.tell)
    await until(lambda: len(house.runner.threads.running) == 2)
    house.tools.cancel("waits", over=False)
    await until(lambda: len(house.runner.threads.running) == 1)
    house.tools.cancel("first", over=False)
    await until(lambda: not house.runner.threads.running)
    assert house.finished == []


async def test_a_stopping_server_ends_what_computes(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        runner = Runner(ServerTasks(group))
        with runner.processes:
            house = ProcessHouse(runner, tmp_path / "tools.py")
            pid = await begun(house, "first")
        await until(lambda: not is_there(pid))
        assert (await house.answers(1))[0].outcome == "failed"
        await until(lambda: runner.processes.count == 0)


def test_a_function_ends_with_the_server_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "tools.py"
    path.write_text(FILE)
    process = ToolProcess(str(path), 0)
    spin = FunctionRequest("spin", '{"mark": "m"}', "CA1", "shop", None, None, {}, "inbound")
    died: list[ToolProcessDiedError] = []

    def ask() -> None:
        with pytest.raises(ToolProcessDiedError) as raised:
            process.ask(spin)
        died.append(raised.value)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until((tmp_path / "m").exists)
    process._to.close()  # as the system does with the pipes of a process that is gone
    thread.join()
    assert died[0].has_begun


def test_what_cannot_run_in_a_process_is_refused() -> None:
    with pytest.raises(ToolDefinitionError, match="is async"):

        @tool(process=True)
        async def wait() -> None:
            """Wait."""

    with pytest.raises(ToolDefinitionError, match="within another function"):

        @tool(process=True)
        def nested() -> None:
            """Nest."""
