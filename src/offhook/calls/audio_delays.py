"""Time that audio spends in this process, sampled."""

from bisect import bisect_left
from typing import Final

from offhook.clock import Clock
from offhook.events.types import DELAY_EDGES_MS, DelaysSampled

SAMPLE_EVERY: Final = 50
"""Pieces of audio, each way, of which one delay is measured: about one a second."""


class DelayCounts:
    """Counts of delays, in the buckets of events.DELAY_EDGES_MS."""

    def __init__(self) -> None:
        self.counts: Final = [0] * (len(DELAY_EDGES_MS) + 1)
        self.pieces = 0
        """Pieces of audio that went this way, measured or not."""

    def add(self, seconds: float) -> None:
        """Count one delay."""
        self.counts[bisect_left(DELAY_EDGES_MS, seconds * 1000)] += 1


class AudioDelays:
    """Delays of one call: of audio to the agent, of audio to the caller, and of `clear`."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self.to_agent: Final = DelayCounts()
        self.to_caller: Final = DelayCounts()
        self.to_clear: Final = DelayCounts()

    def held(self) -> float:
        """Return the seconds since the process woke up for the current piece of work."""
        return max(0.0, self._clock.now() - self._clock.woke_at())

    def sampled(self) -> DelaysSampled:
        """Return the counts as an event."""
        counts = (self.to_agent.counts, self.to_caller.counts, self.to_clear.counts)
        to_agent, to_caller, to_clear = (tuple(each) for each in counts)
        return DelaysSampled(to_agent, to_caller, to_clear)
