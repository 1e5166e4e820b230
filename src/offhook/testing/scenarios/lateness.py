"""Measurement of the event loop's lateness: on a late machine, an agent cannot be judged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from offhook.clock import LoopClock

TICK_S: Final = 0.02
"""Seconds between two measurements: one frame of audio."""

HELD_S: Final = 0.25
"""Seconds of delay that make an answer late, or merge two turns."""

BEHIND: Final = 0.1
"""Share of a scenario's time from which the total delay is too much."""


@dataclass(slots=True)
class Lateness:
    """Lateness of the event loop during one scenario, in seconds."""

    worst: float = 0.0
    behind: float = 0.0
    watched: float = 0.0

    @property
    def is_too_much(self) -> bool:
        """True if this machine may have caused what was measured."""
        return self.worst >= HELD_S or self.behind >= BEHIND * max(self.watched, 1.0)

    def __str__(self) -> str:
        return f"up to {self.worst:.1f} s late, {self.behind:.1f} s in all"


@asynccontextmanager
async def watching() -> AsyncIterator[Lateness]:
    """Measure the lateness of the running loop within the context."""
    watch = _Watch(LoopClock(asyncio.get_running_loop()))
    try:
        yield watch.found
    finally:
        watch.stop()


class _Watch:
    """A repeating timer that records its own lateness."""

    def __init__(self, clock: LoopClock) -> None:
        self.found = Lateness()
        self._clock = clock
        self._due = clock.now() + TICK_S
        self._timer = clock.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._clock.now()
        late = max(0.0, now - self._due)
        self.found.worst = max(self.found.worst, late)
        self.found.behind += late
        self.found.watched += late + TICK_S
        self._due = now + TICK_S
        self._timer = self._clock.call_at(self._due, self._look)

    def stop(self) -> None:
        """Measure a last time, as the loop may have been blocked until now, and stop."""
        self._timer.cancel()
        self._look()
        self._timer.cancel()
