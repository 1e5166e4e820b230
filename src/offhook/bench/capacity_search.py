"""Search for the most calls that a bridge carries: growth until it fails, then bisection."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

import msgspec

GROWTH: Final = 1.5
PRECISION: Final = 0.05
MOST: Final = 4000
"""Calls of a search, at most; more sockets depend on limits, not speed (make soak holds 5,000)."""


class Verdict(Enum):
    """The result of a try with a number of calls."""

    CARRIED = "carried"
    FAILED = "failed"
    BOUND_BY_LOAD = "the load could not keep up"
    DISTURBED = "other programs took a part of the cores"


class Ceiling(msgspec.Struct, frozen=True):
    """The most calls that were carried.

    `at_least` if not the bridge ended the search, but the load or, with `disturbed`, other
    programs.
    """

    calls: int
    at_least: bool
    disturbed: bool = False


async def ceiling(attempt: Callable[[int], Awaitable[Verdict]], start: int) -> Ceiling:
    """Return the most calls that are carried, searched from `start` on, to 5 % or one call."""
    good, bad = 0, MOST + 1
    why = Verdict.BOUND_BY_LOAD
    calls = min(max(start, 1), MOST)
    while bad - good > max(1, PRECISION * good):
        verdict = await attempt(calls)
        if verdict is Verdict.CARRIED:
            good = calls
        else:
            bad, why = calls, verdict
        if bad > MOST:
            if good == MOST:
                break
            calls = min(MOST, max(good + 1, int(good * GROWTH)))
        elif not good:
            calls = int(bad / GROWTH)
            if not calls:
                break
        else:
            calls = (good + bad) // 2
    return Ceiling(good, at_least=why is not Verdict.FAILED, disturbed=why is Verdict.DISTURBED)
