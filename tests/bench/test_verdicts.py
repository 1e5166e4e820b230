"""What the benches of live calls make of a delay: whose it is, the server's or a late load's."""

import argparse
import math
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench.attack import AT_ONCE, HALF_OPEN, LATE_MS, P99_MS, TRIES, Judged, p99_ms
from bench.hammer import ALLOWED_MS, LOAD_LATE_MS, Beside
from bench.rush import Delay, Rush, Tried, until_judged

from bench import clocks, faults, hammer
from offhook.bench.load.messages import Measured


def test_a_delay_within_the_bar_is_met_whatever_the_load_did() -> None:
    assert Judged("odd paths", before=0.3, during=P99_MS - 0.1, load_late=50.0).verdict is True
    assert Delay("after it", P99_MS - 0.1, load_late=50.0).verdict is True


def test_a_delay_above_the_bar_under_a_load_in_time_is_missed() -> None:
    assert Judged("odd paths", before=4.9, during=P99_MS, load_late=LATE_MS / 2).verdict is False
    assert Delay("after it", P99_MS, load_late=LATE_MS / 2).verdict is False


def test_a_load_that_was_late_meets_no_bar_that_it_missed() -> None:
    assert Judged("odd paths", before=4.0, during=P99_MS, load_late=LATE_MS).verdict is None
    assert Judged("odd paths", before=0.3, during=8.9, load_late=LATE_MS).verdict is None
    assert Delay("after it", 8.9, load_late=LATE_MS).verdict is None


def test_no_load_explains_that_no_frame_came() -> None:
    for late in (0.0, 50.0, math.inf):
        assert Judged("odd paths", before=0.3, during=math.inf, load_late=late).verdict is False
        assert Delay("after it", math.inf, load_late=late).verdict is False
    frames = [10**6] * 100
    assert p99_ms(Measured(up=frames, down=frames)) == pytest.approx(1.0)
    assert p99_ms(Measured(up=frames)) == p99_ms(Measured(down=frames)) == math.inf


def test_beside_functions_the_delay_itself_is_judged_unless_the_load_was_late() -> None:
    assert Beside(ALLOWED_MS, load_late=50.0).verdict is True
    assert Beside(ALLOWED_MS + 0.1, load_late=LOAD_LATE_MS).verdict is False
    assert Beside(ALLOWED_MS + 0.1, load_late=LOAD_LATE_MS + 0.1).verdict is None
    assert Beside(math.inf, load_late=0.0).verdict is False
    assert Beside(math.inf, load_late=math.inf).verdict is False, "no load explains no frame at all"


def test_a_way_without_a_frame_is_no_fast_one() -> None:
    frames = [10**6] * 100
    assert hammer._p99_ms(Measured(up_last=frames, down=frames)) == pytest.approx(1.0)
    assert hammer._p99_ms(Measured(up_last=frames)) == math.inf
    assert hammer._p99_ms(Measured(down=frames)) == math.inf


def test_only_what_a_late_load_missed_is_tried_again() -> None:
    late = Judged("odd paths", before=0.3, during=P99_MS, load_late=LATE_MS)
    assert late.is_worth_a_repeat
    assert late.why_not == "the load was late"
    in_time = late._replace(load_late=LATE_MS / 2)
    assert not in_time.is_worth_a_repeat
    too_little = late._replace(during=P99_MS - 0.1, has_come=False)
    assert too_little.verdict is None
    assert not too_little.is_worth_a_repeat
    too_few = Judged(HALF_OPEN, before=0.3, during=0.4, load_late=LATE_MS, at_once=1)
    assert too_few.verdict is None
    assert not too_few.is_worth_a_repeat


def test_fewer_half_open_sockets_than_the_row_says_are_not_judged() -> None:
    count = AT_ONCE[HALF_OPEN]
    few = Judged(HALF_OPEN, before=0.3, during=0.4, load_late=0.1, at_once=count - 1)
    assert few.verdict is None
    assert few._replace(at_once=count).verdict is True
    assert few._replace(at_once=count, during=P99_MS).verdict is False


def test_a_crowd_that_took_longer_than_a_second_is_not_judged() -> None:
    quick = Measured(down=[10**6], late=[1000])
    rush = Rush(asked_s=0.95, delay_ms=1.0, late_ms=0.1)
    tried = Tried("say", rush, quick, quick, quick)
    assert tried.unjudged(1.0) == []
    assert tried.unjudged(0.9) == ["say: the crowd took 0.95 s to ask"]


GIVEN = argparse.Namespace(untimed=False, spread=1.0, calls=10, capacity=6, live=2)
QUICK = Measured(up=[10**6] * 100, down=[10**6] * 100, late=[0] * 100)


def rush_of(**changed: Any) -> Tried:
    """A rush in which all went well, but for what is given."""
    rush = Rush(connected=4, busy=6, asked_s=0.9, delay_ms=1.0, late_ms=0.1)
    for name, value in changed.items():
        setattr(rush, name, value)
    return Tried("say", rush, QUICK, QUICK, QUICK)


async def judged(given: argparse.Namespace, *tries: Tried) -> tuple[int, list[str]]:
    """How many of these tries a rush took, and what was wrong."""
    begun = []

    async def attempt(number: int) -> Tried:
        begun.append(number)
        return tries[number - 1]

    tried, found = await until_judged(given, attempt)
    assert tried is tries[len(begun) - 1]
    return len(begun), found


async def test_a_rush_that_is_tried_again_keeps_what_was_wrong_in_it() -> None:
    well, late = rush_of(), rush_of(asked_s=1.2)
    broke = rush_of(asked_s=1.2, broken=3)
    assert await judged(GIVEN, well) == (1, [])
    assert await judged(GIVEN, late, well) == (2, [])
    assert await judged(GIVEN, broke, well) == (2, ["3 of the connected calls broke"])
    assert await judged(GIVEN, *[late] * TRIES) == (TRIES, [])
    untimed = argparse.Namespace(**{**vars(GIVEN), "untimed": True})
    assert await judged(untimed, late) == (1, [])


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.CalledProcessError(32, "mount")])
async def test_a_disk_that_cannot_be_mounted_is_not_tried(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(
        faults, "subprocess", SimpleNamespace(**vars(subprocess) | {"run": refused})
    )
    with pytest.raises(faults.UntriedError):
        await faults.small_disk(SimpleNamespace(folder=tmp_path))  # type: ignore[arg-type]


def test_without_the_headers_of_the_c_library_no_clock_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing = shutil.which("false")
    monkeypatch.setattr(shutil, "which", lambda name: failing)
    assert clocks.compiled(tmp_path) is None
