"""Whether this process itself was stopped for longer than its lease (SIGSTOP, a paused machine).

Only what this process does by itself counts: a database that is away makes nobody late. A machine
whose clocks stood still with it learns it by the database's, at its next beat (heartbeat.py).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from offhook.fleet.places import LEASE_S

TICK_S: Final = 1.0
"""Seconds between two ticks of the event loop."""

READ_S: Final = 2.0
"""Seconds for which a process that was stopped waits for its epochs, while nothing is done."""


class Pulse:
    """Pulse of a process's event loop. `now` is the monotonic clock everywhere here."""

    def __init__(self, now: float) -> None:
        self._late_at: float | None = now + LEASE_S
        """Time in seconds from which the process is late; None: it is until its epochs are read."""
        self._settled = asyncio.Event()
        self._settled.set()

    def is_late(self, now: float) -> bool:
        """Return whether the process was stopped for a lease, and has not read its epochs since.

        Two comparisons, for each input of a call.
        """
        return self._late_at is None or now >= self._late_at

    def tick(self, now: float) -> bool:
        """Count a tick of the event loop; return whether the process is late."""
        if self.is_late(now):
            self.stop()
            return True
        self._late_at = now + LEASE_S
        return False

    def stop(self) -> None:
        """Count the process as late, as another clock than its own has told."""
        self._late_at = None
        self._settled.clear()

    def settle(self, since: float) -> None:
        """Go on: the epochs were asked for at `since`, or the database does not answer.

        If the process was stopped again before it had them, for a lease, they say nothing: it is
        late still.
        """
        self._late_at = since + LEASE_S
        self._settled.set()

    async def settled(self, now: Callable[[], float]) -> None:
        """Wait while the process is late, by `now`; it is still in time when this returns."""
        while self.tick(now()):
            await self._settled.wait()
