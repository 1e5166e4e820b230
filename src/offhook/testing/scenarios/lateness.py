"""Measurement of this machine's lateness: on a late machine, an agent cannot be judged.

Late may be the event loop of the rehearsal, or the processes that recognise and synthesise speech.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from offhook.clock import LoopClock
from offhook.testing.simulator.speech.answer_delays import AnswerDelays

TICK_S: Final = 0.02
"""Seconds between two measurements: one frame of audio."""

HELD_S: Final = 0.25
"""Seconds of delay that make an answer late, or merge two turns."""

BEHIND: Final = 0.1
"""Share of a scenario's time from which the total delay is too much."""


@dataclass(slots=True)
class Lateness:
    """Lateness of this machine during one scenario, in seconds.

    Attributes:
        worst: The largest delay of the event loop.
        behind: The sum of its delays.
        watched: Time for which it was measured.
        answers: The largest delay of an answer of a recogniser or synthesiser.
    """

    worst: float = 0.0
    behind: float = 0.0
    watched: float = 0.0
    answers: float = 0.0

    @property
    def is_too_much(self) -> bool:
        """True if this machine may have caused what was measured."""
        held = max(self.worst, self.answers) >= HELD_S
        return held or self.behind >= BEHIND * max(self.watched, 1.0)

    def __str__(self) -> str:
        words = f"up to {self.worst:.1f} s late, {self.behind:.1f} s in all"
        if self.answers < HELD_S:
            return words
        return f"{words}, and speech engines up to {self.answers:.1f} s"


@asynccontextmanager
async def watching(delays: AnswerDelays | None = None) -> AsyncIterator[Lateness]:
    """Measure the lateness of the running loop, and of the engines, within the context."""
    delays = delays or AnswerDelays()
    watch = _Watch(LoopClock(asyncio.get_running_loop()))
    try:
        with delays.watched(watch.on_answer):
            yield watch.found
    finally:
        watch.stop()


class _Watch:
    """A repeating timer that records its own lateness, and the answers'."""

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

    def on_answer(self, delay_s: float) -> None:
        """Note the delay of an answer."""
        self.found.answers = max(self.found.answers, delay_s)

    def stop(self) -> None:
        """Measure a last time, as the loop may have been blocked until now, and stop."""
        self._timer.cancel()
        self._look()
        self._timer.cancel()
