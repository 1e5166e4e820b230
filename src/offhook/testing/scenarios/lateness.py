"""How late the judge's own event loop is: a judge that was late cannot say that an agent was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from offhook.clock import LoopClock

TICK_S: Final = 0.02
"""Seconds between two looks at the clock: a frame of audio."""

HELD_S: Final = 0.25
"""A loop that does nothing for so long makes an answer late, or two turns into one."""

BEHIND: Final = 0.1
"""The share of a call's time by which a loop may be late in all."""


@dataclass(slots=True)
class Lateness:
    """How late the loop was during one scenario, in seconds."""

    worst: float = 0.0
    behind: float = 0.0
    watched: float = 0.0

    @property
    def is_too_much(self) -> bool:
        """Whether what was measured may be the fault of this machine."""
        return self.worst >= HELD_S or self.behind >= BEHIND * max(self.watched, 1.0)

    def __str__(self) -> str:
        return f"up to {self.worst:.1f} s late, {self.behind:.1f} s in all"


@asynccontextmanager
async def watching() -> AsyncIterator[Lateness]:
    """Measure the running loop meanwhile."""
    watch = _Watch(LoopClock(asyncio.get_running_loop()))
    try:
        yield watch.found
    finally:
        watch.stop()


class _Watch:
    """A timer that notes how late it is."""

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
        """Look a last time: the loop may have been held until now."""
        self._timer.cancel()
        self._look()
        self._timer.cancel()
