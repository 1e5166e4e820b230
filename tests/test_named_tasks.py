"""A fault in any named task or step of a running server ends at most the call that it is about.

The names are read from the source: one that is not met here is a failure. All raise in one server
that has another call, and takes further ones.
"""

import ast
import asyncio
import dataclasses
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from tests.api.desk import Desk, desk
from tests.sources import syntax_tree
from tests.waiting import until
from tests.whole_server import ASK, GREET, WholeServer, fresh_sid

import offhook
from offhook.api.streams import PageStreams, StreamRelay
from offhook.calls.fleet_places import FleetPlaces
from offhook.calls.interrupted import InterruptedCalls
from offhook.calls.registry import CallRegistry
from offhook.clock import LoopClock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import load_app
from offhook.events.types import AgentConnected
from offhook.fleet.parts import FleetParts
from offhook.link.neighbours import Neighbours
from offhook.link.server import LinkServer
from offhook.serving.beside import ProcessesBeside
from offhook.serving.server import Server
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.tools.declare import Call, tool
from offhook.tools.runner import Runner
from offhook.webhooks.siblings import SiblingProcesses

SOURCE: Final = Path(offhook.__file__).parent
STAYS: Final = (GREET, ScenarioStep(wait=1), ASK, ScenarioStep(wait=600))


class InjectedError(Exception):
    """What is injected."""


async def raising(*_: Any, **__: Any) -> None:
    raise InjectedError


