"""The supervisor of `offhook serve`: starts call and operator process, restarts and exchanges them.

Everything here is of Python's standard library, so that the call process starts at once, and no
code of a user runs here, so that nothing ends this process but its own signals. The supervisor
keeps the public listening socket: while the call process restarts, connections wait in its queue.

A call process has a control socket: it sends LISTENING with the descriptor of the listening
socket, then READY; it is sent STOP, RETIRE and TAKE_OVER (call_runs.py); and when the socket ends,
it drains. While it drains beside the next one, it tells every 2 s that it lives, and is killed when
it hangs. The operator process reads from the pipe `life`, whose other end the call processes hold
too: the pipe ends when supervisor and call processes are gone. It writes its heartbeat, and is
killed when it hangs. Why it is so: docs/design/processes.md.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from offhook.observability.stderr import Printer
from offhook.serving.call_runs import CallDescriptors, CallRuns, Level, Say, described, in_seconds
from offhook.serving.child_process import ChildProcess, Restarts
from offhook.serving.heartbeat import LOOK_S, Heartbeat
from offhook.serving.options import ServeOptions, process_command
from offhook.serving.service_manager import ServiceManager

OPERATOR_STOP_S: Final = 25.0
"""Seconds that the operator process may take for the last events; it takes 10 s for a database
that is away, and some for requests. It is then killed: the journal keeps what is left."""


@dataclass(frozen=True, slots=True)
class ProcessCommands:
    """The commands of both processes, by the descriptors that they inherit."""

    call: Callable[[CallDescriptors], Sequence[str]]
    operator: Callable[[int, int], Sequence[str]]


class Supervisor:
    """All processes and the public socket. `run` returns the exit code of `offhook serve`.

    `listening` is the descriptor of a socket that listens already. `say` logs without waiting.
    `manager` is told when calls are answered and when they no longer are. An operator process or a
    draining call process that hangs is noticed by looks every `look_s` seconds (heartbeat.py). With
    `reloads_on_hangup` a SIGHUP starts the next call process; else it ends this one, as the end of
    a terminal does.
    """

    def __init__(
        self,
        commands: ProcessCommands,
        say: Say,
        *,
        manager: ServiceManager,
        listening: int | None = None,
        look_s: float = LOOK_S,
        reloads_on_hangup: bool = True,
    ) -> None:
        self._commands = commands
        self._say = say
        self._manager = manager
        self._reloads_on_hangup = reloads_on_hangup
        self._look_s = look_s
        self._life_read, self._life_write = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._calls: Final = CallRuns(
            commands.call,
            say,
            manager=manager,
            selector=self._selector,
            life=self._life_write,
            listening=listening,
            answering=self._on_answering,
            over=self._finish,
            look_s=look_s,
        )
        self._operator: ChildProcess | None = None
        self._operator_restarts: Final = Restarts()
        self._heartbeat: Heartbeat | None = None
        self._stops = 0
        self._stops_done = 0
        self._hangups = 0
        self._hangups_done = 0
        self._exit: int | None = None
        self._kill_operator_at: float | None = None

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM, or until the first call process fails to start."""
        with self._signals():
            self._calls.start()
            while not self._is_over():
                for key, _ in self._selector.select(self._wait_s()):
                    key.data()
                self._do_as_told()
                if self._exit is None:
                    self._calls.look()
                self._look_at_operator()
                self._manager.beat(time.monotonic())
        return self._exit or 0

    # --- signals -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals wake the loop while entered."""
        awake, wake = socket.socketpair()
        with awake, wake:
            awake.setblocking(False)
            wake.setblocking(False)

            def drain() -> None:
                with contextlib.suppress(BlockingIOError):
                    awake.recv(4096)

            def on_stop(number: int, frame: object) -> None:
                self._stops += 1

            def on_hangup(number: int, frame: object) -> None:
                self._hangups += 1

            def on_child(number: int, frame: object) -> None:
                """Do nothing: a signal without a handler would not wake the loop."""

            self._selector.register(awake, selectors.EVENT_READ, drain)
            before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
            handlers = {signal.SIGINT: on_stop, signal.SIGTERM: on_stop, signal.SIGCHLD: on_child}
            if self._reloads_on_hangup:
                handlers[signal.SIGHUP] = on_hangup
            previous = {number: signal.signal(number, do) for number, do in handlers.items()}
            try:
                yield
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(before)
                self._selector.unregister(awake)

    def _do_as_told(self) -> None:
        while self._stops_done < self._stops:
            self._stops_done += 1
            self._stop()
        if self._hangups_done < self._hangups:  # several that came at once are one
            self._hangups_done = self._hangups
            self._calls.reload()

    def _stop(self) -> None:
        self._manager.stopping()
        if self._exit is None:
            self._calls.stop()
        elif self._operator is not None:  # the last of it, for which somebody does not want to wait
            self._operator.signal(signal.SIGKILL)

    # --- the operator process ------------------------------------------------------------------

    def _on_answering(self, is_reload: bool) -> None:
        """Start the operator process, or have it start anew with what a reload has changed."""
        if self._operator is None:
            if self._operator_restarts.due_at is None:
                self._start_operator()
        elif is_reload:
            self._operator.signal(signal.SIGHUP)
            self._kill_operator_at = time.monotonic() + OPERATOR_STOP_S

    def _start_operator(self) -> None:
        self._operator_restarts.on_started()
        heartbeat = Heartbeat(time.monotonic(), self._look_s)
        given = (self._life_read, heartbeat.descriptor)
        try:
            self._operator = ChildProcess(self._commands.operator(*given), given)
        except OSError as error:
            heartbeat.close()
            self._on_operator_ended(f"it could not be started: {error.strerror}", 1)
            return
        heartbeat.on_started()
        self._heartbeat = heartbeat

    def _look_at_operator(self) -> None:
        now = time.monotonic()
        operator = self._operator
        if operator is not None:
            code = operator.ended()
            if code is not None:
                self._operator = None
                self._on_operator_ended(described(code), code)
            elif self._kill_operator_at is not None and now >= self._kill_operator_at:
                self._kill_operator_at = None
                self._say("error", "the operator process does not end, and is killed")
                operator.signal(signal.SIGKILL)
            elif self._exit is None and self._heartbeat is not None and self._heartbeat.hangs(now):
                # One that was told to end has a limit of its own.
                self._say("error", "the operator process hangs, and is killed")
                operator.signal(signal.SIGKILL)
        if self._exit is None and self._operator_restarts.is_due():
            self._start_operator()

    def _on_operator_ended(self, why: str, code: int) -> None:
        if self._heartbeat is not None:
            self._heartbeat.close()
            self._heartbeat = None
        if self._exit is not None:
            return
        was_told, self._kill_operator_at = self._kill_operator_at is not None, None
        if was_told and code in (0, -signal.SIGHUP):  # told before it had a handler
            self._operator_restarts.at_once()
            return
        pause_s = self._operator_restarts.later()
        self._say(
            "error",
            f"E-PROC-02 The operator process has ended: {why}. Calls go on, and the journal"
            f" keeps their events; it starts again{in_seconds(pause_s)}.",
        )

    # --- both ----------------------------------------------------------------------------------

    def _finish(self, code: int) -> None:
        """Let the operator process end: nothing holds the other end of its pipe any more."""
        self._exit = code
        os.close(self._life_write)
        self._kill_operator_at = time.monotonic() + OPERATOR_STOP_S

    def _is_over(self) -> bool:
        return self._exit is not None and self._operator is None

    def _wait_s(self) -> float | None:
        due: tuple[float | None, ...] = ()
        if self._exit is None:
            look_at = None if self._heartbeat is None else self._heartbeat.due_at
            due = (self._calls.due_at, self._operator_restarts.due_at, look_at)
        always = (self._kill_operator_at, self._manager.due_at)
        times = [at for at in (*due, *always) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None


def supervise(options: ServeOptions, manager: ServiceManager, listening: int | None) -> int:
    """Serve in several processes until told to stop; return the exit code.

    `listening` is the descriptor of the public socket, if a service manager has opened it.
    """

    def lost(lines: int, fault: str) -> str:
        why = f", some by a fault in the printer: {fault}" if fault else ""
        return _line("warning", f"{lines} lines are lost{why}")

    printer = Printer(sys.stderr.fileno(), lost)

    def say(level: Level, words: str) -> None:
        printer.write(_line(level, words))

    def call(given: CallDescriptors) -> list[str]:
        return process_command("offhook.serving.call_process", options, asdict(given))

    def operator(life: int, beats: int) -> list[str]:
        given = {"life": life, "beats": beats}
        return process_command("offhook.serving.operator_process", options, given)

    try:
        commands = ProcessCommands(call, operator)
        return Supervisor(
            commands,
            say,
            manager=manager,
            listening=listening,
            reloads_on_hangup=_takes_hangups(),
        ).run()
    finally:
        printer.stop()


def _takes_hangups() -> bool:
    """Return whether SIGHUP is for this program: not from its terminal, and nobody ignores it."""
    on_terminal = any(os.isatty(descriptor) for descriptor in (0, 2))
    return not on_terminal and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def _line(level: Level, words: str) -> str:
    """Return a line of the log, in the form of those that the other processes write."""
    now = datetime.now(UTC)
    if sys.stderr.isatty():
        return f"{now.astimezone():%H:%M:%S} [{level:<9}] {words}\n"
    at = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z"
    line = {
        "event": words,
        "timestamp": at,
        "level": level,
        "logger": "offhook.supervisor",
        "process": "supervisor",
    }
    return json.dumps(line) + "\n"
