"""Cases of microseconds each as one test: a test of its own costs each of them milliseconds."""

from collections.abc import Callable, Iterable
from typing import TypeVarTuple

Case = TypeVarTuple("Case")


def check_each(check: Callable[[*Case], None], cases: Iterable[tuple[*Case]]) -> None:
    """Check every case. Raises an ExceptionGroup of the failures, each with its case."""
    failures: list[Exception] = []
    count = 0
    for case in cases:
        count += 1
        try:
            check(*case)
        except Exception as error:  # noqa: BLE001 - all are raised, as a group
            error.add_note(f"case: {case!r}")
            failures.append(error)
    assert count, "there are no cases"
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {count} cases fail", failures)
