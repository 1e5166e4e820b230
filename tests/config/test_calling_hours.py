from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.config.calling_hours import DAYS, Day, Hours, read_hours

BERLIN = ZoneInfo("Europe/Berlin")
ANGELES = ZoneInfo("America/Los_Angeles")
WEEK = frozenset(DAYS)
WORK = frozenset(DAYS[:5])


def hours(text: str, days: frozenset[Day] = WEEK) -> Hours:
    made = read_hours(text, days)
    assert made is not None
    return made


def test_one_moment_is_day_here_and_night_there() -> None:
    morning = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)  # 10:30 in Berlin, 01:30 in Los Angeles
    wanted = hours("09:00-20:00")
    assert wanted.opens(morning, BERLIN) is None
    opens = wanted.opens(morning, ANGELES)
    assert opens == datetime(2026, 11, 25, 17, 0, tzinfo=UTC)


def test_the_end_is_outside_and_the_beginning_inside() -> None:
    wanted = hours("09:00-20:00")
    assert wanted.opens(datetime(2026, 11, 25, 9, 0, tzinfo=BERLIN), BERLIN) is None
    assert wanted.opens(datetime(2026, 11, 25, 19, 59, 59, tzinfo=BERLIN), BERLIN) is None
    after = wanted.opens(datetime(2026, 11, 25, 20, 0, tzinfo=BERLIN), BERLIN)
    assert after == datetime(2026, 11, 26, 9, 0, tzinfo=BERLIN)


def test_until_midnight() -> None:
    wanted = hours("09:00-24:00")
    assert wanted.opens(datetime(2026, 11, 25, 23, 59, 59, tzinfo=BERLIN), BERLIN) is None
    assert wanted.opens(datetime(2026, 11, 26, 0, 0, tzinfo=BERLIN), BERLIN) is not None


def test_a_friday_evening_waits_for_monday() -> None:
    wanted = hours("09:00-17:00", WORK)
    friday = datetime(2026, 11, 27, 18, 0, tzinfo=BERLIN)
    assert wanted.opens(friday, BERLIN) == datetime(2026, 11, 30, 9, 0, tzinfo=BERLIN)
    saturday = datetime(2026, 11, 28, 8, 0, tzinfo=BERLIN)
    assert wanted.opens(saturday, BERLIN) == datetime(2026, 11, 30, 9, 0, tzinfo=BERLIN)


def test_nine_is_nine_across_the_change_of_the_clocks() -> None:
    wanted = hours("09:00-20:00")
    evening = datetime(2026, 10, 24, 21, 0, tzinfo=BERLIN)  # summer time ends in that night
    opens = wanted.opens(evening, BERLIN)
    assert opens is not None
    assert opens.astimezone(UTC) == datetime(2026, 10, 25, 8, 0, tzinfo=UTC)


def test_the_wait_until_nine_is_an_hour_shorter_or_longer_in_a_night_of_change() -> None:
    wanted = hours("09:00-20:00")
    for day, seconds in ((datetime(2026, 3, 28), 11), (datetime(2026, 10, 24), 13)):
        evening = day.replace(hour=21, tzinfo=BERLIN).astimezone(UTC)
        opens = wanted.opens_everywhere(evening, [BERLIN])
        assert opens is not None
        assert (opens - evening).total_seconds() == seconds * 3600


def test_hours_that_begin_in_the_hour_that_is_left_out_begin_after_it() -> None:
    night = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # 01:30 in Berlin; 02:00 is followed by 03:00
    opens = hours("02:30-20:00").opens_everywhere(night, [BERLIN])
    assert opens is not None
    assert opens.astimezone(UTC) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 03:30
    assert hours("02:30-20:00").opens(opens.astimezone(UTC), BERLIN) is None


def test_the_hour_that_comes_twice_is_as_allowed_the_second_time() -> None:
    wanted = hours("03:00-20:00")
    for first in (0, 1):  # 02:30 in Berlin, in summer time and in winter time
        now = datetime(2026, 10, 25, first, 30, tzinfo=UTC)
        opens = wanted.opens_everywhere(now, [BERLIN])
        assert opens is not None
        assert opens.astimezone(UTC) == datetime(2026, 10, 25, 2, 0, tzinfo=UTC)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    st.sampled_from([BERLIN, ANGELES, UTC]),
    st.sets(st.sampled_from(DAYS), min_size=1),
)
def test_when_it_opens_it_is_open(naive: datetime, zone: ZoneInfo, days: set[Day]) -> None:
    wanted = hours("08:30-19:00", frozenset(days))
    now = naive.replace(tzinfo=UTC)
    opens = wanted.opens(now, zone)
    if opens is not None:
        assert opens > now
        assert wanted.opens(opens, zone) is None


@pytest.mark.parametrize("text", ["9-20", "09:00", "20:00-09:00", "09:00-25:00", "", "09:00-09:00"])
def test_what_is_no_range_of_hours_is_none(text: str) -> None:
    assert read_hours(text, WEEK) is None


def test_hours_as_people_write_them() -> None:
    assert hours("09:00 - 20:00") == hours("09:00–20:00")  # noqa: RUF001
    assert hours("08:00-24:00").end is None
    assert hours("08:00-12:30").end == time(12, 30)
