"""The life of a server: start, serve, drain, stop."""

import asyncio
import contextlib
import functools
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx2
from starlette.types import ASGIApp

from offhook import __version__
from offhook.call import inputs
from offhook.calls.compose import CallHandling
from offhook.capture.tap import MakeTap
from offhook.clock import Clock, LoopClock
from offhook.concurrency.background_thread import WatchedThread
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import Config
from offhook.events.types import Subscriber
from offhook.journal.keeper import EventJournal
from offhook.link.in_process import InProcessLink
from offhook.link.neighbours import Neighbours
from offhook.link.orders import LinkOrders
from offhook.link.process_files import siblings
from offhook.link.server import LinkServer
from offhook.link.streams import OfferedStreams
from offhook.net import egress, websocket
from offhook.net.listener import FILES_OF_CALL, FILES_OF_RECORDED_CALL
from offhook.observability.metrics.meter import Metrics
from offhook.outbound.ledger import CallLedger
from offhook.policy.dial_count import DialCount
from offhook.recordings.files import LocalFiles
from offhook.recordings.recorder import Recordings
from offhook.recordings.redacted import SilenceRedacted
from offhook.serving.beside import ProcessesBeside, processes_beside
from offhook.serving.composition import ServerNeeds, ServerParts, compose_server
from offhook.serving.http_server import GracefulHttpServer, http_server
from offhook.serving.joined_fleet import JoinedFleet, joined_fleet
from offhook.serving.listen import check_certificate
from offhook.webhooks.siblings import SiblingProcesses

_log: Final = logging.getLogger("offhook.server")

SWITCH_S: Final = 0.001
"""Seconds that a computing thread may keep the interpreter while the event loop waits for it.

Python's own 5 ms add up to most of a frame of audio when a few threads compute
(docs/design/tools.md).
"""

HAND_OVER_S: Final = 5.0
"""Seconds that a stopping server waits for Twilio's requests after the streams it closed."""


