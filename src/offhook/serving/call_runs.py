"""The call processes of a supervisor: the present one, the next one beside it, those that drain.

The public socket is one for all of them; the present one accepts from it. At a reload the next one
is started beside it, and when that answers calls the one before is told to drain: it accepts no
connection any more, and its calls go on until they end. Why it is so: docs/design/processes.md.

Python's standard library alone: the supervisor imports this.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from offhook.serving.child_process import ChildProcess, Restarts
from offhook.serving.service_manager import ServiceManager

LISTENING: Final = b"L"
"""Message of a call process: the descriptor of its listening socket comes along."""

READY: Final = b"R"
"""Message of a call process: it answers calls."""

ALIVE: Final = b"A"
"""Message of a call process: its event loop goes on. It is sent once with READY, which tells that
it can be waited for, and every BEAT_S (heartbeat.py) once the next one answers."""

ENDING: Final = b"E"
"""Message of a call process: its calls are over and its event loop ends. What waits for the disk is
written then, by which no sign of its loop comes any more."""

STOP: Final = b"S"
"""Message to a call process: stop when the last call has ended; a second one: end them now."""

RETIRE: Final = b"N"
"""Message to a call process: the next one answers now. It counts as its first STOP."""

BESIDE: Final = b"B"
"""Message to a call process: the next one starts beside it."""

TAKE_OVER: Final = b"T"
"""Message to a call process: another one has ended, take over what it has left."""

DRAINING_MAX: Final = 4
"""Call processes that may drain at once: for one more, the oldest hands its calls over."""

HAND_OVER_S: Final = 30.0
"""Seconds that a draining process has to hand its calls over. It is then killed, and the present
one takes its calls over by their files."""

ENDING_S: Final = 60.0
"""Seconds that a draining process has from ENDING to its end, twice what its threads may take. Then
it is killed."""

SILENT_MAX: Final = 3
"""Looks in a row without ALIVE after which a draining process counts as hanging: 15 s."""

Level: TypeAlias = Literal["info", "warning", "error"]
Say: TypeAlias = Callable[[Level, str], None]


@dataclass(frozen=True, slots=True)
class CallDescriptors:
    """File descriptors of a call process.

    `listening` is None when it must make its socket. `is_first` is 1 for a process that is not
    there to go on with calls at any price: it checks everything that must be right at a start.
    """

    control: int
    life: int
    listening: int | None
    is_first: int


class CallRun:
    """A call process with the supervisor's end of its control socket.

    Attributes:
        process: The process.
        control: The control socket; None once the process has closed its end.
        is_ready: True once it answers calls.
        kill_at: Time by time.monotonic at which it is killed; None: it may take its time.
        look_at: Time at which it must have told that it lives; None: nobody waits for that.
    """

    def __init__(self, process: ChildProcess, control: socket.socket) -> None:
        self.process: Final = process
        self.control: socket.socket | None = control
        self.is_ready = False
        self.kill_at: float | None = None
        self.look_at: float | None = None
        self._tells_life = False
        self._is_heard = False
        self._silent = 0

    def heard(self) -> None:
        """Take note of a sign of life."""
        self._tells_life = self._is_heard = True

    def watch(self, now: float, look_s: float) -> None:
        """Begin to look for signs of life. What was sent before counts as none."""
        self.look_at = now + look_s
        self._is_heard = False

    def on_ending(self, now: float) -> None:
        """Wait for the end of a process that tells no sign of life any more."""
        self.look_at = None
        self.kill_at = now + ENDING_S

    def hangs(self, now: float, look_s: float) -> bool:
        """Look for a sign of life since the last look; return whether the process hangs.

        Looks are counted, and not only time: a machine or a supervisor that stood still finds what
        was sent meanwhile. A process of a version that sends none is not waited for.
        """
        self.look_at = now + look_s
        self._silent = 0 if self._is_heard else self._silent + 1
        self._is_heard = False
        return self._tells_life and self._silent >= SILENT_MAX

    def tell(self, message: bytes) -> None:
        """Send a message; it waits in the socket if the process does not read yet."""
        if self.control is not None:
            # The socket is full only if a call process that hangs was told very often.
            with contextlib.suppress(OSError):
                self.control.send(message)


class CallRuns:
    """The call processes and the public socket.

    `answering` is called whenever calls are answered, first or again: with True when a reload has
    brought that about. `over` is called with an exit code when all has ended: after a stop, or
    because the very first process cannot start. `life` is a descriptor that each process inherits.
    A draining process that hangs is noticed by looks every `look_s` seconds.
    """

    def __init__(
        self,
        command: Callable[[CallDescriptors], Sequence[str]],
        say: Say,
        *,
        manager: ServiceManager,
        selector: selectors.BaseSelector,
        life: int,
        listening: int | None,
        answering: Callable[[bool], None],
        over: Callable[[int], None],
        look_s: float,
    ) -> None:
        self._command = command
        self._say = say
        self._manager = manager
        self._selector = selector
        self._life = life
        self._listening = listening
        self._answering = answering
        self._over = over
        self._look_s = look_s
        self._present: CallRun | None = None
        self._next: CallRun | None = None
        self._draining: list[CallRun] = []
        self._restarts = Restarts()
        self._was_ready = False
        self._stops = 0
        self._exit = 0
        self._reload_again = False

    @property
    def due_at(self) -> float | None:
        """Time by time.monotonic at which something is to be done; None: at no time."""
        times = [at for run in self._draining for at in (run.kill_at, run.look_at)]
        times.append(None if self._stops else self._restarts.due_at)
        return min((at for at in times if at is not None), default=None)

    # --- what the supervisor is told ---

    def start(self) -> None:
        """Start the present process."""
        self._restarts.on_started()
        run = self._started(is_first=not self._was_ready)
        if run is None:
            self._on_present_ended("it could not be started", 1)
        else:
            self._present = run

    def reload(self) -> None:
        """Start the next process beside the present one; it answers calls from then on."""
        if self._stops:
            return
        if self._next is not None or (self._present is not None and not self._present.is_ready):
            self._reload_again = True  # one that starts now may have read the files before
            return
        if self._present is None:  # its next start reads the files as they are then
            return
        self._manager.reloading(time.monotonic())
        self._present.tell(BESIDE)
        self._next = self._started(is_first=True)
        if self._next is None:
            self._on_reload_failed("it could not be started")

    def stop(self) -> None:
        """Have all processes drain and end; a second time, have them end the calls now."""
        self._stops += 1
        # A copy of the socket here would accept connections that nothing answers any more.
        self._close_listening()
        again = self._stops > 1
        for run in self._draining if again else ():
            run.tell(STOP)
        for starting in (self._next, self._present):
            if starting is not None and starting.is_ready:
                starting.tell(STOP)
            elif starting is not None:
                starting.process.signal(signal.SIGKILL if again else signal.SIGTERM)
        self._end_if_over()

    def look(self) -> None:
        """Take note of processes that have ended; start and kill what is due."""
        for run in [*self._draining]:
            code = run.process.ended()
            if code is not None:
                self._on_drained(run, code)
            elif run.kill_at is not None and time.monotonic() >= run.kill_at:
                run.kill_at = None
                self._say("error", "a draining call process does not end, and is killed")
                run.process.signal(signal.SIGKILL)
            elif run.look_at is not None and time.monotonic() >= run.look_at:
                self._look_at(run)
        for role in (self._next, self._present):
            if role is not None and (code := role.process.ended()) is not None:
                self._read(role)  # its last messages
                self._close(role)
                self._on_ended(role, described(code), code)
        if not self._stops and self._restarts.is_due():
            self.start()

    def _look_at(self, run: CallRun) -> None:
        """Kill a draining process that hangs: the one that answers takes its calls over."""
        is_hanging = run.hangs(time.monotonic(), self._look_s)
        if is_hanging and self._present is not None and self._present.is_ready and not self._stops:
            run.look_at = None
            self._say("error", "a draining call process hangs, and is killed")
            run.process.signal(signal.SIGKILL)

    # --- one process ---

    def _started(self, *, is_first: bool) -> CallRun | None:
        """Start a process; return None if that is not possible."""
        ours, theirs = socket.socketpair()
        with theirs:
            given = CallDescriptors(theirs.fileno(), self._life, self._listening, int(is_first))
            inherited = [given.control, given.life]
            if given.listening is not None:
                inherited.append(given.listening)
            try:
                process = ChildProcess(self._command(given), inherited)
            except OSError as error:
                ours.close()
                self._say("error", f"no process can be started: {error.strerror}")
                return None
        ours.setblocking(False)
        run = CallRun(process, ours)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._read(run))
        return run

    def _read(self, run: CallRun) -> None:
        if run.control is None:
            return
        try:
            data, descriptors, _, _ = socket.recv_fds(run.control, 64, 8)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            self._keep_listening(descriptor)
        if ALIVE in data:
            run.heard()
        if ENDING in data:
            run.on_ending(time.monotonic())
        if READY in data:
            run.is_ready = self._was_ready = True
            self._on_ready(run)
        if not data:
            self._close(run)

    def _close(self, run: CallRun) -> None:
        if run.control is not None:
            self._selector.unregister(run.control)
            run.control.close()
            run.control = None

    def _keep_listening(self, descriptor: int) -> None:
        if self._listening is None and not self._stops:
            self._listening = descriptor
        else:
            os.close(descriptor)

    def _close_listening(self) -> None:
        if self._listening is not None:
            os.close(self._listening)
            self._listening = None

    # --- what happens to them ---

    def _on_ready(self, run: CallRun) -> None:
        if self._stops:  # it was told before it could listen to signals
            for _ in range(self._stops):
                run.tell(STOP)
            return
        is_reload = run is self._next
        if is_reload:
            before, self._present, self._next = self._present, run, None
            if before is not None:
                self._retire(before)
        self._manager.ready()
        self._answering(is_reload)
        if self._reload_again:
            self._reload_again = False
            self.reload()

    def _retire(self, run: CallRun) -> None:
        run.tell(RETIRE)
        if run.kill_at is None:  # else it is ending already
            run.watch(time.monotonic(), self._look_s)
        self._draining.append(run)
        self._say("info", "another call process answers; the one before drains")
        staying = [one for one in self._draining if one.kill_at is None]
        if len(staying) > DRAINING_MAX:
            oldest = staying[0]
            oldest.tell(STOP)
            oldest.kill_at = time.monotonic() + HAND_OVER_S

    def _on_drained(self, run: CallRun, code: int) -> None:
        self._close(run)
        self._draining.remove(run)
        if code == 0:
            self._say("info", "a draining call process has ended")
        else:
            self._say(
                "error",
                f"E-PROC-01 The call process has ended: {described(code)}, while it drained."
                " Its calls go on in the one that answers.",
            )
        for other in (self._present, self._next):
            if other is not None:
                other.tell(TAKE_OVER)
        self._end_if_over()

    def _on_ended(self, run: CallRun, why: str, code: int) -> None:
        if run is self._next:
            self._next = None
            if not self._stops:
                self._on_reload_failed(why)
            self._end_if_over()
            return
        self._present = None
        self._on_present_ended(why, code, was_ready=run.is_ready)

    def _on_reload_failed(self, why: str) -> None:
        self._say(
            "error",
            f"E-PROC-03 The reload has failed: the next call process has ended ({why}). The"
            " present one answers calls as before.",
        )
        self._manager.ready("The last reload has failed; calls are answered.")
        if self._reload_again:
            self._reload_again = False
            self.reload()

    def _on_present_ended(self, why: str, code: int, *, was_ready: bool = False) -> None:
        if self._stops:
            self._exit = 0 if code == 0 or not was_ready else 1
            self._end_if_over()
        elif not self._was_ready:
            if code < 0:  # else the process has said why itself
                self._say(
                    "error", f"E-PROC-01 The call process has ended: {why}, while it started."
                )
            self._close_listening()
            self._over(code if code > 0 else 1)
        elif self._next is not None:
            # The one that starts beside it takes its place.
            self._present, self._next = self._next, None
            self._say("error", f"E-PROC-01 The call process has ended: {why}. Its calls go on.")
        else:
            self._manager.restarting(time.monotonic())
            self._restart(why, code)

    def _restart(self, why: str, code: int) -> None:
        if code == 0:  # it was told to drain, and the next one takes its place
            self._restarts.at_once()
            self._say("info", "the call process has drained and ended; it starts again")
            return
        pause_s = self._restarts.later()
        self._say(
            "error",
            f"E-PROC-01 The call process has ended: {why}. Its calls go on when it starts"
            f" again{in_seconds(pause_s)}, and connections wait until then.",
        )

    def _end_if_over(self) -> None:
        if self._stops and not (self._present or self._next or self._draining):
            self._over(self._exit)


def described(code: int) -> str:
    """Return how a process has ended, for the log."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def in_seconds(pause_s: float) -> str:
    """Return when something follows, for the log; empty for at once."""
    return f" in {pause_s:g} s" if pause_s else ""