class Faults:
    """Has named tasks raise, once each, in place of the first step of their work.

    Attributes:
        due: Names of those that are to raise when they next start.
        owners: Owners of those that have raised, by name.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.due: set[str] = set()
        self.owners: dict[str, ServerTasks] = {}
        contain, keep = ServerTasks._contain, ServerTasks._keep
        faults = self

        def broken(
            owner: ServerTasks, name: str, work: Any, call_sid: str, *, ends_call: bool
        ) -> Any:
            if faults._takes(owner, name):
                for given in work.cr_frame.f_locals.values():
                    if isinstance(given, Coroutine):
                        given.close()  # what the work would have awaited
                work.close()
                work = raising()
            return contain(owner, name, work, call_sid, ends_call=ends_call)

        def kept(
            owner: ServerTasks,
            name: str,
            make: Callable[[], Coroutine[Any, Any, None]],
            until: asyncio.Event,
        ) -> Any:
            makes = [raising] if faults._takes(owner, name) else []
            return keep(owner, name, lambda: makes.pop()() if makes else make(), until)

        monkeypatch.setattr(ServerTasks, "_contain", broken)
        monkeypatch.setattr(ServerTasks, "_keep", kept)

    def _takes(self, owner: ServerTasks, name: str) -> bool:
        name = "tool " if name.startswith("tool ") else name
        if name not in self.due:
            return False
        self.due.remove(name)
        self.owners[name] = owner
        return True


@tool(process=True)
def nothing() -> None:
    """Do nothing."""


class Scene:
    """A server with the operator's side in the same process, and one call that must live."""

    def __init__(self, desk: Desk, faults: Faults, group: asyncio.TaskGroup, folder: Path) -> None:
        self.desk = desk
        self.faults = faults
        self.whole: WholeServer = desk.whole
        self.server: Server = desk.whole.server
        assert self.server._tasks is not None
        self.tasks = self.server._tasks
        self.folder = folder
        self.other = ""
        self._group = group
        self._begun: list[asyncio.Task[Any]] = []

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do what a caller or an operator does, to the end of the scene."""
        self._begun.append(self._group.create_task(work))

    def dial(self) -> None:
        self.begin(self.whole.call(*STAYS))

    async def victim(self) -> str:
        """A call of its own, that talks with its agent. Returns its CallSid."""
        live = self.server.calls.registry.live
        before = {*live}
        self.dial()

        def talks() -> list[str]:
            return [
                sid
                for sid, entry in live.items()
                if sid not in before and entry.has_stream
                if any(isinstance(event, AgentConnected) for event in self.whole.events(sid))
            ]

        await until(talks)
        return talks()[0]

    def fleet(self) -> FleetParts:
        """The parts of a node whose database does not answer."""
        file = self.folder / "fleet.yaml"
        file.write_text("fleet: {node: a, listen: '127.0.0.1:0'}\n")
        away = "postgresql://nobody@127.0.0.1:1/nothing"
        config = load_app(file, {"OFFHOOK_FLEET_KEY": "k" * 32, "OFFHOOK_DATABASE_URL": away})
        settings = config.require_fleet()
        assert settings is not None
        clock = LoopClock(asyncio.get_running_loop())
        journal = self.desk.files.journal
        try:
            return FleetParts(config, settings, journal, clock)
        finally:
            journal.tee = None

    def places(self) -> FleetPlaces:
        def nothing(*_: Any) -> Any:
            raise AssertionError

        parts = self.fleet()
        return FleetPlaces(
            parts, nothing, nothing, nothing, nothing, nothing, self.tasks, lambda: 0.0, "/"
        )

    def end(self) -> None:
        for each in self._begun:
            each.cancel()


# --- what starts each task, as the server does ---


async def dials_deepgram(scene: Scene) -> None:
    scene.dial()


async def settles_a_call(scene: Scene) -> None:
    scene.server.calls.interrupted.settle(await scene.victim())


async def admits_a_stream(scene: Scene) -> None:
    """Of a call that only another process can know, so that those are asked."""
    scene.server.expect_next()
    stream = await scene.whole.stream()
    stream.start(fresh_sid(), "the-token-of-nobody")
    await until(lambda: "admit a stream" in scene.faults.owners)
    stream.channel.abort()


async def joins_a_stream(scene: Scene) -> None:
    streams = PageStreams()
    streams.clock, streams.tasks = LoopClock(asyncio.get_running_loop()), scene.tasks
    process: Any = None
    page: Any = SimpleNamespace(close=lambda code, reason: None)
    StreamRelay(process, "wait", streams).on_open(page)


async def the_operator_asks(scene: Scene) -> None:
    path = f"/api/v1/calls/{scene.other}/say"
    scene.begin(scene.desk.ask(path, method="POST", body={"text": "Hello."}))


async def tells_a_node(scene: Scene) -> None:
    assert scene.server._neighbours is not None
    scene.server._neighbours.fence("nobody", await scene.victim(), 2)


async def returns_a_session(scene: Scene) -> None:
    spares, call_sid = scene.places().spares, await scene.victim()
    spares._taken.add(call_sid)
    spares.settle(call_sid)


async def claims_calls(scene: Scene) -> None:
    calls = scene.server.calls
    scene.server.calls = dataclasses.replace(calls, fleet=scene.places())
    try:
        scene.server._taking_over(scene.tasks)()
    finally:
        scene.server.calls = calls


async def a_fleet_starts(scene: Scene) -> None:
    parts = scene.fleet()
    parts.start(scene.tasks)
    await asyncio.wait({*parts._tasks}, timeout=0.05)
    await parts.stop()


async def looks_beside(scene: Scene) -> None:
    assert scene.server._beside is not None
    scene.server._beside.watch()


async def starts_a_process(scene: Scene) -> None:
    call = Call(await scene.victim(), "desk", None, None)
    Runner(scene.tasks).for_call({"nothing": nothing}, call)


async def runs_a_function(scene: Scene) -> None:
    call = Call(await scene.victim(), "desk", None, None)
    Runner(scene.tasks).for_call({}, call).run("1", "nothing", "{}", lambda told: None)


async def has_started(scene: Scene) -> None:
    """It was due before the server started."""


Begin = Callable[[Scene], Awaitable[None]]

AT_START: Final = (
    *(
        "HTTP",
        "operator's HTTP",
        "operator's server",
        "watch placed calls",
        "watch files of functions",
        "tell that it has started",
    ),
    "limits of other processes",
)
BEGUN_BY: Final[dict[str, Begin]] = {
    **dict.fromkeys(AT_START, has_started),
    "dial Deepgram": dials_deepgram,
    "line": settles_a_call,
    "admit a stream": admits_a_stream,
    "join a stream": joins_a_stream,
    "request of the operator": the_operator_asks,
    "tell a node of a claim": tells_a_node,
    "return a session": returns_a_session,
    "claim calls of dead processes": claims_calls,
    "fleet database": a_fleet_starts,
    "fleet heartbeat": a_fleet_starts,
    "fleet pulse": a_fleet_starts,
    "fleet lines": a_fleet_starts,
    "start a process for tools": starts_a_process,
    "tool ": runs_a_function,
}
"""What starts each task of a server that runs."""

ABOUT_A_CALL: Final = {
    *("dial Deepgram", "line", "start a process for tools", "tool "),
}
"""Tasks after whose fault the call that they are about ends; it goes on without the others."""

AT_STOP: Final = ("until idle", "until hurried")

Owner = type[Any]

STEPS_AT_START: Final[dict[str, tuple[Owner, str]]] = {
    "look at what others count": (ProcessesBeside, "look"),
    "look for processes": (SiblingProcesses, "look"),
    "take over calls": (InterruptedCalls, "take_over"),
}
STEPS_AT_STOP: Final[dict[str, tuple[Owner, str]]] = {
    "hand calls over": (Server, "_hand_over"),
    "until Twilio has asked": (CallRegistry, "until_after_answered"),
    "leave other processes": (Neighbours, "close"),
    "close the operator's link": (LinkServer, "close"),
}
STEPS_OF_FLEETS: Final = {"claim calls", "leave the fleet"}
"""The server's own steps, and what is made to raise in each."""


