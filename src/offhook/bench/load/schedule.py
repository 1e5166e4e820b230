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

RARE_TURNS: Final = 3
"""Turns in which a rare step is called once."""

TIMED_ENDS: Final = 100
"""Callers of a process, and sessions, whose frames are each read by themselves and timed. Those
beyond are read by three frames: a load that cost as much as a bridge would end the search for the
most calls before the bridge does."""

SLOTS_AT_ONCE: Final = 4
"""Slots between two looks at the event loop, which costs as much as the steps of a slot."""

Step = Callable[[int], None]
"""Function that is called at its moment, with that time in ns (perf_counter)."""


class Wheel:
    """Scheduler that calls each step once a turn, or once in RARE_TURNS, at the step's own slot.

    A process that falls behind makes up for what it owes, up to SLIP_NS. The wheel sleeps in the
    event loop, whose own timers are not that fine, and which only opens calls beside it.
    """

    def __init__(self, turn_ms: int) -> None:
        self._turn = turn_ms * 1_000_000 // STEP_NS
        self._slots: list[list[Step]] = [[] for _ in range(RARE_TURNS * self._turn)]
        self._slot = 0
        self.slips = 0
        """Number of times that frames were left out."""
        self._due = time.perf_counter_ns()
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._tick)

    def add(self, slot: int, step: Step, *, rare: bool = False) -> None:
        """Call a step from now on, until it is removed."""
        for at in self._places(slot, rare=rare):
            self._slots[at].append(step)

    def remove(self, slot: int, step: Step) -> None:
        """Stop calling a step. A list that is being iterated stays as it is."""
        for at in self._places(slot, rare=False):
            if step in self._slots[at]:
                self._slots[at] = [other for other in self._slots[at] if other != step]

    def far_from(self, ago_ns: int) -> int:
        """Return the slot that is half a turn from a moment that was `ago_ns` ago."""
        return self._slot - ago_ns // STEP_NS + self._turn // 2

    def _places(self, slot: int, *, rare: bool) -> range:
        """Return where a step is: in every turn, or in that of its slot alone."""
        count = len(self._slots)
        first = slot % count if rare else slot % self._turn
        return range(first, count, count if rare else self._turn)

    def _tick(self) -> None:
        for _ in range(SLOTS_AT_ONCE):
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
