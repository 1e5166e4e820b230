"""The process: listen, serve, drain, stop. Knows calls, never messages."""

import asyncio
import contextlib
import functools
import logging
import socket
import sys
from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import httpx2
from starlette.types import ASGIApp

from offhook.call import inputs
from offhook.calls.call_updates import CallUpdates
from offhook.calls.compose import CallHandling, compose
from offhook.calls.lookup import Lookups
from offhook.calls.messaging import Messaging
from offhook.capture.tap import MakeTap
from offhook.clock import Clock, LoopClock, wall_clock
from offhook.concurrency.background_thread import BackgroundThread
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import Config
from offhook.deepgram.connection import Dialler
from offhook.events.bus import Publisher
from offhook.events.types import InterpreterHeld, Subscriber
from offhook.net import egress, websocket
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.meter import Metrics
from offhook.outbound.outbound_calls import OutboundCalls
from offhook.policy.dial_count import DialCount
from offhook.policy.dial_policy import DialPolicy
from offhook.recordings.files import LocalFiles
from offhook.recordings.recorder import Recordings
from offhook.recordings.redacted import SilenceRedacted
from offhook.redaction.redactor import redacting
from offhook.serving.http_server import GracefulHttpServer, http_server
from offhook.serving.listen import check_certificate
from offhook.tools.runner import Runner
from offhook.tools.watchdog import Held, Watchdog
from offhook.twilio.rest import TwilioRest
from offhook.webhooks.pending_streams import PendingStreams
from offhook.webhooks.routes import Webhooks

if TYPE_CHECKING:  # SQLAlchemy and FastAPI take their time, and not every server keeps records
    from offhook.api.app import Api
    from offhook.records.record import Record

_log: Final = logging.getLogger("offhook.server")

SWITCH_S: Final = 0.001
"""How long a thread that computes may keep the interpreter while the event loop wants it. Python's
own 5 ms are most of a frame of audio once a few do (docs/design/tools.md)."""

HAND_OVER_S: Final = 5.0
"""How long a stopping server waits for Twilio to ask what comes after the streams it closed."""


