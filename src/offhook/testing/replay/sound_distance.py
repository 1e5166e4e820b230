"""How alike two recordings of speech sound, without knowing any words.

A synthetic voice says a sentence never twice alike: its pitch wavers, a pause is a few milliseconds
longer. So not bytes are compared but, every 10 ms, the levels of four bands, along the best way to
lay one recording over the other.
"""

import math
from itertools import accumulate, pairwise
from operator import itemgetter, sub
from typing import Final, TypeAlias

from offhook.audio import BYTES_PER_MS
from offhook.recordings.wav import LINEAR

ALIKE_DB: Final = 1.5
"""At most so unlike are two recordings that say the same (docs/design/capture.md)."""

HOP_MS: Final = 10
WINDOW_MS: Final = 40
PHASE_BYTES: Final = 20

FLOOR: Final = 150
"""Mean magnitude, in 16-bit steps, below which nobody speaks: pauses are left out."""

SLACK_HOPS: Final = 15
SLACK_SHARE: Final = 0.02
"""How far one recording may run ahead of the other: 150 ms, and 2 % of what was said."""

LOOK_HOPS: Final = 20
"""The stretch, 200 ms, in which a difference is looked for: a short word."""

_Levels: TypeAlias = tuple[float, float, float, float]
_Way: TypeAlias = tuple[float, "_Way"] | None
"""A way of laying one recording over the other, from its end: the cost of a step, and the rest."""

_FAR: Final[tuple[float, _Way]] = (math.inf, None)


def sound_alike(one: bytes, other: bytes) -> bool:
    """Whether two recordings, of mu-law, could be of the same voice that says the same.

    They begin together; of the longer, what is beyond the shorter does not count.
    """
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return True
    # Half a hop apart, the same sound gives other levels: several beginnings are tried.
    starts = range(0, HOP_MS * BYTES_PER_MS, PHASE_BYTES)
    return any(unlikeness(one, other[start:]) <= ALIKE_DB for start in starts)


def unlikeness(one: bytes, other: bytes) -> float:
    """By how much two recordings differ where they differ most, in dB.

    Infinite when only one of them has speech in it.
    """
    size = min(len(one), len(other))
    rows, columns = _levels(one[:size]), _levels(other[:size])
    if min(len(rows), len(columns)) < LOOK_HOPS:
        return 0.0 if abs(len(rows) - len(columns)) < LOOK_HOPS else math.inf
    costs = _along_the_best_way(rows, columns)
    sums = [0.0, *accumulate(costs)]
    look = min(LOOK_HOPS, len(costs))
    return max(b - a for a, b in zip(sums, sums[look:], strict=False)) / look


def _levels(sound: bytes) -> list[_Levels]:
    """Levels in dB of all of it, and of its low, middle and high sounds, where somebody speaks."""
    samples = [LINEAR[byte] for byte in sound]
    sums = [
        list(accumulate(map(abs, band), initial=0))
        for band in (
            samples,
            [a + b for a, b in pairwise(samples)],
            [b - a for a, b in zip(samples, samples[2:], strict=False)],
            [b - a for a, b in pairwise(samples)],
        )
    ]
    window = WINDOW_MS * BYTES_PER_MS
    found = []
    for begin in range(0, len(samples) - window - 1, HOP_MS * BYTES_PER_MS):
        means = [(band[begin + window] - band[begin]) / window for band in sums]
        if means[0] >= FLOOR:
            a, b, c, d = (20 * math.log10(mean + 1) for mean in means)
            found.append((a, b, c, d))
    return found


def _along_the_best_way(rows: list[_Levels], columns: list[_Levels]) -> list[float]:
    """Return the cost in dB at each step of the cheapest way (dynamic time warping in a band).

    It begins where both begin, and ends where the first of them does.
    """
    slack = SLACK_HOPS + int(SLACK_SHARE * len(rows))
    slope = len(columns) / len(rows)
    above: dict[int, tuple[float, _Way]] = {-1: (0.0, None)}
    ends = []
    for number, row in enumerate(rows):
        middle = int(number * slope)
        here: dict[int, tuple[float, _Way]] = {}
        for column in range(max(0, middle - slack), min(len(columns), middle + slack + 1)):
            cost = sum(map(abs, map(sub, row, columns[column]))) / 4
            before = (above.get(column - 1, _FAR), above.get(column, _FAR))
            total, way = min(*before, here.get(column - 1, _FAR), key=itemgetter(0))
            here[column] = (total + cost, (cost, way))
            if number == len(rows) - 1 or column == len(columns) - 1:
                ends.append(here[column])
        above = here
    way, costs = min(ends, key=itemgetter(0))[1], []
    while way is not None:
        cost, way = way
        costs.append(cost)
    return costs
