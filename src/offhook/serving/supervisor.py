"""The supervisor of `offhook serve`: starts the call and the operator process, restarts either.

Everything here is of Python's standard library, so that the call process starts at once, and no
code of a user runs here, so that nothing ends this process but its own signals. The supervisor
keeps the public listening socket: while the call process restarts, connections wait in its queue.

The call process has a control socket: it sends LISTENING with the descriptor of the listening
socket, then READY; it is sent STOP; and when the socket ends, it drains. The operator process
reads from the pipe `life`, whose other end the call process holds too: the pipe ends when both
supervisor and call process are gone. It writes its heartbeat, and is killed when it hangs. Why it
is so: docs/design/processes.md.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from offhook.observability.stderr import Printer
from offhook.serving.heartbeat import LOOK_S, Heartbeat
from offhook.serving.options import ServeOptions, process_command
from offhook.serving.service_manager import ServiceManager

LISTENING: Final = b"L"
"""Message of the call process: the descriptor of its listening socket comes along."""

READY: Final = b"R"
"""Message of the call process: it answers calls."""

STOP: Final = b"S"
"""Message to the call process: stop when the last call has ended; a second one: end them now."""

PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Seconds until a process that has ended is started again: the first time, the second, and on."""

STEADY_S: Final = 5.0
"""Seconds after which a process counts as steady: PAUSES_S begin anew when it ends."""

OPERATOR_STOP_S: Final = 25.0
"""Seconds that the operator process may take for the last events; it takes 10 s for a database
that is away, and some for requests. It is then killed: the journal keeps what is left."""

Level: TypeAlias = Literal["info", "warning", "error"]
Say: TypeAlias = Callable[[Level, str], None]


@dataclass(frozen=True, slots=True)
class CallDescriptors:
    """File descriptors of a call process.

    `listening` is None when it must make its socket. `is_first` is 1 for the first call process,
    which checks everything that must be right at the start.
    """

    control: int
    life: int
    listening: int | None
    is_first: int


@dataclass(frozen=True, slots=True)
class ProcessCommands:
    """The commands of both processes, by the descriptors that they inherit."""

    call: Callable[[CallDescriptors], Sequence[str]]
    operator: Callable[[int, int], Sequence[str]]


class _Child:
    """One of the two processes: at most one of its kind at a time."""

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.process: subprocess.Popen[bytes] | None = None
        self.due_at: float | None = None
        """Time of the next start, by time.monotonic; None: no start is due."""
        self._began_at = 0.0
        self._failures = 0

    def start(self, command: Sequence[str], descriptors: Sequence[int]) -> None:
        """Start the process. Raises OSError."""
        self._began_at = time.monotonic()
        self.due_at = None
        # In a process group of its own: the terminal's Ctrl-C reaches the supervisor alone.
        self.process = subprocess.Popen(  # noqa: S603 - the command is our own
            command, pass_fds=descriptors, stdin=subprocess.DEVNULL, process_group=0
        )

    def ended(self) -> int | None:
        """Return the exit code of the process if it has just ended, else None."""
        code = None if self.process is None else self.process.poll()
        if code is not None:
            self.process = None
        return code

    def restart_later(self) -> float:
        """Set the time of the next start; return the seconds until then."""
        now = time.monotonic()
        if now - self._began_at >= STEADY_S:
            self._failures = 0
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        self.due_at = now + pause_s
        return pause_s

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self.process is not None:
            self.process.send_signal(number)