class Server:
    """A server on one port. `run` serves until `stop` is called.

    `sock` listens already, so that a port in use is found before anything is started. The owner
    handles signals, and runs `journal`, `ledger`, `dial_count` and `threads`, whose state readiness
    and metrics report. `operator` is the link of the operator's side in the same process; without
    it, operators' processes find this one by a file in the journal's folder. `ServerNeeds`
    describes the other arguments.

    Raises UserError E-CFG-05 when the certificate of the configuration cannot be used,
    E-LOOKUP-01 when a lookup has no secret, and E-AUD-01 when the folder of recordings cannot
    be written.
    """

    def __init__(
        self,
        config: Config,
        sock: socket.socket,
        subscribers: list[Subscriber],
        make_tap: MakeTap | None = None,
        *,
        watchers: Sequence[Subscriber] = (),
        journal: EventJournal | None = None,
        ledger: CallLedger | None = None,
        dial_count: DialCount | None = None,
        operator: InProcessLink | None = None,
        threads: Sequence[WatchedThread] = (),
        supervisor: int = 0,
    ) -> None:
        check_certificate(config)
        config.require_lookup_secrets()
        self.port: Final[int] = sock.getsockname()[1]
        self.calls: CallHandling
        self.started = asyncio.Event()
        self._config = config
        self._sock = sock
        self.metrics: Final = Metrics()
        kept = [journal] if journal is not None else []
        told: list[Subscriber] = [*kept, self.metrics, *subscribers]
        self.recordings: Final = _recordings(config)
        """Recordings of calls; None when no agent's calls are recorded."""
        if self.recordings is not None:
            told.append(SilenceRedacted(self.recordings))
        self._operator = operator
        self._supervisor = supervisor
        self._needs = ServerNeeds(
            config=config,
            metrics=self.metrics,
            subscribers=told,
            watchers=watchers,
            make_tap=make_tap,
            recordings=self.recordings,
            journal=journal,
            ledger=ledger,
            dial_count=dial_count,
        )
        self._tasks: ServerTasks | None = None
        self._threads: Final[list[WatchedThread]] = [*threads]
        if dial_count is not None:
            self._threads.append(dial_count.thread)
        if journal is not None:
            self._threads.extend(journal.threads)
        if ledger is not None:
            self._threads.append(ledger.thread)
        if self.recordings is not None:
            self._threads.append(self.recordings.thread)
        self._stops = 0
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._without_socket = asyncio.Event()
        self._is_retired = False
        self._take_over: Callable[[], None] = _nothing
        self._neighbours: Neighbours | None = None
        self._siblings: SiblingProcesses | None = None
        self._beside: ProcessesBeside | None = None
        self._web: GracefulHttpServer | None = None
        self._unstartable: Exception | None = None
        self._joined: JoinedFleet | None = None

    async def run(
        self,
        on_started: Callable[[], None] = lambda: None,
        on_ending: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve. After `stop`, accept no new call, let live calls finish, and return.

        `on_started` is called once calls are answered, `on_ending` when all is done but for what
        waits for the disk: that may hold up the event loop.
        """
        sys.setswitchinterval(SWITCH_S)
        with self.recordings or contextlib.nullcontext():
            try:
                await self._serve(on_started)
            finally:
                on_ending()

    async def _serve(self, on_started: Callable[[], None]) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        # Connections are not limited: requests have a time limit, and a call makes one at a time.
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=20, keepalive_expiry=30
        )
        trusted = self._config.addresses
        journal = self._needs.journal
        joined = self._joined = joined_fleet(self._config, journal, clock)
        async with egress.client(trusted, limits=limits) as http, asyncio.TaskGroup() as group:
            tasks = self._tasks = ServerTasks(group, self._on_fault)
            asyncio.get_running_loop().set_exception_handler(self._on_loop_fault)
            neighbours = None if journal is None else Neighbours(journal.folder.parent, tasks)
            parts = compose_server(
                self._needs,
                http,
                clock,
                tasks,
                failing=self.failing,
                faults=self._faults,
                fleet=None if joined is None else joined.parts,
                neighbours=neighbours,
            )
            if joined is not None and neighbours is not None:
                neighbours.join(joined.links(), joined.places)
            self.calls, placing = parts.calls, parts.placing
            self._neighbours = neighbours
            self._meet_siblings(parts, tasks)
            if neighbours is not None and self._supervisor:
                self._beside = processes_beside(
                    self._needs, parts, clock, tasks, neighbours, self._supervisor
                )
                await self._beside.open()
            # Before the first request: Twilio asks about these calls at once.
            self._take_over = self._taking_over(tasks)
            if self.calls.fleet is None:
                with tasks.contained("take over calls"):
                    self._take_over()
            self._threads.append(parts.watchdog.thread)
            if parts.redaction is not None:
                self._threads.append(parts.redaction.thread)
            watching = (
                tasks.keep("watch placed calls", placing.following.watch)
                if placing is not None
                else None
            )
            file_watch = tasks.keep("watch files of functions", parts.file_watch.run)
            link = await self._open_link(parts, clock, tasks, joined)
            if joined is not None and link is not None:
                joined.open(link, tasks)
                await self._claim_at_start(tasks)
            answer = functools.partial(self._answer, parts.webhooks.app(), parts.webhooks.decide)
            with parts.redaction or contextlib.nullcontext(), parts.watchdog, parts.processes:
                # Without the socket nothing can be answered anew; streams go on.
                serving = tasks.keep("HTTP", answer, until=self._without_socket)
                telling = tasks.start("tell that it has started", self._tell_started(on_started))
                await self._stopping.wait()
                await self._drain(tasks)
                self._close_socket()
                if self._web is not None:
                    self._web.should_exit = True
                await serving
                telling.cancel()
            file_watch.cancel()
            if watching is not None:
                watching.cancel()
            if self._beside is not None:
                self._beside.close()
            await self._leave_others(tasks, link)
            if self._unstartable is not None:
                raise self._unstartable

    def _meet_siblings(self, parts: ServerParts, tasks: ServerTasks) -> None:
        """Share the public socket's requests with the other call processes of the supervisor.

        In a fleet those are in its directory, as the processes of other nodes are.
        """
        journal, neighbours = self._needs.journal, self._neighbours
        if journal is None or neighbours is None or not self._supervisor:
            return
        if self._joined is not None:
            return
        root, process_id = journal.folder.parent, journal.process_id

        async def release(other: str, call_sid: str, token: str) -> bool:
            done = await neighbours.release(other, call_sid, to=process_id, token=token)
            return done == "released"

        self._siblings = SiblingProcesses(
            parts.calls.registry,
            parts.webhooks.known,
            parts.calls.interrupted,
            find=lambda: siblings(root, process_id, self._supervisor),
            forward=neighbours.forward,
            release=release,
            adopt=journal.adopt,
        )
        with tasks.contained("look for processes"):
            self._siblings.look()
        parts.webhooks.siblings = self._siblings
        parts.pending_streams.prepare = self._siblings.prepare

    async def _open_link(
        self, parts: ServerParts, clock: Clock, tasks: ServerTasks, joined: JoinedFleet | None
    ) -> LinkServer | None:
        """Take the operator's requests; without a journal, there is no operator."""
        journal = self._needs.journal
        if journal is None:
            return None
        streams = OfferedStreams(clock)
        orders = LinkOrders(
            self._config,
            parts.calls,
            parts.placing,
            parts.pending_streams,
            streams,
            self.metrics,
            failing=self.failing,
            reload=parts.reloader.reload,
            check=parts.reloader.check,
            agents=parts.directory,
            answer=parts.webhooks.answer,
            release=parts.calls.releasing.release,
            fence=parts.calls.releasing.fence,
            owns=_owns_none if joined is None else joined.parts.heartbeat.owns,
        )
        now_ms = _no_time if joined is None else joined.now_ms
        link = LinkServer(orders, tasks, streams, now_ms)
        try:
            if self._operator is not None:
                self._operator.serve(link.connect)
            else:
                control = str(await link.listen())
                journal.announce(
                    __version__,
                    control,
                    self.port,
                    self._config.server.public_url,
                    self._supervisor,
                )
        except OSError as error:
            _log.error(
                "E-LINK-05 operators cannot reach this process: %s. Calls go on.", error.strerror
            )
        return link

    async def _tell_started(self, on_started: Callable[[], None]) -> None:
        await self.started.wait()
        on_started()

    async def _answer(self, app: ASGIApp, decide: websocket.Decide) -> None:
        """Answer HTTP until the server closes; raise RuntimeError if that ends before.

        The socket is a copy. If answering ends, new connections wait in the queue of the
        original until answering is started again, and open connections continue.
        """
        web = self._web = http_server(
            app,
            self._sock.dup(),
            self._config.server,
            decide=decide,
            started=self.started,
            files_of_stream=FILES_OF_CALL if self.recordings is None else FILES_OF_RECORDED_CALL,
        )
        try:
            await web.serve()
            if not web.should_exit:
                raise RuntimeError("nothing answers HTTP any more")
        except Exception as error:
            if not self.started.is_set():  # no call can have come yet: the server must not start
                self._unstartable = error
                self.stop()
                return
            raise
        finally:
            web.listener.close()

    def _close_socket(self) -> None:
        self._without_socket.set()
        self._sock.close()

    def stop(self) -> None:
        """Stop when the last call has ended. A second call of `stop` ends the calls now."""
        self._stops += 1
        self._stopping.set()
        if self._stops > 1:
            self._hurry.set()

    def retire(self) -> None:
        """Accept no connection any more, as another process on the socket does; `stop` follows.

        Connections that are open are answered once more, and streams go on.
        """
        self._is_retired = True
        self.expect_next()
        self.calls.registry.is_draining = True
        if self._beside is not None:
            self._beside.watch()
        self._close_socket()
        if self._web is not None:
            self._web.listener.close()

    def expect_next(self) -> None:
        """Share requests with another call process, which starts now."""
        if self._siblings is not None:
            self._siblings.is_watching = True

    def take_over(self) -> None:
        """Go on with the calls of processes that have ended since the start."""
        if self._tasks is None:
            return  # The start takes over what there is.
        with self._tasks.contained("look for processes"):
            if self._siblings is not None:
                self._siblings.look()
        with self._tasks.contained("take over calls"):
            self._take_over()

    def _taking_over(self, tasks: ServerTasks) -> Callable[[], None]:
        """Return what takes over the calls of dead processes of this machine.

        In a fleet another node may have them by now, so that its directory is asked, in a task.
        """
        interrupted, fleet = self.calls.interrupted, self.calls.fleet
        if fleet is None:
            return interrupted.take_over

        def claim() -> None:
            work = interrupted.take_over_claimed(fleet.claim_files)
            _ = tasks.start("claim calls of dead processes", work)

        return claim

    async def _claim_at_start(self, tasks: ServerTasks) -> None:
        fleet = self.calls.fleet
        with tasks.contained("claim calls"):
            if fleet is not None:
                await self.calls.interrupted.take_over_claimed(fleet.claim_files)

    async def _leave_others(self, tasks: ServerTasks, link: LinkServer | None) -> None:
        """Close the ways to other nodes, other processes and the operator, each whatever fails."""
        with tasks.contained("leave the fleet"):
            if self._joined is not None:
                await self._joined.close()
        with tasks.contained("leave other processes"):
            if self._neighbours is not None:
                self._neighbours.close()
        with tasks.contained("close the operator's link"):
            if link is not None:
                link.close()

    def failing(self) -> dict[str, str]:
        """Return the parts of the server that do not work, each with its state: failing or dead."""
        found: dict[str, str] = {
            thread.name: thread.state for thread in self._threads if thread.state != "ok"
        }
        if self._joined is not None and self._joined.parts.state != "ok":
            found["directory"] = self._joined.parts.state
        kept = self._tasks.failing if self._tasks is not None else ()
        operators = self._operator.failing() if self._operator is not None else ()
        return {**found, **dict.fromkeys((*kept, *operators), "failing")}

    def _faults(self) -> int:
        tasks = self._tasks.faults if self._tasks is not None else 0
        return tasks + sum(thread.faults for thread in self._threads)

    def _on_loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count the exception of a callback of the event loop; other callbacks go on."""
        if self._tasks is not None:
            self._tasks.faults += 1
        loop.default_exception_handler(context)

    def _on_fault(self, call_sid: str, what: str) -> None:
        """End the call whose task has failed; its caller hears the fallback."""
        self.calls.registry.send(call_sid, inputs.CallBroke(what))

    async def _drain(self, tasks: ServerTasks) -> None:
        registry = self.calls.registry
        registry.is_draining = True
        if registry.live_count:
            _log.info("draining: %d calls are live; stop again to end them", registry.live_count)
        idle = tasks.keep("until idle", registry.until_idle)
        hurry = tasks.keep("until hurried", self._until_hurried)
        grace_s = self._config.server.grace_seconds
        await asyncio.wait((idle, hurry), return_when=asyncio.FIRST_COMPLETED, timeout=grace_s)
        if not idle.done() and not hurry.done():
            _log.warning(
                "%d calls are live after server.grace_seconds, %g s",
                registry.live_count,
                grace_s,
            )
        hurry.cancel()
        idle.cancel()
        with tasks.contained("hand calls over"):
            await self._hand_over()
        registry.stop_all()
        with tasks.contained("until Twilio has asked"):
            await registry.until_after_answered(HAND_OVER_S, lambda: not self._hurry.is_set())

    async def _until_hurried(self) -> None:
        await self._hurry.wait()

    async def _hand_over(self) -> None:
        """Give what calls are left to another process that takes calls, if there is one.

        In a fleet that is whichever Twilio's next request about the call reaches.
        """
        releasing, is_hurried = self.calls.releasing, self._hurry.is_set
        if self._joined is not None:
            directory, live = self._joined.parts.directory, self.calls.registry.live
            # With the database away nobody can claim a call, and this process goes on with it.
            await directory.until_back(lambda: is_hurried() or not live)
            if directory.is_taken_elsewhere:
                await releasing.release_all(
                    is_hurried=is_hurried, is_taken=lambda: directory.is_taken_elsewhere
                )
            return
        if self._siblings is None or self._neighbours is None or not self._is_retired:
            return
        for process_id in self._siblings.ids:
            if await self._neighbours.is_ready(process_id):
                await releasing.release_all(to=process_id, is_hurried=is_hurried)
                return


def _nothing() -> None:
    """Do nothing: it takes over what there is when it starts."""


def _recordings(config: Config) -> Recordings | None:
    """Return the recordings, or None when no agent's calls are recorded."""
    if not any(agent.recording for agent in config.lines.values()):
        return None
    files = LocalFiles(config.records.recordings)
    files.prepare()
    return Recordings(files)


def _owns_none(call_sid: str, epoch: int) -> bool:
    """Return False: without a fleet there are no epochs."""
    return False


def _no_time() -> int:
    """Return 0: without a fleet no request says until when it holds."""
    return 0
