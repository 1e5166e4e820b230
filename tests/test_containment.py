"""A fault anywhere in the server ends at most the one call that it is about.

On a clock that jumps: a fault in each part of one call. Over real sockets: one in every task,
thread and callback that the source has, listed here; whoever adds one adds it to the list.
"""

import ast
import asyncio
import gc
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

import httpx2
import pytest
from tests.calls.test_session import Rehearsal
from tests.sources import syntax_tree
from tests.waiting import until
from tests.whole_server import ASK, GREET, HANG_UP, WholeServer, whole_server

import offhook
from offhook import clock
from offhook.api.reading import Readers
from offhook.call import commands
from offhook.call.call import Call
from offhook.call.inputs import ToolFinished
from offhook.call.limits import Limits
from offhook.call.requests import HangUp
from offhook.call.turns import Turns
from offhook.calls.audio_delays import AudioDelays
from offhook.calls.caller_stream import CallerStream
from offhook.calls.registry import CallRegistry
from offhook.calls.session import Session
from offhook.clock import Clock
from offhook.concurrency.background_thread import BackgroundThread
from offhook.concurrency.deadline_timer import DeadlineTimer
from offhook.deepgram.connection import Dialler
from offhook.deepgram.leg import AgentLeg
from offhook.events.types import AgentConnected, CallEnded
from offhook.net.first_request import FirstRequestRouter, HttpProtocol
from offhook.net.websocket import Socket
from offhook.observability.metrics import catalogue
from offhook.observability.stderr import Printer
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.tools.threads import Threads
from offhook.twilio.rest import TwilioRest
from offhook.webhooks.call_flow import CallFlow

SOURCE: Final = Path(offhook.__file__).parent
TESTS: Final = Path(__file__).parent


class InjectedError(Exception):
    """What is injected."""


def broken(*_: Any, **__: Any) -> Any:
    raise InjectedError


# --- in one call -----------------------------------------------------------------------------

