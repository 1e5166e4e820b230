"""Where a number may be, and that nobody is rung by the time of another place."""

import importlib.metadata
import importlib.resources
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts.write_zones import EXAMPLES, PATH, table

from offhook.config.calling_hours import DAYS, NeverOpenError, read_hours
from offhook.outbound.zones import LONGEST, NumberZones, read_table

NIGHT_ON_THE_COAST = datetime(2026, 3, 6, 12, 30, tzinfo=UTC)
"""Half past seven in Washington, half past four in Seattle, in the middle of the day in UTC."""


ZONES = NumberZones()


def names(number: str) -> set[str]:
    return {zone.key for zone in ZONES.of(number)}


def test_the_table_is_of_the_locked_version_and_is_read_as_it_was_written() -> None:
    read = read_table()
    version = importlib.metadata.version("phonenumberslite")
    assert PATH.read_text("ascii") == table(read, version), "run make lock"
    assert max(map(len, read)) == LONGEST


def test_the_package_that_has_the_files_of_phonenumberslite_too_is_not_here() -> None:
    """Taking either out takes the other's files along, and what users lack would be found here."""
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("phonenumbers")


def test_this_machine_knows_every_zone_of_the_table() -> None:
    for name in {name for zones in read_table().values() for name in zones}:
        assert ZoneInfo(name).key == name


def test_every_kind_of_number_of_every_country_is_where_the_library_has_it() -> None:
    count = 0
    for line in EXAMPLES.read_text("ascii").splitlines():
        expected, _, numbers = line.partition(":")
        for number in numbers.split():
            assert names(number) == set(expected.split()), number[:6]
            count += 1
    assert count > 900


def test_some_that_a_person_can_check() -> None:
    assert names("+12025550142") == {"America/New_York"}
    assert names("+12065550142") == {"America/Los_Angeles"}
    assert names("+4930123456") == {"Europe/Berlin"}
    assert "Australia/Perth" in names("+61412345678")
    assert "Australia/Sydney" in names("+61412345678")
    assert names("+999123456789") == set()
    assert names("who") == set()


WORK = read_hours("09:00-20:00", DAYS)


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_the_zone_of_the_machine_does_not_matter(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WORK is not None
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        opens = WORK.opens_everywhere(NIGHT_ON_THE_COAST, ZONES.of("+12025550142"))
        assert opens == datetime(2026, 3, 6, 14, tzinfo=UTC)
        opens = WORK.opens_everywhere(NIGHT_ON_THE_COAST, ZONES.of("+12065550142"))
        assert opens == datetime(2026, 3, 6, 17, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    st.sampled_from(
        ["+12025550142", "+61412345678", "+79161234567", "+18005550142", "+12082345678"]
    ),
    st.sampled_from(["09:00-20:00", "09:00-12:00", "00:00-24:00"]),
    st.sets(st.sampled_from(DAYS), min_size=1),
)
def test_open_means_open_in_every_zone(
    naive: datetime, number: str, text: str, days: set[str]
) -> None:
    wanted = read_hours(text, days)  # type: ignore[arg-type]
    assert wanted is not None
    now = naive.replace(tzinfo=UTC)
    zones = ZONES.of(number)
    try:
        opens = wanted.opens_everywhere(now, zones)
    except NeverOpenError:
        hours = (now.timestamp() + 900 * step for step in range(8 * 24 * 4))
        moments = (datetime.fromtimestamp(at, UTC) for at in hours)
        assert not any(all(wanted.opens(at, z) is None for z in zones) for at in moments)
        return
    at = opens or now
    assert at >= now
    assert [wanted.opens(at, zone) for zone in zones] == [None] * len(zones)


def test_the_table_is_in_what_is_installed() -> None:
    assert PATH.parent == Path(str(importlib.resources.files("offhook.outbound")))
