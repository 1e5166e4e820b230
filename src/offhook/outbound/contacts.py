"""A list of people to ring: a CSV file, read row by row; mistakes are reported by line.

Nothing but the file is read.
"""

import csv
import io
import re
import unicodedata
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from offhook import variables
from offhook.errors import UserError
from offhook.text.phone_numbers import E164

NUMBER: Final = "number"
CONSENT: Final = "consent"
ZONE: Final = "timezone"


FILE_MAX: Final = 64 * 1024 * 1024
"""Bytes of a list's file; a longer file is refused."""

ENDING_MIN: Final = 7
"""Digits, at least, of a number without country code that counts as the end of a whole one."""

_WRITTEN: Final = re.compile(r"(\+?)(\d+)")
"""Pattern of a number as people write it; the rest of the text is an extension."""

_PUNCTUATION: Final = str.maketrans("", "", " \t\u00a0\u202f-.()/")
"""Characters that people put between digits."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A person to ring: the row's line and its content."""

    line: int
    number: str
    zone: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is not rung, and why: in words without a number."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class ContactList:
    """The content of a list. `unused` are columns that can fill no variable."""

    people: tuple[Contact, ...]
    bad: tuple[RejectedRow, ...]
    unused: tuple[str, ...]


def read(path: Path) -> ContactList:
    """Read the list in a file: CSV in UTF-8 with a header, separated by comma, semicolon or tab.

    Raises UserError E-LIST-01 for a file that cannot be read, and E-LIST-02 for a header without
    the columns `number` and `consent`.
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
            raise UserError(
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
) -> ContactList:
    people: list[Contact] = []
    bad: list[RejectedRow] = []
    seen: dict[str, int] = {}
    objections = _Objections()
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        objections.note(line, dict(zip(lowered, (cell.strip() for cell in cells), strict=False)))
        if len(cells) != len(lowered):
            bad.append(
                RejectedRow(line, f"it has {len(cells)} cells, and the header {len(lowered)}")
            )
            continue
        fields = {low: cell.strip() for low, cell in zip(lowered, cells, strict=True)}
        number = fields[NUMBER].translate(_PUNCTUATION)
        zone = fields.get(ZONE) or None
        why = _why_not(number, fields[CONSENT], zone)
        if why is None and canonical(number) in seen:
            why = f"its number is that of line {seen[canonical(number)]}"
        if why is not None:
            bad.append(RejectedRow(line, why))
            continue
        seen[canonical(number)] = line
        given = {
            name: cell.strip()
            for name, cell in zip(taken, cells, strict=True)
            if name is not None and cell.strip()
        }
        people.append(Contact(line, number, zone, given))
    # Checked after all rows: a later row may take back the consent of an earlier one.
    rung = []
    for person in people:
        objection = objections.to(person.number)
        if objection is None:
            rung.append(person)
        else:
            why = f"line {objection} has its number too, and its consent is not yes"
            bad.append(RejectedRow(person.line, why))
    return ContactList(tuple(rung), tuple(sorted(bad, key=lambda row: row.line)), unused)


def canonical(number: str) -> str:
    """Return a number as networks have it: without a national prefix, such as +44 (0)20 has."""
    import phonenumbers  # its metadata take their time

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return number
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


class _Objections:
    """The rows whose consent is not yes, by every form in which their number may be written.

    Such a row may be written less well than those that are rung: with the digits that dial abroad,
    without a country code, with an extension. One that does not begin with + counts for each number
    that ends as it does, or as which it ends: 7 digits at least, which few people share.
    """

    def __init__(self) -> None:
        self._by_end: dict[str, list[tuple[str, int]]] = {}
        """Numbers and their lines by the last digits. A whole number begins with +."""

    def note(self, line: int, fields: Mapping[str, str]) -> None:
        """Keep a row that withdraws consent."""
        if fields.get(CONSENT, "").lower() == "yes":
            return
        written = unicodedata.normalize("NFKC", fields.get(NUMBER, "")).translate(_PUNCTUATION)
        found = _WRITTEN.search(written)
        if found is None:
            return
        digits = "".join(str(int(digit)) for digit in found[2])
        number = canonical("+" + digits) if found[1] else digits.lstrip("0")
        if len(digits) >= ENDING_MIN:
            self._by_end.setdefault(number[-ENDING_MIN:], []).append((number, line))

    def to(self, number: str) -> int | None:
        """Return the line that takes consent back for a number in E.164, if any."""
        whole = canonical(number)
        for other, line in self._by_end.get(whole[-ENDING_MIN:], ()):
            if other.startswith("+"):
                same = other == whole
            else:
                same = whole.endswith(other) or other.endswith(whole[1:])
            if same:
                return line
        return None


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
    """Yield rows, each with the line on which it begins."""
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


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(
        "E-LIST-01",
        f"The list {path} cannot be read: {why}.",
        "Name a CSV file in UTF-8, as every spreadsheet exports.",
    )
