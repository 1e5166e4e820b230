"""The local socket between call process and operator's process, over real sockets."""

import asyncio
import json
import logging
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.waiting import settled, until

from offhook.clock import LoopClock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config.current_agents import ReloadReport
from offhook.errors import UserError
from offhook.journal.folders import LOCK, ProcessInfo, write_process_info
from offhook.link import client as module
from offhook.link import server as server_module
from offhook.link.client import CallProcess, LostError
from offhook.link.in_process import InProcessLink
from offhook.link.lines import LineConnection, Lines, OnLine, OnLost
from offhook.link.messages import (
    LINE_MAX,
    CallProcessState,
    LinkOrder,
    PerformedOperation,
    PerformOperation,
    Ping,
    PlaceCall,
    ReadCallState,
    ReadMetrics,
    ReadProcessState,
    ReloadAgents,
)
from offhook.link.node_links import NotHereError
from offhook.link.orders import LinkOrders
from offhook.link.process_files import live_processes
from offhook.link.processes import CallProcesses
from offhook.link.server import LinkServer
from offhook.link.streams import OfferedStreams
from offhook.outbound.errors import TryLaterError, UncertainError
from offhook.outbound.requests import OutboundRequest, PlacedCall, PlacedCallState
from offhook.tools.declare import ToolError

REQUEST = OutboundRequest("+12025550142", "reminder", {"name": "Ada"}, "key", "Europe/Berlin")


class Orders:
    """A call process's part in a test's hands."""

    def __init__(self) -> None:
        self.got: list[LinkOrder] = []
        self.cancelled: list[LinkOrder] = []
        self.answer: Callable[[LinkOrder], Any] = lambda _: None

    async def obey(self, order: LinkOrder) -> Any:
        self.got.append(order)
        try:
            result = self.answer(order)
            return await result if isinstance(result, Awaitable) else result
        except asyncio.CancelledError:
            self.cancelled.append(order)
            raise


async def outcome(work: Awaitable[Any]) -> Any:
    """What comes of it, be it an error."""
    try:
        return await work
    except (UserError, NotHereError) as error:
        return error


async def forever(_: object = None) -> None:
    await asyncio.Event().wait()


class Rig:
    def __init__(
        self,
        server: LinkServer,
        orders: Orders,
        tasks: ServerTasks,
        path: Path,
        group: asyncio.TaskGroup,
        streams: OfferedStreams,
    ) -> None:
        self.group = group
        self.streams = streams
        self.server = server
        self.orders = orders
        self.tasks = tasks
        self.path = path


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    async with asyncio.TaskGroup() as group:
        tasks = ServerTasks(group)
        orders = Orders()
        streams = OfferedStreams(LoopClock(asyncio.get_running_loop()))
        server = LinkServer(cast("LinkOrders", orders), tasks, streams, lambda: 0)
        path = await server.listen()
        try:
            yield Rig(server, orders, tasks, path, group, streams)
        finally:
            server.close()


@asynccontextmanager
async def linked(*, pair: bool = False) -> AsyncIterator[tuple[Rig, CallProcess]]:
    async with rig() as r:
        if pair:
            link = InProcessLink()
            link.serve(r.server.connect)
            process = CallProcess(link.connect)
        else:
            process = CallProcess.at(str(r.path))
        try:
            yield r, process
        finally:
            process.close()


@asynccontextmanager
async def peer(
    on_client: Callable[[socket.socket], Awaitable[None]],
) -> AsyncIterator[CallProcess]:
    """A call process that does as the test wants, for every connection."""
    # The folder of a test has too long a name for a socket where that of all tests is deep.
    folder = Path(tempfile.mkdtemp(prefix="link-"))
    path = folder / "control"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    clients: list[socket.socket] = []

    async def serve() -> None:
        while True:
            client, _ = await loop.sock_accept(listener)
            clients.append(client)
            await on_client(client)

    process = CallProcess.at(str(path))
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve())
        try:
            yield process
        finally:
            process.close()
            serving.cancel()
            for each in (listener, *clients):
                each.close()
            shutil.rmtree(folder)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)


