"""A process that the supervisor starts, and when it is started again.

Python's standard library alone: the supervisor imports this.
"""

import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Final

PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Seconds until a process that has ended is started again: the first time, the second, and on."""

STEADY_S: Final = 5.0
"""Seconds after which a process counts as steady: PAUSES_S begin anew when it ends."""


class Restarts:
    """The times at which a process that has ended is started again.

    Attributes:
        due_at: Time of the next start, by time.monotonic; None: no start is due.
    """

    def __init__(self) -> None:
        self.due_at: float | None = None
        self._began_at = 0.0
        self._failures = 0

    def on_started(self) -> None:
        """Take note that the process was started: no other start is due."""
        self._began_at = time.monotonic()
        self.due_at = None

    def later(self) -> float:
        """Set the time of the next start; return the seconds until then."""
        now = time.monotonic()
        if now - self._began_at >= STEADY_S:
            self._failures = 0
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        self.due_at = now + pause_s
        return pause_s

    def at_once(self) -> None:
        """Have the process started now: nothing was wrong with it."""
        self.due_at = time.monotonic()

    def is_due(self) -> bool:
        """Return whether the process is to be started now."""
        return self.due_at is not None and self.due_at <= time.monotonic()


class ChildProcess:
    """A process in a group of its own, so that the terminal's Ctrl-C does not reach it."""

    def __init__(self, command: Sequence[str], descriptors: Sequence[int]) -> None:
        """Start the process. Raises OSError."""
        self._process: Final = subprocess.Popen(  # noqa: S603 - the command is our own
            command, pass_fds=descriptors, stdin=subprocess.DEVNULL, process_group=0
        )

    def ended(self) -> int | None:
        """Return the exit code of the process; None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process; one that has ended gets none."""
        self._process.send_signal(number)

    def wait(self) -> None:
        """Wait until the process has ended."""
        self._process.wait()
