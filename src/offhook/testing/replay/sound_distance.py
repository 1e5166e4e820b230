"""Distance in sound between two recordings of speech, measured without recognising words.

A synthetic voice never says a sentence twice in the same way: its pitch varies, a pause is a few
milliseconds longer. The bytes are therefore not compared, but the levels of four bands every
10 ms, along the best alignment of the two recordings.
"""

import math
from itertools import accumulate
from operator import add, itemgetter, sub
from typing import Final, TypeAlias

from offhook.audio import BYTES_PER_MS
from offhook.recordings.wav import LINEAR

ALIKE_DB: Final = 1.5
"""Largest distance in dB between recordings of the same words (docs/design/capture.md)."""

HOP_MS: Final = 10
WINDOW_MS: Final = 40
PHASE_BYTES: Final = 20

FLOOR: Final = 150
"""Mean magnitude, in 16-bit steps, below which sound counts as a pause, and is left out."""

SLACK_HOPS: Final = 15
SLACK_SHARE: Final = 0.02
"""Bounds of the alignment: one recording may lead by 150 ms plus 2 % of the speech."""

LOOK_HOPS: Final = 20
"""Length of the window for a difference, in hops: 200 ms, a short word."""

_Levels: TypeAlias = tuple[float, float, float, float]
_Way: TypeAlias = tuple[float, "_Way"] | None
"""Alignment of two recordings, from its end: the cost of the last step, and the steps before."""

_FAR: Final[tuple[float, _Way]] = (math.inf, None)


def sound_alike(one: bytes, other: bytes) -> bool:
    """Return True if two mu-law recordings may be the same voice with the same words.

    They are aligned at their start; the longer one is cut to the length of the shorter.
    """
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return True
    # Half a hop later, the same sound has other levels: several start offsets are tried.
    starts = range(0, HOP_MS * BYTES_PER_MS, PHASE_BYTES)
    return any(unlikeness(one, other[start:]) <= ALIKE_DB for start in starts)


def unlikeness(one: bytes, other: bytes) -> float:
    """Return the distance in dB between two recordings where they differ most.

    The distance is infinite if only one of them has speech.
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
    """Return levels in dB of the whole sound and of its low, middle and high bands, in speech."""
    samples = [LINEAR[byte] for byte in sound]
    following = samples[1:]
    bands = (
        samples,
        map(add, samples, following),
        map(sub, samples[2:], samples),
        map(sub, following, samples),
    )
    sums = [list(accumulate(map(abs, band), initial=0)) for band in bands]
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

    It starts at the start of both, and ends where the first of them ends.
    """
    slack = SLACK_HOPS + int(SLACK_SHARE * len(rows))
    slope = len(columns) / len(rows)
    above: dict[int, tuple[float, _Way]] = {-1: (0.0, None)}
    ends = []
    for number, (a, b, c, d) in enumerate(rows):
        middle = int(number * slope)
        first = max(0, middle - slack)
        here: dict[int, tuple[float, _Way]] = {}
        left, corner = _FAR, above.get(first - 1, _FAR)
        for column in range(first, min(len(columns), middle + slack + 1)):
            e, f, g, h = columns[column]
            cost = (abs(a - e) + abs(b - f) + abs(c - g) + abs(d - h)) / 4
            over = above.get(column, _FAR)
            best = corner if corner[0] <= over[0] else over
            if left[0] < best[0]:
                best = left
            left = here[column] = (best[0] + cost, (cost, best[1]))
            corner = over
            if number == len(rows) - 1 or column == len(columns) - 1:
                ends.append(left)
        above = here
    way: _Way = min(ends, key=itemgetter(0))[1]
    costs = []
    while way is not None:
        cost, way = way
        costs.append(cost)
    return costs
