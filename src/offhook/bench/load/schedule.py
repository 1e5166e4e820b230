"""The schedule of the load: each step has its moment in a turn of 20 ms."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

STEP_NS: Final = 250_000
"""Distance of two moments. Real callers are not in step: frames that leave together wait for each
other in the bridge, and that is the load's doing."""

SLIP_NS: Final = 250_000_000
"""A wheel that is later than this leaves out what it owes, and counts that."""

Step = Callable[[int], None]
"""Function that is called at its moment, with that time in ns (perf_counter)."""


class Wheel:
    """Scheduler that calls each step once a turn, at the step's own slot.

    A process that falls behind makes up for what it owes, up to SLIP_NS. The wheel sleeps in the
    event loop, whose own timers are not that fine, and which only opens calls beside it.
    """

    def __init__(self, turn_ms: int) -> None:
        self._slots: list[list[Step]] = [[] for _ in range(turn_ms * 1_000_000 // STEP_NS)]
        self._slot = 0
        self.slips = 0
        """Number of times that frames were left out."""
        self._due = time.perf_counter_ns()
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._tick)

    def add(self, slot: int, step: Step) -> None:
        """Call a step from now on, until it is removed."""
        self._slots[slot % len(self._slots)].append(step)

    def remove(self, slot: int, step: Step) -> None:
        """Stop calling a step. A list that is being iterated stays as it is."""
        at = slot % len(self._slots)
        self._slots[at] = [other for other in self._slots[at] if other != step]

    def far_from(self, ago_ns: int) -> int:
        """Return the slot that is half a turn from a moment that was `ago_ns` ago."""
        return self._slot - ago_ns // STEP_NS + len(self._slots) // 2

    def _tick(self) -> None:
        now = time.perf_counter_ns()
        if now < self._due:
            time.sleep((self._due - now) / 1e9)
            now = time.perf_counter_ns()
        if now - self._due > SLIP_NS:
            self.slips += 1
            self._due = now
        while self._due <= now:
            for step in self._slots[self._slot]:
                step(self._due)
            self._slot = (self._slot + 1) % len(self._slots)
            self._due += STEP_NS
        self._loop.call_soon(self._tick)