@pytest.mark.parametrize("pair", [False, True])
async def test_requests_and_results_pass_as_they_are(pair: bool) -> None:
    state = PlacedCallState("CA1", "completed", True, "human", "caller_hung_up", "The caller.")
    results: dict[type, Any] = {
        PerformOperation: PerformedOperation("done", "it is being said"),
        PlaceCall: PlacedCall("CA1", again=True),
        ReadCallState: state,
        ReadMetrics: "offhook_calls_live 1.0\n",
        ReloadAgents: ReloadReport(("front", "back"), 3, ("server.port",)),
        ReadProcessState: CallProcessState(True, 3, True, {"journal": "dead"}),
    }
    async with linked(pair=pair) as (r, process):
        r.orders.answer = lambda order: results.get(type(order))
        done = await process.perform("CA1", "say", {"text": "Hé"}, "Ann")
        assert done == results[PerformOperation]
        assert await process.place(REQUEST) == PlacedCall("CA1", again=True)
        assert await process.state("CA1", "ringing", 2.0) == state
        assert await process.metrics() == results[ReadMetrics]
        assert await process.process_state("CA1") == results[ReadProcessState]
        assert await process.reload() == results[ReloadAgents]
        results[ReadCallState] = None
        assert await process.state("CA2", None, 0) is None
        assert r.orders.got[0] == PerformOperation.of("CA1", "say", {"text": "Hé"}, "Ann")
        assert r.orders.got[1] == PlaceCall(REQUEST)


async def test_half_a_character_passes_in_arguments() -> None:
    async with linked() as (r, process):
        r.orders.answer = lambda _: PerformedOperation("done")
        await process.perform("CA1", "think", {"think": {"prompt": "\ud800"}}, "Ann")
        (order,) = r.orders.got
        assert isinstance(order, PerformOperation)
        assert json.loads(order.arguments) == {"think": {"prompt": "\ud800"}}


@pytest.mark.parametrize(
    "error",
    [
        UserError("E-SET-01", "A mistake.", "Correct it."),
        ToolError("The agent is speaking."),
        TryLaterError("E-OUT-12", "Too many.", "Wait.", 7.5),
        UncertainError("E-OUT-14", "Who knows.", "Ask again.", 30.0),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_pass_as_themselves(error: UserError | ToolError) -> None:
    async def refuse(_: object) -> None:
        raise error

    async with linked() as (r, process):
        r.orders.answer = refuse
        with pytest.raises(type(error)) as raised:
            await process.place(REQUEST)
        assert type(raised.value) is type(error)
        assert vars(raised.value) == vars(error)
        assert str(raised.value) == str(error)


async def test_a_fault_in_a_request_is_told_and_ends_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()

    async def answer(order: LinkOrder) -> Any:
        if isinstance(order, ReadMetrics):
            raise RuntimeError("broken")
        await release.wait()
        return PerformedOperation("done", "later")

    async with linked() as (r, process), asyncio.TaskGroup() as group:
        r.orders.answer = answer
        other = group.create_task(process.perform("CA1", "say", {}, "Ann"))
        await until(lambda: r.orders.got)
        with pytest.raises(UserError, match="E-API-15") as told:
            await process.metrics()
        assert "broken" not in str(told.value), "an exception may hold what was said"
        release.set()
        assert (await other).what == "later"
        assert r.tasks.faults == 1
    assert "request of the operator" in caplog.text


async def test_two_hundred_requests_at_once_are_answered_each_by_its_own_answer() -> None:
    waiting: dict[str, asyncio.Future[PerformedOperation]] = {}

    def answer(order: LinkOrder) -> Any:
        assert isinstance(order, PerformOperation)
        return waiting.setdefault(order.call_sid, asyncio.get_running_loop().create_future())

    async with linked() as (r, process), asyncio.TaskGroup() as group:
        r.orders.answer = answer
        tasks = [group.create_task(process.perform(f"CA{n}", "say", {}, "Ann")) for n in range(200)]
        await until(lambda: len(waiting) == 200)
        for sid in reversed(list(waiting)):
            waiting[sid].set_result(PerformedOperation("done", sid))
        assert [(await task).what for task in tasks] == [f"CA{n}" for n in range(200)]


async def test_more_requests_than_a_connection_takes_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "REQUESTS_MAX", 2)
    async with linked() as (r, process):
        r.orders.answer = forever
        open_ = [r.group.create_task(process.perform(f"CA{n}", "say", {}, "Ann")) for n in range(2)]
        await until(lambda: len(r.orders.got) == 2)
        with pytest.raises(UserError, match="E-LINK-04"):
            await process.metrics()
        for task in open_:
            task.cancel()
        await until(lambda: len(r.orders.cancelled) == 2)
        r.orders.answer = lambda _: "text"
        assert await process.metrics() == "text", "their room is free again"


async def test_a_cancelled_request_is_withdrawn() -> None:
    async with linked() as (r, process):
        r.orders.answer = forever
        task = r.group.create_task(process.perform("CA1", "say", {"text": "Hi."}, "Ann"))
        await until(lambda: r.orders.got)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: r.orders.cancelled == r.orders.got)