class Supervisor:
    """Both processes and the public socket. `run` returns the exit code of `offhook serve`.

    `listening` is the descriptor of a socket that listens already. `say` logs without waiting.
    `manager` is told when calls are answered and when they no longer are. An operator process that
    hangs is noticed by looks every `look_s` seconds (heartbeat.py).
    """

    def __init__(
        self,
        commands: ProcessCommands,
        say: Say,
        *,
        manager: ServiceManager,
        listening: int | None = None,
        look_s: float = LOOK_S,
    ) -> None:
        self._commands = commands
        self._say = say
        self._manager = manager
        self._listening = listening
        self._call = _Child("call process")
        self._operator = _Child("operator process")
        self._look_s = look_s
        self._heartbeat: Heartbeat | None = None
        self._control: socket.socket | None = None
        self._life_read, self._life_write = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._ready = False
        self._was_ready = False
        self._stops = 0
        self._stops_done = 0
        self._exit: int | None = None
        self._kill_operator_at: float | None = None

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM, or until the first call process fails to start."""
        with self._signals():
            self._start_call()
            while not self._is_over():
                for key, _ in self._selector.select(self._wait_s()):
                    key.data()
                self._stop_as_told()
                self._look_at_children()
                self._look_for_beats()
                self._manager.beat(time.monotonic())
                self._start_what_is_due()
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

            def on_child(number: int, frame: object) -> None:
                """Do nothing: a signal without a handler would not wake the loop."""

            self._selector.register(awake, selectors.EVENT_READ, drain)
            before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
            handlers = {signal.SIGINT: on_stop, signal.SIGTERM: on_stop, signal.SIGCHLD: on_child}
            previous = {number: signal.signal(number, do) for number, do in handlers.items()}
            try:
                yield
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(before)
                self._selector.unregister(awake)

    def _stop_as_told(self) -> None:
        while self._stops_done < self._stops:
            self._stops_done += 1
            self._stop()

    def _stop(self) -> None:
        self._manager.stopping()
        # A copy of the socket here would accept connections that nothing answers any more.
        self._close_listening()
        if self._exit is not None:  # the last of it, for which somebody does not want to wait
            self._operator.signal(signal.SIGKILL)
        elif self._call.process is None:
            self._finish(0)
        elif self._ready:
            self._send_stop()
        else:
            again = self._stops_done > 1
            self._call.signal(signal.SIGKILL if again else signal.SIGTERM)

    def _send_stop(self) -> None:
        if self._control is not None:
            # The socket is full only if a call process that hangs was told very often.
            with contextlib.suppress(OSError):
                self._control.send(STOP)

    # --- the call process ----------------------------------------------------------------------

    def _start_call(self) -> None:
        self._ready = False
        ours, theirs = socket.socketpair()
        with theirs:
            given = CallDescriptors(
                theirs.fileno(), self._life_write, self._listening, int(not self._was_ready)
            )
            inherited = [given.control, given.life]
            if given.listening is not None:
                inherited.append(given.listening)
            try:
                self._call.start(self._commands.call(given), inherited)
            except OSError as error:
                ours.close()
                self._say("error", f"no process can be started: {error.strerror}")
                self._on_call_ended("it could not be started", 1)
                return
        ours.setblocking(False)
        self._control = ours
        self._selector.register(ours, selectors.EVENT_READ, self._read_control)

    def _read_control(self) -> None:
        control = self._control
        if control is None:
            return
        try:
            data, descriptors, _, _ = socket.recv_fds(control, 64, 8)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            self._keep_listening(descriptor)
        if READY in data:
            self._ready = self._was_ready = True
            if self._stops_done:  # it was told before it could listen to signals
                self._send_stop()
            else:
                self._manager.ready()
                if self._operator.process is None and self._operator.due_at is None:
                    self._start_operator()
        if not data:
            self._close_control()

    def _keep_listening(self, descriptor: int) -> None:
        if self._listening is None and not self._stops_done:
            self._listening = descriptor
        else:
            os.close(descriptor)

    def _close_listening(self) -> None:
        if self._listening is not None:
            os.close(self._listening)
            self._listening = None

    def _close_control(self) -> None:
        if self._control is not None:
            self._selector.unregister(self._control)
            self._control.close()
            self._control = None

    def _on_call_ended(self, why: str, code: int) -> None:
        self._close_control()
        if self._stops_done:
            self._finish(0 if code == 0 or not self._ready else 1)
        elif not self._was_ready:
            if code < 0:  # else the process has said why itself
                self._say(
                    "error", f"E-PROC-01 The call process has ended: {why}, while it started."
                )
            self._finish(code if code > 0 else 1)
        else:
            self._manager.restarting(time.monotonic())
            self._restart_call(why, code)

    def _restart_call(self, why: str, code: int) -> None:
        if code == 0:  # it was told to drain, and the next one takes its place
            self._call.due_at = time.monotonic()
            self._say("info", "the call process has drained and ended; it starts again")
            return
        pause_s = self._call.restart_later()
        self._say(
            "error",
            f"E-PROC-01 The call process has ended: {why}. Its calls go on when it starts"
            f" again{_in(pause_s)}, and connections wait until then.",
        )

    # --- the operator process ------------------------------------------------------------------

    def _start_operator(self) -> None:
        heartbeat = Heartbeat(time.monotonic(), self._look_s)
        given = (self._life_read, heartbeat.descriptor)
        try:
            self._operator.start(self._commands.operator(*given), given)
        except OSError as error:
            heartbeat.close()
            self._on_operator_ended(f"it could not be started: {error.strerror}")
            return
        heartbeat.on_started()
        self._heartbeat = heartbeat

    def _look_for_beats(self) -> None:
        """Kill an operator process that hangs. One that was told to end has a limit of its own."""
        if self._heartbeat is None or self._exit is not None:
            return
        if self._heartbeat.hangs(time.monotonic()):
            self._say("error", "the operator process hangs, and is killed")
            self._operator.signal(signal.SIGKILL)

    def _on_operator_ended(self, why: str) -> None:
        if self._heartbeat is not None:
            self._heartbeat.close()
            self._heartbeat = None
        if self._exit is not None:
            return
        pause_s = self._operator.restart_later()
        self._say(
            "error",
            f"E-PROC-02 The operator process has ended: {why}. Calls go on, and the journal"
            f" keeps their events; it starts again{_in(pause_s)}.",
        )

    # --- both ----------------------------------------------------------------------------------

    def _look_at_children(self) -> None:
        code = self._call.ended()
        if code is not None:
            self._read_control()  # its last messages
            self._on_call_ended(_described(code), code)
        code = self._operator.ended()
        if code is not None:
            self._on_operator_ended(_described(code))

    def _start_what_is_due(self) -> None:
        if self._exit is not None:
            return
        now = time.monotonic()
        if self._call.due_at is not None and self._call.due_at <= now:
            self._start_call()
        if self._operator.due_at is not None and self._operator.due_at <= now:
            self._start_operator()

    def _finish(self, code: int) -> None:
        """Let the operator process end: nothing holds the other end of its pipe any more."""
        self._exit = code
        self._close_listening()
        os.close(self._life_write)
        self._kill_operator_at = time.monotonic() + OPERATOR_STOP_S

    def _is_over(self) -> bool:
        if self._exit is None or self._kill_operator_at is None:
            return False
        if self._operator.process is not None and time.monotonic() >= self._kill_operator_at:
            self._say("error", "the operator process does not end, and is killed")
            self._operator.signal(signal.SIGKILL)
            self._operator.process.wait()
            return True
        return self._operator.process is None

    def _wait_s(self) -> float | None:
        due: tuple[float | None, ...] = ()
        if self._exit is None:
            look_at = None if self._heartbeat is None else self._heartbeat.due_at
            due = (self._call.due_at, self._operator.due_at, look_at)
        always = (self._kill_operator_at, self._manager.due_at)
        times = [at for at in (*due, *always) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None


def _described(code: int) -> str:
    """Return how a process has ended, for the log."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _in(pause_s: float) -> str:
    return f" in {pause_s:g} s" if pause_s else ""


def supervise(options: ServeOptions, manager: ServiceManager, listening: int | None) -> int:
    """Serve in two processes until told to stop; return the exit code.

    `listening` is the descriptor of the public socket, if a service manager has opened it.
    """
    printer = Printer(sys.stderr.fileno(), lambda lost: _line("warning", f"{lost} lines are lost"))

    def say(level: Level, words: str) -> None:
        printer.write(_line(level, words))

    def call(given: CallDescriptors) -> list[str]:
        return process_command("offhook.serving.call_process", options, asdict(given))

    def operator(life: int, beats: int) -> list[str]:
        given = {"life": life, "beats": beats}
        return process_command("offhook.serving.operator_process", options, given)

    try:
        commands = ProcessCommands(call, operator)
        return Supervisor(commands, say, manager=manager, listening=listening).run()
    finally:
        printer.stop()


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