class Server:
    """One server on one port. `run` serves until it is told to stop.

    `record` keeps what calls leave behind; its owner runs it. `api` answers questions about it.
    `dial_count` keeps how much was dialled within the hour; its owner runs it, too.

    `sock` listens already, so that a port in use is found before anything is started. Signals
    are the caller's to catch: they go to `stop`. `make_tap` is asked about each call who is to see
    what goes over its wires, if anyone (tap.py). `subscribers` are told of everything with its
    texts redacted, `watchers` as it was. `threads` are its owner's: readiness and metrics tell of
    them as of its own. Raises UserError E-CFG-05 when the certificate that the
    configuration names cannot be used, E-LOOKUP-01 when a lookup has no secret, and E-AUD-01 when
    an agent's calls are to be recorded into a folder that cannot be written.
    """

    def __init__(
        self,
        config: Config,
        sock: socket.socket,
        subscribers: list[Subscriber],
        make_tap: MakeTap | None = None,
        *,
        watchers: Sequence[Subscriber] = (),
        record: "Record | None" = None,
        api: "Api | None" = None,
        dial_count: DialCount | None = None,
        threads: Sequence[BackgroundThread] = (),
    ) -> None:
        check_certificate(config)
        config.require_lookup_secrets()
        self.port: Final[int] = sock.getsockname()[1]
        self.calls: CallHandling
        self.started = asyncio.Event()
        self._config = config
        self._sock = sock
        self.metrics: Final = Metrics()
        kept = [record] if record is not None else []
        live = [api.live] if api is not None else []
        self._subscribers: Final[list[Subscriber]] = [*kept, self.metrics, *live, *subscribers]
        self._watchers = watchers
        self._record = record
        self._api = api
        self._dial_count = dial_count
        self._make_tap = make_tap
        self.recordings: Final = _recordings(config)
        """None when no agent's calls are recorded."""
        if self.recordings is not None:
            self._subscribers.append(SilenceRedacted(self.recordings))
        self._tasks: ServerTasks | None = None
        self._threads: Final[list[BackgroundThread]] = [*threads]
        if dial_count is not None:
            self._threads.append(dial_count.thread)
        if record is not None:
            self._threads.extend(record.threads)
        if self.recordings is not None:
            self._threads.append(self.recordings.thread)
        self._stops = 0
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._closing = False
        self._web: GracefulHttpServer | None = None
        self._unstartable: Exception | None = None

    async def run(self) -> None:
        """Serve. After `stop` take no new call, let the live ones finish, and return."""
        sys.setswitchinterval(SWITCH_S)
        with self.recordings or contextlib.nullcontext():
            await self._serve()

    async def _serve(self) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        key = self._config.require_deepgram_key().get_secret_value()
        # Every question has a time limit of its own, and there is one for each call at most.
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=20, keepalive_expiry=30
        )
        trusted = self._config.addresses
        async with egress.client(trusted, limits=limits) as http, asyncio.TaskGroup() as group:
            tasks = self._tasks = ServerTasks(group, self._on_fault)
            asyncio.get_running_loop().set_exception_handler(self._on_loop_fault)
            deepgram = self._config.deepgram
            dial = Dialler(deepgram.url, deepgram.headers(key), deepgram.connect_timeout_s, tasks)
            told = Publisher(self._subscribers, clock.now)
            redacted = redacting(self._config.records.redact, told)
            publish = Publisher([redacted, *self._watchers], clock.now)
            runner = Runner(tasks)
            count = self._dial_count
            earlier = count.earlier(clock.now()) if count is not None else ()
            guard = DialPolicy(self._config.dialling_rules(), earlier=earlier, keep=count)
            twilio = self._config.twilio
            account = twilio.rest_account
            rest = TwilioRest(account, http) if account is not None else None
            lookups = Lookups(http, self._config.lookup_secrets, clock)
            self.calls = compose(
                self._config,
                clock=clock,
                dial=dial,
                publish=publish,
                tools=runner.for_call,
                look_up=lookups.find,
                messaging=Messaging(guard, rest, clock, recorded=self._record is not None),
                guard=guard,
                updates=CallUpdates(rest, tasks),
                make_tap=self._make_tap,
                recordings=self.recordings,
                seen=self._record.recent if self._record is not None else (),
            )
            pending_streams = PendingStreams(
                clock, self.calls.intake.admit, self.metrics.refused_stream
            )
            placing = self._placing(rest, guard, clock)
            webhooks = Webhooks(
                self._config,
                self.calls,
                pending_streams,
                self.metrics,
                self._record,
                placing,
                failing=self.failing,
            )
            self._measure(told, publish, pending_streams, runner, tasks)
            watching = (
                tasks.keep("watch placed calls", placing.following.watch)
                if placing is not None
                else None
            )
            app: ASGIApp = webhooks.app()
            if self._api is not None:
                app = self._api.around(
                    app, self.calls.registry, clock, placing, metrics=self.metrics
                )
            watchdog = Watchdog(
                clock,
                runs=lambda: runner.runs,
                threads=lambda: (*runner.threads.lately, *lookups.threads.lately),
                late=self.metrics.late,
                held=self._on_held,
            )
            self._threads.append(watchdog.thread)
            with watchdog:
                serving = tasks.keep("HTTP", functools.partial(self._answer, app, webhooks.decide))
                await self._stopping.wait()
                await self._drain(tasks)
                if self._api is not None:
                    self._api.live.close()
                self._closing = True
                self._sock.close()
                if self._web is not None:
                    self._web.should_exit = True
                await serving
            if watching is not None:
                watching.cancel()
            if self._api is not None:
                self._api.close()
            if self._unstartable is not None:
                raise self._unstartable

    async def _answer(self, app: ASGIApp, decide: websocket.Decide) -> None:
        """Answer HTTP until the server closes. Raises when that ends before.

        The socket is a copy: should this end, connections wait in the queue of the other until it
        begins anew, and those that are open go on.
        """
        web = self._web = http_server(
            app,
            self._sock.dup(),
            self._config.server,
            decide=decide,
            started=self.started,
            # The two sockets of a call, and its recording.
            files_of_stream=2 if self.recordings is None else 3,
        )
        try:
            await web.serve()
            if not self._closing:
                raise RuntimeError("nothing answers HTTP any more")
        except Exception as error:
            if not self.started.is_set():  # nobody calls yet: better no server than a deaf one
                self._unstartable = error
                self.stop()
                return
            raise
        finally:
            web.listener.close()

    def stop(self) -> None:
        """Stop when the last call is over; asked again, end the calls now."""
        self._stops += 1
        self._stopping.set()
        if self._stops > 1:
            self._hurry.set()

    def _placing(
        self, rest: TwilioRest | None, guard: DialPolicy, clock: Clock
    ) -> OutboundCalls | None:
        """What places calls, where somebody can ask for one and Twilio can be asked."""
        if self._api is None or rest is None:
            return None
        return OutboundCalls(
            self._config,
            self.calls.registry,
            self.calls.intake,
            rest,
            self._api.ledger,
            guard=guard,
            clock=clock,
            wall=lambda: wall_clock(UTC),
        )

    def _measure(
        self,
        told: Publisher,
        publish: Publisher,
        pending_streams: PendingStreams,
        runner: Runner,
        tasks: ServerTasks,
    ) -> None:
        """Have the metrics ask what only shows when one looks."""
        ask = self.metrics.ask
        ask(catalogue.CALLS_LIVE, lambda: self.calls.registry.live_count)
        ask(catalogue.CALLS_CAPACITY, lambda: self._config.server.capacity)
        ask(catalogue.DRAINING, lambda: self.calls.registry.is_draining)
        ask(catalogue.SUBSCRIBER_FAILURES, lambda: told.failures + publish.failures)
        ask(catalogue.INTERNAL_FAULTS, lambda: self._faults(tasks))
        ask(catalogue.PARTS_FAILING, lambda: len(self.failing()))
        ask(catalogue.PENDING_STREAMS, lambda: pending_streams.waiting)
        ask(catalogue.TOOL_THREADS, lambda: len(runner.threads.running))
        ask(catalogue.TOOL_THREADS_STUCK, lambda: runner.threads.stuck)
        record = self._record
        if record is not None:
            ask(catalogue.RECORD_WAITING, lambda: record.waiting)
            ask(catalogue.RECORD_JOURNAL, lambda: record.journal.filled)
            ask(catalogue.RECORD_LOST, lambda: record.lost)

    def failing(self) -> dict[str, str]:
        """Parts of the server that do not do their work, and how that is: failing or dead."""
        found: dict[str, str] = {
            thread.name: thread.state for thread in self._threads if thread.state != "ok"
        }
        kept = self._tasks.failing if self._tasks is not None else ()
        return {**found, **dict.fromkeys(kept, "failing")}

    def _faults(self, tasks: ServerTasks) -> int:
        return tasks.faults + sum(thread.faults for thread in self._threads)

    def _on_loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of the event loop has raised: that was all of it, and nothing else ends."""
        if self._tasks is not None:
            self._tasks.faults += 1
        loop.default_exception_handler(context)

    def _on_fault(self, call_sid: str, what: str) -> None:
        """A task about this call has failed: the call ends, and its caller hears the fallback."""
        self.calls.registry.send(call_sid, inputs.CallBroke(what))

    def _on_held(self, held: Held) -> None:
        self.metrics.held(held.tool, held.held_ms / 1000)
        entry = self.calls.registry.live.get(held.call_sid)
        if entry is not None and entry.session is not None:
            entry.session.note(InterpreterHeld(held.tool, held.where, held.held_ms))

    async def _drain(self, tasks: ServerTasks) -> None:
        registry = self.calls.registry
        registry.is_draining = True
        if registry.live_count:
            _log.info("draining: %d calls are live; stop again to end them", registry.live_count)
        idle = tasks.keep("until idle", registry.until_idle)
        hurry = tasks.start("until hurried", self._hurry.wait())
        await asyncio.wait((idle, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        idle.cancel()
        registry.stop_all()
        await registry.until_after_answered(HAND_OVER_S, lambda: not self._hurry.is_set())


def _recordings(config: Config) -> Recordings | None:
    """What records calls, if any are to be recorded."""
    if not any(agent.recording for agent in config.lines.values()):
        return None
    files = LocalFiles(config.records.recordings)
    files.prepare()
    return Recordings(files)