async def test_a_lost_connection_withdraws_operations_and_finishes_a_placement() -> None:
    done: list[LinkOrder] = []
    release = asyncio.Event()

    async def answer(order: LinkOrder) -> PlacedCall:
        await release.wait()
        done.append(order)
        return PlacedCall("CA1", again=False)

    async with linked() as (r, process):
        r.orders.answer = answer
        asked = [
            r.group.create_task(outcome(process.perform("CA1", "say", {"text": "Hi."}, "Ann"))),
            r.group.create_task(outcome(process.place(REQUEST))),
        ]
        await until(lambda: len(r.orders.got) == 2)
        process.close()
        performed, placed = [await task for task in asked]
        assert getattr(performed, "code", "") == "E-LINK-01"
        assert type(placed) is UncertainError
        await until(lambda: len(r.orders.cancelled) == 1)
        assert isinstance(r.orders.cancelled[0], PerformOperation)
        release.set()
        await until(lambda: done == [PlaceCall(REQUEST)])


async def test_a_request_after_a_lost_connection_is_sent_over_a_new_one() -> None:
    async with linked() as (r, process):
        r.orders.answer = lambda _: "text"
        assert await process.metrics() == "text"
        process.close()
        assert await process.metrics() == "text"


async def test_a_process_that_is_gone_is_an_error_at_once(tmp_path: Path) -> None:
    process = CallProcess.at(str(tmp_path / "gone"))
    with pytest.raises(TryLaterError, match="E-LINK-01"):
        await process.metrics()
    with pytest.raises(TryLaterError, match="E-LINK-01"):
        await process.place(REQUEST)  # it was not sent, so it is certain that nobody is rung
    async with linked(pair=True) as (r, process):
        r.server.close()
        for _ in range(2):
            with pytest.raises(TryLaterError, match="E-LINK-01"):
                await process.perform("CA1", "say", {}, "Ann")


@pytest.mark.parametrize("failure", [ConnectionError, NotHereError])
async def test_requests_that_wait_for_one_attempt_to_connect_fail_with_it(
    failure: type[Exception],
) -> None:
    attempts: list[asyncio.Future[Any]] = []

    async def connect(on_line: OnLine, on_lost: OnLost) -> Lines:
        attempts.append(asyncio.get_running_loop().create_future())
        found: Lines = await attempts[-1]
        return found

    process = CallProcess(connect)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(outcome(process.metrics())) for _ in range(20)]
        await settled()
        attempts[0].set_exception(failure())
    assert len(attempts) == 1
    assert {type(each.result()) for each in asked} == {
        NotHereError if failure is NotHereError else LostError
    }
    async with asyncio.TaskGroup() as group:
        later = group.create_task(outcome(process.metrics()))
        await settled()
        attempts[1].set_exception(ConnectionError())
    assert isinstance(later.result(), LostError), "the next one tries anew"


@pytest.mark.usefixtures("impatient")
async def test_a_hanging_process_is_given_up() -> None:
    async def hang(client: socket.socket) -> None:
        await forever()

    async with peer(hang) as process:
        with pytest.raises(TryLaterError, match="E-LINK-01"):
            await process.perform("CA1", "say", {}, "Ann")
        with pytest.raises(UncertainError, match="E-OUT-14"):
            await process.place(REQUEST)


