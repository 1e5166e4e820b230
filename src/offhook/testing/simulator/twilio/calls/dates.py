"""Dates in Twilio's formats. They follow the wall clock, at any speed of a rehearsal."""

from datetime import UTC, datetime
from email.utils import format_datetime


def now() -> datetime:
    """Return the current wall-clock time."""
    return datetime.now(UTC)


def rfc2822(when: datetime) -> str:
    """Write a date as in call callbacks and in REST answers (twilio.md §4.3, §5.1)."""
    return format_datetime(when)


def iso(when: datetime) -> str:
    """Write a date as in stream callbacks (§1.10)."""
    return when.isoformat(timespec="milliseconds")
