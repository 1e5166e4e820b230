"""Time zones of phone numbers by prefix: zones.txt, from libphonenumber."""

import zoneinfo
from collections.abc import Mapping
from importlib import resources
from typing import Final

import phonenumbers

LONGEST: Final = 9
"""Digits of the longest prefix in the table."""


def read_table() -> Mapping[str, tuple[str, ...]]:
    """Return names of time zones by the first digits of a number, country code first."""
    text = resources.files("offhook.outbound").joinpath("zones.txt").read_text("ascii")
    lines = [line for line in text.split("\n") if not line.startswith("#")]
    end = lines.index("")
    names = lines[:end]
    table: dict[str, tuple[str, ...]] = {}
    for line in filter(None, lines[end + 1 :]):
        places, _, prefixes = line.partition(":")
        zones = tuple(names[int(place)] for place in places.split())
        table |= dict.fromkeys(prefixes.split(), zones)
    return table


class NumberZones:
    """Time zones of numbers. The table is read at the first use."""

    def __init__(self) -> None:
        self._table: Mapping[str, tuple[str, ...]] = {}

    def of(self, number: str) -> tuple[zoneinfo.ZoneInfo, ...]:
        """Return every time zone in which a number in E.164 may be; none: they are not known.

        Of a number that belongs to no place (toll-free, most countries' mobile numbers), these are
        the zones of its country code. So are they for a number that is shorter than its prefix.
        """
        if not self._table:
            self._table = read_table()
        try:
            parsed = phonenumbers.parse(number)
        except phonenumbers.NumberParseException:
            return ()
        kind, code = phonenumbers.number_type(parsed), parsed.country_code
        if kind == phonenumbers.PhoneNumberType.UNKNOWN or code is None:
            return ()
        digits = str(code)
        if phonenumbers.is_number_type_geographical(kind, code):
            digits = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)[1:]
        for length in range(min(LONGEST, len(digits)), 0, -1):
            names = self._table.get(digits[:length])
            if names is not None:
                return _known(names)
        return ()


def _known(names: tuple[str, ...]) -> tuple[zoneinfo.ZoneInfo, ...]:
    """Return the zones; none if this machine's database lacks one of them."""
    try:
        return tuple(zoneinfo.ZoneInfo(name) for name in names)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return ()
