"""A simulated clock, with which a long call takes only milliseconds.

A simulated call consists of callbacks only (websocket.Receiver, clock.Clock), so it needs no event
loop: the owner of the VirtualClock runs it. The same code runs unchanged over real sockets.
"""

import heapq
import itertools
from collections.abc import Callable


class _Entry:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """A Clock whose time passes only in `run` and `run_until`, without waiting."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._entries: list[tuple[float, int, _Entry]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Return the simulated time in seconds."""
        return self._now

    def woke_at(self) -> float:
        """Return the present: no time passes between a wake-up and what follows from it."""
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> _Entry:
        """Call `callback` when the clock reaches `when`; entries of one time keep their order."""
        entry = _Entry(callback)
        heapq.heappush(self._entries, (max(when, self._now), next(self._order), entry))
        return entry

    def run(self, seconds: float) -> None:
        """Advance the clock by `seconds`, and call the callbacks that fall due."""
        end = self._now + seconds
        while self._entries and self._entries[0][0] <= end:
            self._now, _, entry = heapq.heappop(self._entries)
            if entry.callback is not None:
                entry.callback()
        self._now = end

    def run_until(self, done: Callable[[], bool], limit: float) -> bool:
        """Advance the clock until `done()`, at most `limit` seconds; return True if done."""
        end = self._now + limit
        while not done():
            if not self._entries or self._entries[0][0] > end:
                return False
            self._now, _, entry = heapq.heappop(self._entries)
            if entry.callback is not None:
                entry.callback()
        return True
