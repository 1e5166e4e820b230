"""Filters of calls and the times in them, checked before any query.

FILTER_FIELDS declares each filter once: the query parameters of the API and the options of the
command line derive from the table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, NamedTuple, Self, get_args

from offhook.errors import UserError

TEXT_MAX: Final = 200
"""Characters of a text that is searched for."""


class FilterField(NamedTuple):
    """A filter of calls that the API and the command line offer.

    `option` and `metavar` are the command line's; an option without a name of its own is `--name`.
    """

    name: str
    kind: type[str | bool | int]
    help: str
    metavar: str | None = None
    option: str | None = None
    example: str | None = None


FILTER_FIELDS: Final = (
    FilterField(
        "since",
        str,
        "Calls that began at this time or later: ISO 8601, or an age such as 90m, 24h or 7d.",
        "TIME",
    ),
    FilterField("until", str, "Calls that began before this time.", "TIME"),
    FilterField("agent", str, "Calls that this agent answered.", "NAME"),
    FilterField(
        "number", str, "Calls from or to this number, in E.164 form.", "+…", None, "+12025550142"
    ),
    FilterField("direction", str, "Calls of this direction: inbound or outbound.", "WAY"),
    FilterField("live", bool, "Only live calls, or only ended calls.", None, "--live/--over"),
    FilterField(
        "slug",
        str,
        "Calls with this ending, such as caller_hung_up.",
        "SLUG",
        None,
        "caller_hung_up",
    ),
    FilterField(
        "fault",
        str,
        "Calls ended by this party: nobody (a normal end), caller, twilio, agent, offhook or"
        " operator.",
        "WHO",
    ),
    FilterField("text", str, "Calls in which this text was heard, in any case.", "TEXT"),
    FilterField("min_ms", int, "Calls that lasted at least this long.", None, "--min-seconds"),
    FilterField(
        "figure",
        str,
        "Calls that this figure of quality is made of, such as barge_ins: calls with at least one.",
        "NAME",
        None,
        "barge_ins",
    ),
)


MS_MAX: Final = 253_402_300_799_000
"""The last second of the year 9999, in ms since 1970."""

_NUMBER: Final = re.compile(r"\+[1-9][0-9]{1,14}")
"""Pattern of a number; it may be too short for E.164: carriers let callers show such numbers."""

_AGO: Final = re.compile(r"([0-9]{1,5})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Conditions on calls: a call must meet each that is not None.

    `since_ms` (included) and `until_ms` (not included) are of the call's beginning, in ms since
    1970. `number` is the caller's or the called one, exactly. `text` is looked for in what was
    heard, whatever its case. `min_ms` leaves out calls that were shorter, and live ones. `figure`
    is one of figures.FIGURES. Raises UserError E-ASK-01 for what no call can meet.
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
    figure: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any], now: datetime, zone: tzinfo | None = UTC) -> Self:
        """Return the filter that values of FILTER_FIELDS mean; a time without a zone is of `zone`.

        Raises UserError E-ASK-01, and E-ASK-03 for an invalid time.
        """
        values = {field.name: given[field.name] for field in FILTER_FIELDS}
        for name in ("since", "until"):
            text = values.pop(name)
            values[f"{name}_ms"] = None if text is None else moment(text, now, zone)
        return cls(**values)

    def __post_init__(self) -> None:
        for name, ms in (("since", self.since_ms), ("until", self.until_ms)):
            if ms is not None and not 0 <= ms <= MS_MAX:
                raise wrong(name, "lies outside of the years 1970 to 9999", "Correct the date.")
        until = MS_MAX + 1 if self.until_ms is None else self.until_ms
        if self.since_ms is not None and self.since_ms >= until:
            raise wrong("since", "is not before until", "Exchange the two.")
        if self.number is not None and not _is_number(self.number):
            raise wrong(
                "number",
                "is no number in E.164",
                "Write it with + and country code, without spaces; in a URL, + is %2B.",
            )
        self._check_known_words()
        self._check_figure()
        if self.agent is not None and not 0 < len(self.agent) <= TEXT_MAX:
            raise wrong("agent", "is empty or too long", "Give the name of an agent file.")
        if self.text is not None and not 0 < len(self.text.strip()) <= TEXT_MAX:
            fix = f"Give 1 to {TEXT_MAX} characters."
            raise wrong("text", "is empty or too long", fix)
        if self.min_ms is not None and not 0 <= self.min_ms <= MS_MAX:
            raise wrong("min duration", "is no duration", "Give whole milliseconds, from 0.")
        for name, said in (("agent", self.agent), ("text", self.text), ("number", self.number)):
            if said is not None and "\x00" in said:
                raise wrong(name, "holds a NUL", "Leave it out: no text here holds one.")

    def _check_figure(self) -> None:
        if self.figure is None:
            return
        from offhook.records.figures import FIGURES  # SQLAlchemy comes with it

        if self.figure not in FIGURES:
            raise wrong("figure", "is unknown", f"It is one of {', '.join(FIGURES)}.")

    def _check_known_words(self) -> None:
        if self.direction is None and self.fault is None and self.slug is None:
            return
        from offhook.call.ending import Fault, Slug  # all types of events come with it
        from offhook.events.types import Direction

        slugs = {each.slug for each in Slug}
        if self.slug is not None and self.slug not in slugs:
            from offhook.yamlfile import did_you_mean

            fix = did_you_mean(self.slug, slugs, "They are listed in docs/errors.md.")
            raise wrong("slug", "is no slug of an ending", fix)

        for name, given, known in (
            ("direction", self.direction, get_args(Direction)),
            ("fault", self.fault, get_args(Fault)),
        ):
            if given is not None and given not in known:
                raise wrong(name, "is unknown", f"It is one of {', '.join(known)}.")


def _is_number(text: str) -> bool:
    """Return whether a text is E.164, or a name that Twilio gives instead: sip:, client:."""
    return bool(_NUMBER.fullmatch(text)) or (text[:1].isalpha() and len(text) <= 256)


def wrong(name: str, how: str, fix: str) -> UserError:
    """Return the UserError E-ASK-01 of a value that no call can meet."""
    return UserError("E-ASK-01", f"No calls can be looked for: {name} {how}.", fix)


# --- Times ---------------------------------------------------------------------------------------


def moment(text: str, now: datetime, zone: tzinfo | None = UTC) -> int:
    """Return a time in ms since 1970: ISO 8601, or an age before `now` such as 90m, 24h, 7d, 2w.

    A time without a zone is of `zone`; None is this machine's. Raises UserError E-ASK-03.
    """
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
    """Return an age in ms: 90m, 24h, 7d, 2w. Raises UserError E-ERA-04."""
    ago = _AGO.fullmatch(text)
    if ago is None:
        raise UserError(
            "E-ERA-04",
            "The age is not valid.",
            "Write a number and its unit, m, h, d or w: 90m, 12h, 90d, 2w.",
        )
    return timedelta(**{_UNITS[ago[2]]: int(ago[1])}) // timedelta(milliseconds=1)


def when_ms(when: datetime) -> int:
    """Return the milliseconds since 1970."""
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
