"""A list of people to ring: a CSV file, read row by row, with what is wrong told by line. No I/O
but reading it.
"""  # noqa: D205

import csv
import io
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from offhook import variables
from offhook.errors import Problem

NUMBER: Final = "number"
CONSENT: Final = "consent"
ZONE: Final = "timezone"

E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")

FILE_MAX: Final = 64 * 1024 * 1024
"""Bytes: a longer file is no list of people."""

_PUNCTUATION: Final = str.maketrans("", "", " \t\u00a0\u202f-.()/")
"""What people put between digits."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to ring: the row's line, and what it says."""

    line: int
    number: str
    zone: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not rung, and why: in words without a number."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class People:
    """A whole list. `unused` are columns that can fill no variable."""

    people: tuple[Person, ...]
    bad: tuple[BadRow, ...]
    unused: tuple[str, ...]


def read(path: Path) -> People:
    """The list in a file: CSV with a header, separated by comma, semicolon or tab; UTF-8.

    Raises Problem E-LIST-01 for a file that cannot be read, and E-LIST-02 for a header without the
    columns `number` and `consent`.
    """
    try:
        if path.stat().st_size > FILE_MAX:
            raise _unreadable(path, "it is longer than 64 MB")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = _rows(path, text, delimiter)
    header = [name.strip() for name in next(rows, (1, []))[1]]
    lowered = [name.lower() for name in header]
    for column in (NUMBER, CONSENT):
        if lowered.count(column) != 1:
            times = "no" if column not in lowered else "more than one"
            raise Problem(
                "E-LIST-02",
                f'{path} has {times} column "{column}" in its first line.',
                "Begin it with names of columns: number, consent, then any that fill {{name}}.",
            )
    taken = [
        name if low not in (NUMBER, CONSENT, ZONE) and _is_variable(name) else None
        for name, low in zip(header, lowered, strict=True)
    ]
    unused = tuple(
        name
        for name, kept, low in zip(header, taken, lowered, strict=True)
        if kept is None and low not in (NUMBER, CONSENT, ZONE)
    )
    return _read_rows(rows, lowered, taken, unused)


def _read_rows(
    rows: Iterator[tuple[int, list[str]]],
    lowered: list[str],
    taken: list[str | None],
    unused: tuple[str, ...],
) -> People:
    people: list[Person] = []
    bad: list[BadRow] = []
    seen: dict[str, int] = {}
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(lowered):
            bad.append(BadRow(line, f"it has {len(cells)} cells, and the header {len(lowered)}"))
            continue
        fields = {low: cell.strip() for low, cell in zip(lowered, cells, strict=True)}
        number = fields[NUMBER].translate(_PUNCTUATION)
        zone = fields.get(ZONE) or None
        why = _why_not(number, fields[CONSENT], zone)
        if why is None and number in seen:
            why = f"its number is that of line {seen[number]}"
        if why is not None:
            bad.append(BadRow(line, why))
            continue
        seen[number] = line
        given = {
            name: cell.strip()
            for name, cell in zip(taken, cells, strict=True)
            if name is not None and cell.strip()
        }
        people.append(Person(line, number, zone, given))
    return People(tuple(people), tuple(bad), unused)


def _why_not(number: str, consent: str, zone: str | None) -> str | None:
    if not number:
        return "it has no number"
    if not E164.fullmatch(number):
        return (
            "its number is not in international form: + and 7 to 15 digits"
            if number.startswith("+")
            else "its number does not begin with +, so its country is not known"
        )
    if zone is not None and not _is_zone(zone):
        return "no time zone has that name; write one as Europe/Berlin"
    if consent.lower() != "yes":
        return "its consent is not yes"
    return None


def _rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows, each with the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _unreadable(path, f"line {line} is not CSV ({error})") from None
        yield line, cells
        line = reader.line_num + 1


def _is_variable(name: str) -> bool:
    return variables.NAME.fullmatch(name) is not None and name != variables.NOT_A_VARIABLE


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _unreadable(path: Path, why: str) -> Problem:
    return Problem(
        "E-LIST-01",
        f"The list {path} cannot be read: {why}.",
        "Name a CSV file in UTF-8, as every spreadsheet exports.",
    )
