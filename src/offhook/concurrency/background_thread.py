"""Threads that work beside the event loop as long as the server runs: journal, database, disk.

A fault with one line, one file or one answer must not end a thread. So the loop around the work is
written once, here: it survives whatever the work raises, waits longer after each failure, and logs.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final, Literal, Protocol, Self, TypeAlias

_log: Final = logging.getLogger("offhook.background")

AGAIN_S: Final = (0.1, 0.5, 2.0, 10.0)
"""Seconds to wait after the work has raised: after the first time, the second, and so on."""

STOP_S: Final = 3.0
"""Seconds that `stop` waits for the last round, unless a thread sets its own limit."""

State: TypeAlias = Literal["ok", "failing", "dead"]

Work: TypeAlias = Callable[[], float | None]


class WatchedThread(Protocol):
    """A thread whose state readiness and metrics report."""

    @property
    def name(self) -> str:
        """Name of the thread, in plain words."""

    @property
    def state(self) -> State:
        """State of the thread, as BackgroundThread.state."""

    @property
    def faults(self) -> int:
        """Number of unexpected exceptions in the thread."""


class BackgroundThread:
    """A thread that repeats `work`, from `start` to `stop`.

    `work` does what is due, and returns how many seconds the next round may wait for a `wake`;
    None: no limit. After a wake, `gather_s` pass before the round, so that one round has more
    to do. `work` is called once more after a call of `stop`; `stop` waits `stop_s` for it.

    The thread is a daemon: work that hangs does not keep the process alive.
    """

    def __init__(
        self, name: str, work: Work, *, gather_s: float = 0.0, stop_s: float = STOP_S
    ) -> None:
        self.name: Final = name
        self._work = work
        self._gather_s = gather_s
        self._stop_s = stop_s
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = False
        self._failures = 0
        self.faults = 0
        """Number of unexpected exceptions of the work."""

    def start(self) -> None:
        """Start the thread."""
        self._started = True
        self._thread.start()

    def wake(self) -> None:
        """Start the next round. Cheap, and may be called from any thread."""
        if not self._some.is_set():
            self._some.set()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Ask for the end after one more round; return whether the thread has ended in time."""
        self._stopping.set()
        self._some.set()
        if self._started:
            self._thread.join(self._stop_s if timeout_s is None else timeout_s)
        return not self._thread.is_alive()

    def pause(self, seconds: float) -> bool:
        """Wait within the work; return True, at once, when the thread must stop."""
        return self._stopping.wait(seconds)

    @property
    def stopping(self) -> bool:
        """True once the thread was told to stop."""
        return self._stopping.is_set()

    @property
    def is_running(self) -> bool:
        """True from the start until the thread is told to stop, or dies."""
        return self._thread.is_alive() and not self._stopping.is_set()

    @property
    def state(self) -> State:
        """State of the thread.

        `failing`: the last round has raised. `dead`: the thread has ended without being
        told. The state is `ok` before the start, and after `stop` was called.
        """
        if self._started and not self._thread.is_alive() and not self._stopping.is_set():
            return "dead"
        return "failing" if self._failures else "ok"

    # --- the thread ---

    def _run(self) -> None:
        try:
            while not self._round():
                pass
        finally:
            if not self._stopping.is_set():
                _log.critical("the thread %r has died: restart the server", self.name)

    def _round(self) -> bool:
        """Do one round of work, and wait; return whether the thread must end."""
        self._some.clear()
        # Read after the clear and before the work: a stop that comes later wakes the next round.
        stopping = self._stopping.is_set()
        wait_s: float | None
        try:
            wait_s = self._work()
            self._failures = 0
        except BaseException as error:  # noqa: BLE001 - the thread must survive any fault
            wait_s = AGAIN_S[min(self._failures, len(AGAIN_S) - 1)]
            self._failures += 1
            self.faults += 1
            if self._failures == 1:  # the work may fail many times for the same reason
                _log.error("a fault in the thread %r", self.name, exc_info=error)
        if stopping:
            return True
        if self._failures:
            self._stopping.wait(wait_s)
        elif self._some.wait(wait_s):
            self._stopping.wait(self._gather_s)
        return False


class ThreadOwner:
    """Context manager whose `thread` runs while it is entered."""

    thread: BackgroundThread

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._after_stop(in_time=self.thread.stop())

    def _after_stop(self, *, in_time: bool) -> None:
        """Release the thread's resources; unless it ended `in_time`, it may still use them."""