PARTS: Final = {
    "the rules: what they are told": (Turns, "announce"),
    "the rules: time": (Limits, "due"),
    "the rules: when the next is due": (Call, "deadline"),
    "the session: its timer": (Session, "_tick"),
    "the session: a command": (Session, "_perform"),
    "the session: a stream": (CallerStream, "begin"),
    "the session: its delays": (AudioDelays, "sampled"),
    "the session: the line": (CallerStream, "end"),
    "the agent's leg: a message": (AgentLeg, "send"),
    "the agent's leg: its end": (AgentLeg, "hang_up"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_fault_in_a_part_of_a_call_ends_it_once_and_tells(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = PARTS[part]
    rehearsal = Rehearsal(GREET, ASK, GREET, HANG_UP)
    monkeypatch.setattr(owner, name, broken)
    slugs = rehearsal.run(600)
    assert slugs in (["internal_error"], ["caller_hung_up"]), "an end, and one"
    assert isinstance(rehearsal.events[-1], CallEnded)
    assert rehearsal.calls.registry.live_count == 0
    entry = rehearsal.calls.registry.find("CA" + "2" * 32)
    assert entry is None or entry.session is None


def test_a_fault_in_the_rules_that_end_a_call_does_not_keep_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rehearsal = Rehearsal(GREET, ASK, GREET, HANG_UP)
    monkeypatch.setattr(Call, "end", broken)
    assert rehearsal.run(600) == ["internal_error"]
    assert rehearsal.calls.registry.live_count == 0


@pytest.mark.parametrize(
    "kind", [commands.Note, commands.Play, commands.End, commands.SendSettings]
)
def test_of_several_commands_those_after_a_fault_are_obeyed(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = Session._perform
    faults = 0

    def once_broken(self: Session, command: commands.Command) -> None:
        nonlocal faults
        perform(self, command)
        if isinstance(command, kind):
            faults += 1
            raise InjectedError

    monkeypatch.setattr(Session, "_perform", once_broken)
    rehearsal = Rehearsal(GREET, ASK, GREET, HANG_UP)
    assert len(rehearsal.run(600)) == 1
    assert faults
    assert rehearsal.calls.registry.live_count == 0


# --- in one of two calls, over real sockets ---------------------------------------------------

STAYS: Final = (GREET, ScenarioStep(wait=1), ASK, ScenarioStep(wait=600))


def _agents_receiver(session: Session) -> Any:
    assert session._agent is not None
    assert session._agent._channel is not None
    return session._agent._channel.receiver


WIRES: Final[dict[str, tuple[Callable[[Session], Any], str]]] = {
    "a frame of the caller": (lambda session: session._call, "hear"),
    "a message of Twilio": (lambda session: session._stream.leg, "on_text"),
    "audio to Twilio": (lambda session: session._stream.leg, "play"),
    "a frame of the agent": (lambda session: session._call, "speak"),
    "a message of Deepgram": (_agents_receiver, "on_text"),
    "audio to Deepgram": (lambda session: session._agent, "send_audio"),
    "room at Twilio's socket": (lambda session: session._stream.leg, "on_writable"),
    "the timer": (lambda session: session._call, "tick"),
    "what a function is answered": (lambda session: session._call, "receive"),
}


@pytest.mark.parametrize("where", WIRES)
async def test_a_fault_in_one_of_two_calls_ends_that_one(where: str) -> None:
    part, name = WIRES[where]
    async with whole_server() as h, asyncio.TaskGroup() as group:
        tasks = [group.create_task(h.call(*STAYS)) for _ in range(2)]
        live = h.server.calls.registry.live
        await until(lambda: sum(e.has_stream for e in live.values()) == 2)
        await until(lambda: sum(isinstance(e, AgentConnected) for e in h.events()) == 2)
        victim_sid, other_sid = live
        victim = live[victim_sid].session
        assert victim is not None
        setattr(part(victim), name, broken)
        # What the wire and the clock would do by and by.
        if where == "the timer":
            victim._on_timer()
        elif where == "what a function is answered":
            victim.receive(ToolFinished("1", "", "answered"))
        elif where == "room at Twilio's socket":
            victim._stream.leg._channel.pause_writing()  # type: ignore[union-attr]
        await until(lambda: bool(h.endings(victim_sid)))
        assert h.endings(victim_sid) == ["internal_error"]
        assert h.endings(other_sid) == []
        assert not h.stopped.is_set()
        for task in tasks:
            task.cancel()


# --- every task, thread and callback ----------------------------------------------------------

BEGINS: Final = frozenset(
    {
        *("create_task", "ensure_future", "run_coroutine_threadsafe"),
        *("Thread", "Timer", "run_in_executor", "to_thread", "submit"),
        *("call_soon", "call_soon_threadsafe", "call_later", "call_at"),
        *("add_done_callback", "add_signal_handler", "add_reader", "add_writer"),
    }
)
"""Names of calls by which something begins to run on its own."""

OWNED: Final = (
    "an owner contains it: tests/concurrency/test_server_tasks.py and"
    " tests/concurrency/test_background_thread.py; tests/test_named_tasks.py has each that is named"
)
LOOP: Final = (
    "the event loop contains it, and it is counted:"
    " tests/test_containment.py::test_a_fault_in_a_callback_of_the_loop_ends_nothing and"
    " tests/test_containment.py::test_a_fault_of_each_callback_that_calls_reach_is_counted"
)
OF_DEADLINES: Final = (
    "the event loop counts it, and its owner goes on: tests/concurrency/test_deadline_timer.py and"
    " tests/test_containment.py::test_after_a_fault_in_place_of_a_callback_the_server_goes_on"
)
ITSELF: Final = "it belongs to a command, whose end it is"
OF_LISTENER: Final = (
    "tests/net/test_listener.py"
    "::test_a_request_that_is_answered_by_a_fault_ends_its_own_connection_alone"
)
OF_PRINTER: Final = "tests/observability/test_stderr.py::test_no_exception_ends_the_thread"
OF_TRANSFERS: Final = (
    "tests/calls/test_transfer_timers.py"
    "::test_a_fault_in_a_timer_of_a_transfer_ends_its_call_and_brings_the_caller_back"
)
OF_JOBS: Final = (
    "tests/test_containment.py::test_a_fault_in_a_job_of_a_thread_is_its_waiters_and_ends_no_thread"
)

WHERE: Final = {
    "api/live.py": {"call_later": (1, LOOP)},
    "api/reading.py": {"Thread": (1, OF_JOBS)},
    "calls/operators.py": {"call_at": (1, LOOP)},
    "concurrency/background_thread.py": {"Thread": (1, OWNED)},
    "concurrency/deadline_timer.py": {"call_at": (1, OF_DEADLINES)},
    "concurrency/event_loop.py": {
        "add_signal_handler": (1, LOOP),
        "call_soon_threadsafe": (1, LOOP),
    },
    "clock.py": {"call_later": (1, LOOP)},
    "deepgram/connection.py": {"add_done_callback": (1, LOOP)},
    "doctor/probes.py": {"create_task": (1, ITSELF)},
    "dev/owner.py": {"Thread": (1, "it ends the process, which is all that it is for")},
    "dev/session.py": {
        "add_signal_handler": (1, LOOP),
        "create_task": (2, ITSELF),
        "to_thread": (1, "the work that waits for it is begun again"),
    },
    "link/channel.py": {"call_later": (1, LOOP)},
    "link/fleet_lookup.py": {"create_task": (1, "its waiter gets what it raises")},
    "link/server.py": {"add_done_callback": (1, LOOP)},
    "link/streams.py": {"call_at": (1, LOOP)},
    "policy/dial_count.py": {"call_soon_threadsafe": (1, LOOP)},
    "concurrency/thread_job.py": {"call_soon_threadsafe": (1, LOOP), "Thread": (1, OF_JOBS)},
    "net/first_request.py": {"call_later": (3, LOOP)},
    "net/handshakes.py": {"add_reader": (1, LOOP)},
    "net/listener.py": {
        "create_task": (1, OF_LISTENER),
        "add_done_callback": (1, LOOP),
        "add_reader": (2, LOOP),
    },
    "webhooks/pending_streams.py": {"call_at": (1, LOOP)},
    "outbound/list_run.py": {"create_task": (1, ITSELF)},
    "observability/stderr.py": {"Thread": (1, OF_PRINTER)},
    "records/delivery.py": {
        "Thread": (1, "tests/records/test_delivery.py::test_a_fault_of_our_own_ends_no_thread")
    },
    "redaction/thread.py": {"call_soon_threadsafe": (1, LOOP)},
    "serving/control_pipe.py": {"add_reader": (1, LOOP)},
    "serving/http_server.py": {"call_later": (1, LOOP)},
    "serving/in_process.py": {"create_task": (1, "its waiter gets what it raises")},
    "serving/operator_process.py": {"add_reader": (1, LOOP), "add_signal_handler": (1, LOOP)},
    "serving/operator_server.py": {
        "create_task": (1, "it ends the operator's side, which is started again")
    },
    "serving/record_keeping.py": {"call_soon_threadsafe": (1, LOOP)},
    "concurrency/server_tasks.py": {
        "create_task": (2, OWNED),
        "add_done_callback": (1, LOOP),
        "call_later": (1, LOOP),
    },
    "tools/declare.py": {"run_coroutine_threadsafe": (1, "its waiter gets what it raises")},
    "fleet/connection.py": {"call_later": (1, LOOP)},
    "tools/process_worker.py": {"Thread": (1, "it ends the process, which its owner replaces")},
    "tools/runner.py": {"add_done_callback": (2, LOOP), "call_later": (3, LOOP)},
    "tools/threads.py": {
        "Thread": (1, OF_JOBS),
        "call_soon_threadsafe": (1, LOOP),
        "call_later": (1, LOOP),
    },
    "tools/watchdog.py": {"call_soon": (1, LOOP)},
    "calls/transfers.py": {"call_at": (1, OF_TRANSFERS)},
    "net/tls.py": {"run_in_executor": (1, "its waiters get what it raises")},
    "net/websocket.py": {"call_later": (1, LOOP)},
}
"""By file and name: how many there are, and why a fault in one ends nothing else."""


def test_everything_that_runs_on_its_own_is_known_and_contained() -> None:
    """Whoever adds a task, thread or callback says here what contains it: best, an owner."""
    found: dict[str, Counter[str]] = {}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith(("testing/", "bench/")):
            continue
        text = path.read_text(encoding="utf-8")
        if not any(begins in text for begins in BEGINS):
            continue  # to parse all takes a second
        for node in ast.walk(syntax_tree(text)):
            called = node.func if isinstance(node, ast.Call) else None
            begins = getattr(called, "attr", getattr(called, "id", ""))
            if begins in BEGINS:
                found.setdefault(name, Counter())[begins] += 1
    known = {
        name: Counter({begins: count for begins, (count, _) in each.items()})
        for name, each in WHERE.items()
    }
    assert found == known


def test_the_tests_that_contain_are_there() -> None:
    """A file, or a test of it, for each that WHERE names."""
    named = {why for each in WHERE.values() for _, why in each.values()}
    found = {one for why in named for one in re.findall(r"(tests/[a-z_/]+\.py)(?:::(\w+))?", why)}
    assert len(found) > 6
    for file, test in found:
        path = TESTS.parent / file
        assert path.is_file(), file
        assert f"def {test}" in path.read_text("utf-8"), f"{file}::{test}"


async def test_a_fault_in_a_job_of_a_thread_is_its_waiters_and_ends_no_thread() -> None:
    readers, threads = Readers(), Threads()
    for work in (broken, broken, lambda: 5):
        both = readers.run(work), threads.run("work", work)
        found = [type(one) for one in await asyncio.gather(*both, return_exceptions=True)]
        assert found == [InjectedError if work is broken else int] * 2
    readers.close()


@asynccontextmanager
async def two_calls() -> AsyncIterator[tuple[WholeServer, str, str]]:
    """A server with two calls that talk, and their CallSids. It stands when it is left."""
    async with whole_server(people={}) as h, asyncio.TaskGroup() as group:
        callers = [group.create_task(h.call(*STAYS)) for _ in range(2)]
        live = h.server.calls.registry.live
        await until(lambda: sum(e.has_stream for e in live.values()) == 2)
        await until(lambda: sum(isinstance(e, AgentConnected) for e in h.events()) == 2)
        first, second = live
        yield h, first, second
        assert h.endings(second) == []
        assert not h.stopped.is_set()
        assert (await h.http.get(f"{h.origin}/healthz")).status_code == 200
        for each in callers:
            each.cancel()


async def test_a_fault_in_a_callback_of_the_loop_ends_nothing() -> None:
    async with two_calls() as (h, first, _):
        loop = asyncio.get_running_loop()
        before = h.server._tasks.faults  # type: ignore[union-attr]
        loop.call_soon(broken)
        loop.call_later(0, broken)
        loop.call_at(loop.time(), broken)
        loop.call_soon_threadsafe(broken)
        done = loop.create_future()
        done.add_done_callback(broken)
        done.set_result(None)
        await until(lambda: h.server._tasks.faults == before + 5)  # type: ignore[union-attr]
        assert h.endings(first) == []


CALLBACKS: Final = {
    "call_soon": 0,
    "call_soon_threadsafe": 0,
    "call_later": 1,
    "call_at": 1,
    "add_reader": 1,
}
"""Methods of a loop that take a callback, and its place among the arguments."""


def source_of(frame: FrameType | None) -> str:
    """Return the file of the product that schedules a callback, also by a clock; or nothing."""
    while frame is not None and frame.f_code.co_filename == clock.__file__:
        frame = frame.f_back
    if frame is None or not frame.f_code.co_filename.startswith(f"{SOURCE}/"):
        return ""
    name = frame.f_code.co_filename.removeprefix(f"{SOURCE}/")
    return "" if name.startswith(("testing/", "bench/")) else name


Spoil: TypeAlias = Callable[[str, Callable[..., object]], Callable[..., object]]
"""Function that returns what is to be called in place of a callback, whose file it is told."""


def spoil_callbacks(monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    """Have every callback spoilt that the product gives to the running loop from now on."""
    loop = asyncio.get_running_loop()

    def scheduling(name: str, at: int) -> Callable[..., Any]:
        schedule = getattr(loop, name)

        def wrapped(*given: Any, **more: Any) -> Any:
            source = source_of(sys._getframe(1))
            if {name, "call_at"} & WHERE.get(source, {}).keys():
                given = (*given[:at], spoil(source, given[at]), *given[at + 1 :])
            return schedule(*given, **more)

        return wrapped

    for name, at in CALLBACKS.items():
        monkeypatch.setattr(loop, name, scheduling(name, at), raising=False)


async def test_a_fault_of_each_callback_that_calls_reach_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every callback of the product raises once it has done its work, each time."""
    struck = Counter[str]()

    def spoil(source: str, callback: Callable[..., object]) -> Callable[..., None]:
        def run(*given: object) -> None:
            callback(*given)
            struck[source] += 1
            raise InjectedError

        return run

    spoil_callbacks(monkeypatch, spoil)
    async with whole_server() as h:
        await asyncio.gather(*(h.call(GREET, ASK, GREET, HANG_UP) for _ in range(2)))
        await h.until_ended(2)
        assert h.endings() == ["caller_hung_up"] * 2
        assert (await h.http.get(f"{h.origin}/healthz")).status_code == 200
        await until(lambda: h.server._tasks.faults >= sum(struck.values()))  # type: ignore[union-attr]
        assert not h.stopped.is_set()
    assert struck.keys() >= {
        *("net/listener.py", "net/first_request.py", "concurrency/deadline_timer.py"),
        *("tools/watchdog.py",),
    }


async def test_after_a_fault_in_place_of_a_callback_the_server_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every callback of the product raises once in place of its work, as at its beginning.

    What a timer of deadlines fires does so once for each timer.
    """
    struck, begin = Counter[str](), DeadlineTimer.__init__

    def once(name: str, callback: Callable[..., object]) -> Callable[..., None]:
        is_due = True

        def run(*given: object) -> None:
            nonlocal is_due
            if is_due:
                is_due = False
                struck[name] += 1
                raise InjectedError
            callback(*given)

        return run

    def spoil(source: str, callback: Callable[..., object]) -> Callable[..., object]:
        name = f"{source} {getattr(callback, '__qualname__', '')}"
        if source == "concurrency/deadline_timer.py" or name in struck:
            return callback
        return once(name, callback)

    def timed(
        self: DeadlineTimer, clock: Clock, fire: Callable[[], None], *, goes_on: bool = False
    ) -> None:
        begin(self, clock, once(fire.__qualname__, fire), goes_on=goes_on)

    spoil_callbacks(monkeypatch, spoil)
    monkeypatch.setattr(DeadlineTimer, "__init__", timed)
    async with whole_server() as h:
        await asyncio.gather(*(h.call(GREET, ASK, GREET, HANG_UP) for _ in range(2)))
        await h.until_ended(2)
        assert h.endings() == ["caller_hung_up"] * 2
        assert (await h.http.get(f"{h.origin}/healthz")).status_code == 200
        assert not h.stopped.is_set()
    assert struck.keys() >= {
        *("Listener._next", "Watchdog._beat", "CallDecisions._on_timer"),
        *("net/listener.py Listener._accept", "tools/watchdog.py Watchdog._note_outside"),
    }


# --- protocols: what the loop and picows call for a socket ------------------------------------

OF_PROTOCOLS: Final = (
    "tests/test_containment.py::test_a_fault_in_place_of_a_protocols_callback_ends_at_most_one_call"
)

PROTOCOLS: Final = {
    "link/lines.py LineConnection": "tests/link/test_link.py"
    "::test_a_fault_in_place_of_a_protocols_callback_ends_its_connection_alone",
    "net/listener.py Connection": "an interface, of FirstRequestRouter alone",
    "net/first_request.py FirstRequestRouter": OF_PROTOCOLS,
    "net/first_request.py HttpProtocol": OF_PROTOCOLS,
    "net/websocket.py Socket": OF_PROTOCOLS,
}
"""Classes whose methods a loop, Uvicorn or picows calls, and why a fault in one ends nothing else.
"""

BASES: Final = {
    *("asyncio.Protocol", "asyncio.BufferedProtocol", "asyncio.DatagramProtocol"),
    *("asyncio.SubprocessProtocol", "Connection", "HttpToolsProtocol", "WSListener"),
}


def test_every_protocol_is_known_and_contained() -> None:
    found = set()
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(("testing/", "bench/")):
            for node in ast.walk(syntax_tree(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and BASES & {*map(ast.unparse, node.bases)}:
                    found.add(f"{name} {node.name}")
    assert found == PROTOCOLS.keys()


def is_of_server(protocol: Any) -> bool:
    """Return whether a protocol is the server's, and not a simulated peer's."""
    if isinstance(protocol, FirstRequestRouter):
        return protocol._serve is not None
    receiver = getattr(protocol, "receiver", None)
    return receiver is None or not type(receiver).__module__.startswith("offhook.testing.")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        *((FirstRequestRouter, name) for name in ("data_received", "step")),
        (FirstRequestRouter, "connection_lost"),
        *((HttpProtocol, name) for name in ("data_received", "on_response_complete")),
        *((Socket, name) for name in ("on_ws_connected", "on_ws_frame", "on_ws_disconnected")),
    ],
)
async def test_a_fault_in_place_of_a_protocols_callback_ends_at_most_one_call(
    owner: type[Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, struck = getattr(owner, name), asyncio.Event()
    broken_ones = []

    def once_broken(self: Any, *given: Any) -> Any:
        if not struck.is_set() and is_of_server(self):
            struck.set()
            broken_ones.append(self)
            raise InjectedError
        return work(self, *given)

    async with whole_server() as h, asyncio.TaskGroup() as group:
        calls = [h.call(*STAYS) for _ in range(2)]
        tasks: list[asyncio.Task[Any]] = [group.create_task(each) for each in calls]
        live = h.server.calls.registry.live
        await until(lambda: sum(e.has_stream for e in live.values()) == 2)
        await until(lambda: sum(isinstance(e, AgentConnected) for e in h.events()) == 2)
        talking = [*live]
        monkeypatch.setattr(owner, name, once_broken)
        # One of these meets the fault: it may fail, or never be answered.
        tasks.append(group.create_task(asked(h)))
        tasks.append(group.create_task(h.call(GREET, HANG_UP)))
        async with asyncio.timeout(240):
            await struck.wait()
        assert (await h.call(GREET, HANG_UP)).ending == "caller_hung_up"
        assert (await h.http.get(f"{h.origin}/healthz")).status_code == 200
        assert sum(bool(h.endings(sid)) for sid in talking) <= 1
        assert not h.stopped.is_set()
        for task in tasks:
            task.cancel()
        if name == "on_ws_frame":  # picows cuts the socket 0.1 s later, not before the loop ends
            await until(lambda: broken_ones[0]._transport is None)
    gc.collect()  # picows keeps the fault in a future, of which the loop tells when it is gone


async def asked(h: WholeServer) -> None:
    """Ask over a connection of its own, and pass over that there is no answer."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        with suppress(httpx2.HTTPError):
            await http.get(f"{h.origin}/healthz", headers={"Connection": "close"})


async def test_a_fault_in_a_task_about_a_call_ends_that_call() -> None:
    async def work() -> None:
        raise InjectedError

    async with two_calls() as (h, first, _):
        await h.server.calls.transfers._updates.start(first, work())
        await until(lambda: h.endings(first) == ["internal_error"])


async def test_a_fault_while_an_agent_is_dialled_ends_that_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with two_calls() as (h, first, _):
        monkeypatch.setattr(Dialler, "_connect", broken)
        await h.call(GREET)
        await until(lambda: h.endings() == ["internal_error"])
        assert h.endings(first) == []


async def test_a_fault_while_twilio_is_asked_to_hang_up_lets_the_stream_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TwilioRest, "hang_up", broken)
    async with two_calls() as (h, first, _):
        await h.server.calls.registry.live[first].control.request(HangUp("operator"))
        await until(lambda: h.endings(first) == ["operator_hung_up"])


@pytest.mark.parametrize(
    ("path", "owner", "name"),
    [("/twilio/voice", CallRegistry, "is_long_over"), ("/twilio/after", CallFlow, "_tell")],
)
async def test_a_fault_in_a_webhook_is_answered_with_words(
    path: str, owner: type[Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_calls() as (h, first, _):
        with monkeypatch.context() as while_broken:
            while_broken.setattr(owner, name, broken)
            answer = await h.post(path, CallSid=first)
        assert answer.status_code == 200
        assert "<Hangup" in answer.text
        assert h.endings(first) == ["internal_error"]


async def test_a_dead_thread_is_red_in_readiness_and_metrics() -> None:
    dead = BackgroundThread("retention", lambda: None)
    dead.start()
    dead.stop(30)
    dead._stopping.clear()
    printer = Printer(-1, lambda lost, fault: "")
    printer.stop()
    printer._stopping = False
    async with two_calls() as (h, _, _):
        h.server._threads.extend([dead, printer])
        ready = await h.http.get(f"{h.origin}/readyz")
        assert ready.status_code == 503
        assert ready.json()["state"] == "broken"
        assert ready.json()["failing"] == {"retention": "dead", "printer": "dead"}
        assert b"offhook_parts_failing 2.0" in await h.server.metrics.text()


async def test_a_metric_that_cannot_tell_hides_no_other() -> None:
    async with two_calls() as (h, _, _):
        h.server.metrics.ask(catalogue.CALLS_LIVE, broken)
        text = await h.server.metrics.text()
    assert b"offhook_calls_live" not in text
    assert b"offhook_calls_capacity" in text
