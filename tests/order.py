"""The order of a run's tests: long ones first, so that no worker waits for one at the end."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


BROWSERS = 2
"""Workers that have the tests which share a browser and a server: each starts its own."""


def long_ones_first(
    long: Sequence[T], browsing: Sequence[T], others: Sequence[T], workers: int
) -> list[T]:
    """Return all tests in the order in which each worker begins with its share of long ones.

    With `--dist worksteal` each worker begins with one contiguous part of the list, and others take
    tests from the end of that part once theirs is done. Neighbours stay together: those of one file
    would disturb each other if they ran at the same time. Those that browse follow the long ones of
    BROWSERS workers, so that no other worker takes them and starts one more browser at the end.
    """
    rest = iter(others)
    ordered: list[T] = []
    total = len(long) + len(browsing) + len(others)
    browsers = min(BROWSERS, workers)
    for worker in range(workers):
        part = (total - len(ordered)) // (workers - worker)
        first = long[worker * len(long) // workers : (worker + 1) * len(long) // workers]
        if worker < browsers:
            first = [
                *first,
                *browsing[
                    worker * len(browsing) // browsers : (worker + 1) * len(browsing) // browsers
                ],
            ]
        ordered += first
        ordered += [test for _, test in zip(range(part - len(first)), rest, strict=False)]
    return [*ordered, *rest]
