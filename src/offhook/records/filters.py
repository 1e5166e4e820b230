"""What the record may be asked: filters, cursors and moments, each checked before any query."""

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple, get_args

import msgspec

from offhook.call.ending import Fault
from offhook.errors import UserError
from offhook.events.types import Direction

PAGE_MAX: Final = 500
"""Calls on one page."""

TEXT_MAX: Final = 200
"""Characters of a text that is searched for."""

_MS_MAX: Final = 253_402_300_799_000
"""The last second of the year 9999."""

_E164: Final = re.compile(r"\+[1-9]\d{1,14}")
_SLUG: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_AGO: Final = re.compile(r"(\d{1,5})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which calls are meant: those that meet everything that is not None.

    `since_ms` (included) and `until_ms` (not included) are of the call's beginning, in ms since
    1970. `number` is the caller's or the called one, exactly. `text` is looked for in what was
    heard, whatever its case. `min_ms` leaves out calls that were shorter, and live ones. Raises
    UserError E-ASK-01 for what no call can meet.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    agent: str | None = None
    number: str | None = None
    direction: str | None = None
    live: bool | None = None
    slug: str | None = None
    fault: str | None = None
    text: str | None = None
    min_ms: int | None = None

    def __post_init__(self) -> None:
        for name, ms in (("since", self.since_ms), ("until", self.until_ms)):
            if ms is not None and not 0 <= ms <= _MS_MAX:
                raise _wrong(name, "lies outside of the years 1970 to 9999", "Correct the date.")
        until = _MS_MAX + 1 if self.until_ms is None else self.until_ms
        if self.since_ms is not None and self.since_ms >= until:
            raise _wrong("since", "is not before until", "Exchange the two.")
        if self.number is not None and not _is_number(self.number):
            raise _wrong(
                "number",
                "is no number in E.164",
                "Write it with + and country code, without spaces; in a URL, + is %2B.",
            )
        for name, given, known in (
            ("direction", self.direction, get_args(Direction)),
            ("fault", self.fault, get_args(Fault)),
        ):
            if given is not None and given not in known:
                raise _wrong(name, "is unknown", f"It is one of {', '.join(known)}.")
        if self.slug is not None and not _SLUG.fullmatch(self.slug):
            raise _wrong("slug", "is no slug of an ending", "They are listed in docs/errors.md.")
        if self.agent is not None and not 0 < len(self.agent) <= TEXT_MAX:
            raise _wrong("agent", "is empty or too long", "Give the name of an agent file.")
        if self.text is not None and not 0 < len(self.text.strip()) <= TEXT_MAX:
            fix = f"Give 1 to {TEXT_MAX} characters."
            raise _wrong("text", "is empty or too long", fix)
        if self.min_ms is not None and not 0 <= self.min_ms <= _MS_MAX:
            raise _wrong("min duration", "is no duration", "Give whole milliseconds, from 0.")
        for name, said in (("agent", self.agent), ("text", self.text), ("number", self.number)):
            if said is not None and "\x00" in said:
                raise _wrong(name, "holds a NUL", "Leave it out: no text here holds one.")


def _is_number(text: str) -> bool:
    """E.164, or one of those names that Twilio gives in place of a number: sip:, client:."""
    return bool(_E164.fullmatch(text)) or (text[:1].isalpha() and len(text) <= 256)


def _wrong(name: str, how: str, fix: str) -> UserError:
    return UserError("E-ASK-01", f"No calls can be looked for: {name} {how}.", fix)


def check_limit(limit: int) -> None:
    """Raises UserError E-ASK-01: so many calls do not fit on a page."""
    if not 1 <= limit <= PAGE_MAX:
        raise _wrong("limit", "is out of range", f"Give 1 to {PAGE_MAX}.")


# --- Cursors -------------------------------------------------------------------------------------


class PagePosition(NamedTuple):
    """A place in the list of calls: just behind this one."""

    started_ms: int
    sid: str


def cursor_of(position: PagePosition) -> str:
    """The text that stands for it, in which only this module reads."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def position_of(cursor: str) -> PagePosition:
    """The place that a cursor stands for. Raises UserError E-ASK-02: nobody here gave it out."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", True)
        position = msgspec.json.decode(raw, type=PagePosition)
    except (ValueError, msgspec.MsgspecError):
        # No base64, no JSON, or a CallSid that is no UTF-8: msgspec raises UnicodeDecodeError then.
        position = None
    if position is None or not 0 <= position.started_ms <= _MS_MAX or "\x00" in position.sid:
        raise UserError(
            "E-ASK-02",
            "The cursor is not one that Offhook gave out.",
            "Ask for the first page, and then with next_cursor of each answer.",
        )
    return position


# --- Moments -------------------------------------------------------------------------------------


def moment(text: str, now: datetime, zone: tzinfo | None = UTC) -> int:
    """A moment, in ms since 1970: a date or time by ISO 8601, or so long before `now`: 90m, 24h,
    7d, 2w. One without a zone is of `zone`, None being this machine's. Raises UserError E-ASK-03.
    """  # noqa: D205
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            when = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            when = datetime.fromisoformat(text)
            if when.tzinfo is None:
                when = when.replace(tzinfo=zone) if zone is not None else when.astimezone()
        return when_ms(when)
    except (ValueError, OverflowError, OSError):
        raise UserError(
            "E-ASK-03",
            "A moment is given that is no date and no time.",
            "Write 2026-11-30, 2026-11-30T14:00, 2026-11-30T14:00Z, or how long ago: 90m, 24h, 7d.",
        ) from None


def age_ms(text: str) -> int:
    """An age in ms: 90m, 24h, 7d, 2w. Raises UserError E-ERA-04."""
    ago = _AGO.fullmatch(text)
    if ago is None:
        raise UserError(
            "E-ERA-04",
            "An age is given that is none.",
            "Write a number and its unit, m, h, d or w: 90m, 12h, 90d, 2w.",
        )
    return timedelta(**{_UNITS[ago[2]]: int(ago[1])}) // timedelta(milliseconds=1)


def when_ms(when: datetime) -> int:
    """Milliseconds since 1970."""
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
