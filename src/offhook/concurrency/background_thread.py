"""Threads that work beside the event loop as long as the server runs: journal, database, disk.

None of them may end because of one line, one file or one answer. So the loop around the work is
here, once: it survives whatever the work raises, waits longer after each failure, and tells.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

_log: Final = logging.getLogger("offhook.background")

AGAIN_S: Final = (0.1, 0.5, 2.0, 10.0)
"""How long to wait after the work has raised, and after each further time."""

State: TypeAlias = Literal["ok", "failing", "dead"]

Work: TypeAlias = Callable[[], float | None]


class BackgroundThread:
    """A thread that repeats `work`, from `start` to `stop`.

    `work` does what there is to do, and returns how long the next round may wait for a `wake`, in
    seconds; None: for ever. After a wake, `gather_s` pass before the round, so that there is more
    to do at once. `work` is done once more after `stop` was asked for. The thread is a daemon:
    work that hangs does not keep the process alive.
    """

    def __init__(self, name: str, work: Work, *, gather_s: float = 0.0) -> None:
        self.name: Final = name
        self._work = work
        self._gather_s = gather_s
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = False
        self._failures = 0
        self.faults = 0
        """Exceptions that the work did not expect."""

    def start(self) -> None:
        """Begin."""
        self._started = True
        self._thread.start()

    def wake(self) -> None:
        """There is something to do. Cheap, and from any thread."""
        if not self._some.is_set():
            self._some.set()

    def stop(self, timeout_s: float) -> bool:
        """End after one more round. Returns whether it has ended in time."""
        self._stopping.set()
        self._some.set()
        if self._started:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def pause(self, seconds: float) -> bool:
        """Wait, within the work. Returns at once, and True, when the thread is to stop."""
        return self._stopping.wait(seconds)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    @property
    def state(self) -> State:
        """`failing`: the last round has raised. `dead`: it does nothing more, and nobody said so.

        It is `ok` before it was started, and after it was told to stop.
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
        """Work once, and wait. Returns whether the thread is to end."""
        self._some.clear()
        # Asked after that, and before the work: whoever says stop later wakes the next round.
        stopping = self._stopping.is_set()
        wait_s: float | None
        try:
            wait_s = self._work()
            self._failures = 0
        except BaseException as error:  # noqa: BLE001 - whatever it is, there is more to be done
            wait_s = AGAIN_S[min(self._failures, len(AGAIN_S) - 1)]
            self._failures += 1
            self.faults += 1
            if self._failures == 1:  # it may fail many times for the same reason
                _log.error("a fault in the thread %r", self.name, exc_info=error)
        if stopping:
            return True
        if self._failures:
            self._stopping.wait(wait_s)
        elif self._some.wait(wait_s):
            self._stopping.wait(self._gather_s)
        return False