def test_every_named_task_and_step_is_met_here() -> None:
    names = {*BEGUN_BY, *AT_STOP, *STEPS_AT_START, *STEPS_AT_STOP, *STEPS_OF_FLEETS}
    assert {*named()} == names


def named() -> Iterator[str]:
    """The names of what tasks do, in the source; of one that is made, its beginning."""
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"tasks\s*\.(start|keep|contained)\(", text) is None:
            continue  # to parse all takes two seconds
        for node in ast.walk(syntax_tree(text)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in ("start", "keep", "contained"):
                continue
            if ast.unparse(node.func.value).endswith("tasks"):
                [name, *_] = node.args
                if isinstance(name, ast.JoinedStr):
                    name = name.values[0]
                assert isinstance(name, ast.Constant), f"{path}:{node.lineno} has no plain name"
                yield str(name.value)


@asynccontextmanager
async def scene(folder: Path, faults: Faults) -> AsyncIterator[Scene]:
    """A server that has one call."""
    async with (
        desk(folder, people={}, supervisor=os.getpid()) as made,
        asyncio.TaskGroup() as group,
    ):
        scene = Scene(made, faults, group, folder)
        scene.other = await scene.victim()
        yield scene
        scene.end()


async def test_a_fault_in_a_named_task_ends_at_most_its_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    faults = Faults(monkeypatch)
    faults.due.update(AT_START)
    for owner, name in STEPS_AT_START.values():
        once_broken(owner, name, monkeypatch)
    async with scene(tmp_path, faults) as s:
        whole = s.whole
        assert s.server._beside is not None
        s.server.take_over()  # as when another process has ended
        broken: list[str] = []
        failed = s.tasks._failed

        def note(call_sid: str, what: str) -> None:
            if call_sid in s.server.calls.registry.live:
                broken.append(call_sid)
            failed(call_sid, what)

        s.tasks._failed = note
        for name, begin in BEGUN_BY.items():
            broken.clear()
            ended = len(whole.endings())
            before = s.tasks.faults
            if begin is not has_started:
                faults.due.add(name)
                await begin(s)
            await until(lambda: name in faults.owners)  # noqa: B023
            told = f"a fault in the task {name!r}"
            if name == "tool ":
                told = "a fault in the task 'tool nothing'"
            await until(lambda: told in [r.getMessage() for r in caplog.records])  # noqa: B023
            if begin is not has_started:
                assert s.tasks.faults == before + 1, name
            if name in ABOUT_A_CALL:
                await until(lambda: len(whole.endings()) > ended)  # noqa: B023
                assert whole.endings()[ended:] == ["internal_error"], name
            assert len(broken) == (name in ABOUT_A_CALL), name
            assert len(whole.endings()) == ended + (name in ABOUT_A_CALL), name
            assert whole.endings(s.other) == [], name
            answer = await whole.post("/twilio/voice", CallSid=fresh_sid())
            assert "<Stream" in answer.text, name
        assert faults.due == set()
        said = [record.getMessage() for record in caplog.records]
        for name in STEPS_AT_START:
            assert f"a fault in the task {name!r}" in said
        assert not whole.stopped.is_set()


def once_broken(owner: Owner, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a method raise when it is first called."""
    works = getattr(owner, name)
    called: list[None] = []

    def method(*args: Any, **options: Any) -> Any:
        if not called:
            called.append(None)
            raise InjectedError
        return works(*args, **options)

    monkeypatch.setattr(owner, name, method)


async def test_calls_are_ended_and_all_is_closed_whatever_fails_in_a_stopping_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    faults = Faults(monkeypatch)
    async with scene(tmp_path, faults) as s:
        faults.due.update(AT_STOP)
        for owner, name in STEPS_AT_STOP.values():
            once_broken(owner, name, monkeypatch)
        entry = s.server.calls.registry.live[await s.victim()]
        monkeypatch.setattr(entry.handoff, "stop", lambda: [][0])
        # What a server of a fleet has; its calls are nobody's but this server's.
        fleet: Any = SimpleNamespace(close=raising)
        s.server._joined = fleet
        await s.server._claim_at_start(s.tasks)
        s.server.stop()
        s.server.stop()
        await s.whole.until_stopped()
        assert s.whole.endings(s.other) == ["shut_down"]
        said = [record.getMessage() for record in caplog.records]
        for name in (*AT_STOP, *STEPS_AT_STOP, "leave the fleet"):
            assert f"a fault in the task {name!r}" in said, name
