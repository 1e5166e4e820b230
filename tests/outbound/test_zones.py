"""Where a number may be, and that nobody is rung by the time of another place."""

import importlib.metadata
import importlib.resources
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import phonenumbers
import phonenumbers.timezone
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX
from scripts.write_zones import PATH, table

from offhook.outbound.hours import DAYS, NeverOpen, read_hours
from offhook.outbound.zones import LONGEST, NumberZones, read_table

NIGHT_ON_THE_COAST = datetime(2026, 3, 6, 12, 30, tzinfo=UTC)
"""Half past seven in Washington, half past four in Seattle, in the middle of the day in UTC."""


def names(number: str) -> set[str]:
    return {zone.key for zone in NumberZones().of(number)}


def test_table_and_library_are_one() -> None:
    versions = {importlib.metadata.version(name) for name in ("phonenumbers", "phonenumberslite")}
    assert len(versions) == 1, "lock both at the same version: they have their files in common"
    assert PATH.read_text("ascii") == table(), "run scripts/write_zones.py"
    assert LONGEST == TIMEZONE_LONGEST_PREFIX
    read = {prefix: tuple(sorted(zones)) for prefix, zones in read_table().items()}
    assert read == {prefix: tuple(sorted(zones)) for prefix, zones in TIMEZONE_DATA.items()}


def test_this_machine_knows_every_zone_of_the_table() -> None:
    for name in {name for zones in read_table().values() for name in zones}:
        assert ZoneInfo(name).key == name


def examples() -> Iterator[str]:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in phonenumbers.PhoneNumberType.values():
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                yield phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def test_every_kind_of_number_of_every_country_is_where_the_library_has_it() -> None:
    zones = NumberZones()
    count = 0
    for number in examples():
        expected = phonenumbers.timezone.time_zones_for_number(phonenumbers.parse(number))
        found = {zone.key for zone in zones.of(number)}
        assert found == set(expected) - {"Etc/Unknown"}, number[:6]
        count += 1
    assert count > 1000


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
        opens = WORK.opens_everywhere(NIGHT_ON_THE_COAST, NumberZones().of("+12025550142"))
        assert opens == datetime(2026, 3, 6, 14, tzinfo=UTC)
        opens = WORK.opens_everywhere(NIGHT_ON_THE_COAST, NumberZones().of("+12065550142"))
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
    zones = NumberZones().of(number)
    try:
        opens = wanted.opens_everywhere(now, zones)
    except NeverOpen:
        hours = (now.timestamp() + 900 * step for step in range(8 * 24 * 4))
        moments = (datetime.fromtimestamp(at, UTC) for at in hours)
        assert not any(all(wanted.opens(at, z) is None for z in zones) for at in moments)
        return
    at = opens or now
    assert at >= now
    assert [wanted.opens(at, zone) for zone in zones] == [None] * len(zones)


def test_the_table_is_in_what_is_installed() -> None:
    assert PATH.parent == Path(str(importlib.resources.files("offhook.outbound")))
