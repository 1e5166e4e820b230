"""Calling hours: when people may be rung, in their own time zone. No I/O."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Final, Literal, TypeAlias, get_args

Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

WEEK: Final = timedelta(days=8)
"""Span in which allowed hours are sought: a week, and one day for a clock change."""

TURNS_MAX: Final = 1000
"""Steps of the search for an hour that all zones allow; 42 zones and a week fit."""

DAYS: Final[tuple[Day, ...]] = get_args(Day)

_RANGE: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d) ?[-–] ?(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")  # noqa: RUF001 - people write the dash too


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of a day: from `begin` until before `end` (None: midnight), on days (0: Monday)."""

    begin: time = time(9)
    end: time | None = time(20)
    days: frozenset[int] = frozenset(range(7))

    def opens(self, now: datetime, zone: tzinfo) -> datetime | None:
        """Return when people in that zone may be rung next; None means now. `now` is aware."""
        here = now.astimezone(zone)
        clock = here.time()
        if (
            here.weekday() in self.days
            and clock >= self.begin
            and (self.end is None or clock < self.end)
        ):
            return None
        day = here.date()
        if clock >= self.begin:
            day += timedelta(days=1)
        while day.weekday() not in self.days:
            day += timedelta(days=1)
        return datetime.combine(day, self.begin, zone)

    def opens_everywhere(self, now: datetime, zones: Sequence[tzinfo]) -> datetime | None:
        """Return when calls are allowed next in all of these zones; None means now. `now` is aware.

        Raises NeverOpenError when the hours of the zones do not overlap within a week.
        """
        then = now
        for _ in range(TURNS_MAX):
            later = [opens for zone in zones if (opens := self.opens(then, zone)) is not None]
            if not later:
                return None if then is now else then
            then = max(later)
            if then > now + WEEK:
                break
        raise NeverOpenError


class NeverOpenError(Exception):
    """Error: no hour is allowed in all zones."""


def read_hours(hours: str, days: Iterable[Day]) -> Hours | None:
    """Return the hours of a text such as `09:00-20:00` and names of days; None: they are invalid.

    Hours are invalid when they are written otherwise, or do not end after they begin.
    """
    found = _RANGE.fullmatch(hours.strip())
    if found is None:
        return None
    begin = time(int(found[1]), int(found[2]))
    end = None if found[3] is None else time(int(found[3]), int(found[4]))
    if end is not None and end <= begin:
        return None
    return Hours(begin, end, frozenset(DAYS.index(day) for day in days))
