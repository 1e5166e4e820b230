"""What is judged of the ratio of calls per core, when a search ended before the bridge failed."""

import pytest

from offhook.bench.bars import GAIN_MIN, Bar, Measurements, bars
from offhook.bench.capacity_search import Ceiling


def gain(ours: Ceiling, tutorial: Ceiling) -> Bar:
    runs = Measurements(ceilings={"offhook": ours, "tutorial": tutorial})
    (bar,) = [bar for bar in bars(runs, 50, 100) if bar.what.startswith("calls per core")]
    return bar


ENOUGH, TOO_FEW = round(100 * GAIN_MIN), round(100 * GAIN_MIN) - 1


@pytest.mark.parametrize(
    ("calls", "ours_at_least", "tutorials_at_least", "met"),
    [
        (ENOUGH, False, False, True),
        (TOO_FEW, False, False, False),
        (ENOUGH, True, False, True),  # it is more, if anything
        (TOO_FEW, True, False, None),
        (ENOUGH, False, True, None),
        (TOO_FEW, False, True, False),  # it is less, if anything
        (ENOUGH, True, True, None),
        (TOO_FEW, True, True, None),
    ],
)
def test_a_ratio_of_bounds_is_judged_only_where_it_is_sure(
    calls: int, ours_at_least: bool, tutorials_at_least: bool, met: bool | None
) -> None:
    bar = gain(Ceiling(calls, ours_at_least), Ceiling(100, tutorials_at_least))
    assert bar.met is met
    assert bool(bar.unjudged) is (met is None)
    said = f"{bar.note} {bar.unjudged}"
    assert ("is at least: the load ended its search" in said) is (
        ours_at_least or tutorials_at_least
    )
