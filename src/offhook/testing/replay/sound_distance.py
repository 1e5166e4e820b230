"""How alike two recordings of speech sound, without knowing any words.

A synthetic voice says a sentence never twice alike: its pitch wavers, a pause is a few milliseconds
longer. So not bytes are compared but, every 10 ms, the levels of four bands, along the best way to
lay one recording over the other.
"""

import math
from itertools import accumulate, pairwise
from typing import Final, TypeAlias

from offhook.audio import BYTES_PER_MS

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

_SAMPLES: Final = tuple(
    (1 if byte & 0x80 else -1) * ((((~byte & 0x0F) << 3) + 132 << (~byte >> 4 & 7)) - 132)
    for byte in range(256)
)
"""Of each mu-law byte, in 16-bit steps (G.711)."""

_Levels: TypeAlias = tuple[float, float, float, float]
_FAR: Final = math.inf


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
        return 0.0 if abs(len(rows) - len(columns)) < LOOK_HOPS else _FAR
    costs = _along_the_best_way(rows, columns)
    sums = [0.0, *accumulate(costs)]
    look = min(LOOK_HOPS, len(costs))
    return max(b - a for a, b in zip(sums, sums[look:], strict=False)) / look


def _levels(sound: bytes) -> list[_Levels]:
    """Levels in dB of all of it, and of its low, middle and high sounds, where somebody speaks."""
    samples = [_SAMPLES[byte] for byte in sound]
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
    """Dynamic time warping within a band: the cost in dB at each step of the cheapest way.

    It begins where both begin, and ends where the first of them does.
    """
    slack = SLACK_HOPS + int(SLACK_SHARE * len(rows))
    slope = len(columns) / len(rows)
    above: dict[int, float] = {-1: 0.0}
    table: list[dict[int, tuple[float, float]]] = []
    for number, row in enumerate(rows):
        middle = int(number * slope)
        here: dict[int, float] = {}
        kept: dict[int, tuple[float, float]] = {}
        for column in range(max(0, middle - slack), min(len(columns), middle + slack + 1)):
            cost = sum(abs(a - b) for a, b in zip(row, columns[column], strict=True)) / 4
            total = cost + min(
                above.get(column - 1, _FAR), above.get(column, _FAR), here.get(column - 1, _FAR)
            )
            here[column] = total
            kept[column] = (total, cost)
        table.append(kept)
        above = here
    return _walk_back(table, len(columns))


def _walk_back(table: list[dict[int, tuple[float, float]]], width: int) -> list[float]:
    last = len(table) - 1
    ends = [(total, last, column) for column, (total, _) in table[last].items()]
    ends += [(r[width - 1][0], n, width - 1) for n, r in enumerate(table) if width - 1 in r]
    _, row, column = min(ends)
    costs = []
    while True:
        costs.append(table[row][column][1])
        before = [
            (table[r][c][0], r, c)
            for r, c in ((row - 1, column - 1), (row - 1, column), (row, column - 1))
            if r >= 0 and c in table[r]
        ]
        if not before:
            return costs
        _, row, column = min(before)