async def test_a_slow_request_of_a_process_that_lives_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 1.0)
    pinged: list[LinkOrder] = []
    enough = asyncio.Event()

    async def slow(order: LinkOrder) -> PerformedOperation | None:
        if isinstance(order, Ping):
            pinged.append(order)
            if len(pinged) == 2:
                enough.set()
            return None
        await enough.wait()
        return PerformedOperation("done", "at last")

    async with linked() as (r, process):
        r.orders.answer = slow
        assert (await process.perform("CA1", "say", {}, "Ann")).what == "at last"


async def test_a_request_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATE_S", 0.05)
    async with linked() as (r, process):
        r.orders.answer = forever
        with pytest.raises(TryLaterError, match="E-LINK-01"):
            await process.metrics()


@pytest.mark.parametrize(
    "garbage", [b"\xff\x00garbage\n", b"[" * 100_000 + b"\n", b"{}\n", b"x" * (LINE_MAX + 2)]
)
async def test_garbage_of_a_process_is_an_error_and_no_hang(garbage: bytes) -> None:
    async def answer(client: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(client, garbage)

    async with peer(answer) as process:
        with pytest.raises(TryLaterError, match="E-LINK-01"):
            await process.perform("CA1", "say", {}, "Ann")


async def test_a_result_of_another_version_is_an_error() -> None:
    async with linked() as (r, process):
        r.orders.answer = lambda _: {"outcome": 5}
        with pytest.raises(UserError, match="E-LINK-03"):
            await process.perform("CA1", "say", {}, "Ann")


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\x00garbage\n", b"[" * 100_000 + b"\n", b"[]\n", b"\n", b"x" * (LINE_MAX + 2)],
)
async def test_garbage_of_one_connection_harms_no_other(
    garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked() as (r, process):
        r.orders.answer = lambda _: "text"
        assert await process.metrics() == "text"
        reader, writer = await asyncio.open_unix_connection(r.path)
        with caplog.at_level(logging.CRITICAL, "offhook.link"):
            writer.write(garbage)
            assert await reader.read() == b"", "it is closed"
        writer.close()
        assert await process.metrics() == "text"
        assert r.tasks.faults == 0


@pytest.mark.parametrize("name", ["data_received", "connection_lost"])
async def test_a_fault_in_place_of_a_protocols_callback_ends_its_connection_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, struck = getattr(LineConnection, name), asyncio.Event()

    def once_broken(self: LineConnection, *given: Any) -> None:
        if not struck.is_set():
            struck.set()
            raise ZeroDivisionError
        work(self, *given)

    async with linked() as (r, process):
        r.orders.answer = lambda _: "text"
        assert await process.metrics() == "text"
        monkeypatch.setattr(LineConnection, name, once_broken)
        _, writer = await asyncio.open_unix_connection(r.path)
        writer.write(b'{"number":7,"order":{"type":"ping"}}\n')
        writer.close()
        async with asyncio.timeout(240):
            await struck.wait()
        assert await process.metrics() == "text"


async def test_an_unknown_request_is_refused_by_its_number_alone() -> None:
    async with rig() as r:
        reader, writer = await asyncio.open_unix_connection(r.path)
        writer.write(
            b'{"number":7,"order":{"type":"dance"}}\n{"number":8,"order":{"type":"ping"}}\n'
        )
        replies = [msgspec.json.decode(await reader.readline()) for _ in range(2)]
        assert {each["number"]: each.get("error", {}).get("code") for each in replies} == {
            7: "E-LINK-03",
            8: None,
        }
        writer.close()


async def test_a_megabyte_passes_and_more_than_a_line_may_have_is_refused() -> None:
    async with linked() as (r, process):
        r.orders.answer = lambda _: PerformedOperation("done", "y" * 1_000_000)
        done = await process.perform("CA1", "think", {"text": "x" * 1_000_000}, "Ann")
        assert len(done.what) == 1_000_000
        with pytest.raises(UserError, match="E-LINK-03"):
            await process.perform("CA1", "think", {"text": "x" * LINE_MAX}, "Ann")
        r.orders.answer = lambda _: PerformedOperation("done", "y" * LINE_MAX)
        with pytest.raises(UserError, match="E-LINK-03"):
            await process.perform("CA1", "say", {}, "Ann")


async def test_a_peer_that_reads_nothing_is_cut_off_and_holds_no_memory() -> None:
    async with linked() as (r, process):
        r.orders.answer = lambda _: "y" * 1_000_000
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(r.path))
        ask = b"".join(b'{"number":%d,"order":{"type":"metrics"}}\n' % n for n in range(100))
        client.sendall(ask)
        await until(lambda: len(r.orders.got) == 100)
        await until(lambda: not r.server._connections)
        client.close()
        r.orders.answer = lambda _: "text"
        assert await process.metrics() == "text"


@pytest.mark.skipif(sys.platform == "win32", reason="no such modes")
async def test_the_socket_is_private_and_removed_at_the_end() -> None:
    async with rig() as r:
        assert stat.S_IMODE(r.path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(r.path.stat().st_mode) == 0o600
    assert not r.path.parent.exists()


# --- all of a data folder ---------------------------------------------------------------------


class Announced:
    """Processes with a file in a journal's folder, whose locks this test holds."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.locks: dict[str, int] = {}

    def add(self, process_id: str, path: Path, started_ms: int) -> None:
        import fcntl

        folder = self.journal / process_id
        folder.mkdir(parents=True)
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.locks[process_id] = fd
        write_process_info(folder, ProcessInfo(os.getpid(), "1.0", started_ms, str(path)))

    def end(self, process_id: str) -> None:
        os.close(self.locks.pop(process_id))


def test_only_processes_that_hold_their_lock_are_found(tmp_path: Path) -> None:
    assert live_processes(tmp_path / "missing") == {}
    announced = Announced(tmp_path)
    announced.add("old", Path("/a"), 1)
    announced.add("new", Path("/b"), 2)
    (tmp_path / "id").write_text("not a folder")
    (tmp_path / "begun").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "process.json").write_text('{"pid"')
    assert list(live_processes(tmp_path)) == ["new", "old"]
    announced.end("new")
    assert list(live_processes(tmp_path)) == ["old"]
    announced.end("old")
    assert live_processes(tmp_path) == {}


async def test_without_a_process_a_request_is_an_error(tmp_path: Path) -> None:
    processes = CallProcesses(tmp_path)
    assert await processes.metrics() == []
    for request in (
        processes.perform("CA1", "say", {}, "Ann"),
        processes.place(REQUEST),
        processes.state("CA1", None, 0),
        processes.reload(),
    ):
        with pytest.raises(TryLaterError, match="E-LINK-02"):
            await request


async def test_a_request_goes_to_the_process_that_has_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATE_S", 0.5)
    announced = Announced(tmp_path)
    async with rig() as old, rig() as new:

        def process(name: str, *calls: str, is_draining: bool) -> Callable[[LinkOrder], Any]:
            def answer(order: LinkOrder) -> Any:
                match order:
                    case ReadProcessState(sid):
                        return CallProcessState(is_draining, len(calls), sid in calls)
                    case PlaceCall():
                        return PlacedCall(name, again=False)
                    case ReadMetrics():
                        return name
                return PerformedOperation("done", name)

            return answer

        old.orders.answer = process("old", "CA1", is_draining=True)
        new.orders.answer = process("new", "CA2", is_draining=False)
        announced.add("old", old.path, 1)
        announced.add("new", new.path, 2)
        processes = CallProcesses(tmp_path)

        async def who(sid: str) -> str:
            return (await processes.perform(sid, "say", {}, "Ann")).what

        assert [await who(sid) for sid in ("CA1", "CA2", "CA3")] == ["old", "new", "new"]
        assert (await processes.place(REQUEST)).sid == "new"
        assert await processes.metrics() == ["new", "old"]
        # The newest drains, too: the other would be asked if it did not.
        new.orders.answer = process("new", "CA2", is_draining=True)
        old.orders.answer = process("old", "CA1", is_draining=False)
        assert (await processes.place(REQUEST)).sid == "old"
        # One that hangs is passed over.
        old.orders.answer = forever
        assert await who("CA2") == "new"
        assert (await processes.place(REQUEST)).sid == "new"
        assert await processes.metrics() == ["new", None]
        announced.end("old")
        assert await processes.metrics() == ["new"]
        processes.close()
        announced.end("new")
