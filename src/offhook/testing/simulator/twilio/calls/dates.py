"""Dates as Twilio writes them. They are the wall clock's, which no rehearsal hurries."""

from datetime import UTC, datetime
from email.utils import format_datetime


def now() -> datetime:
    """Return what time it is."""
    return datetime.now(UTC)


def rfc2822(when: datetime) -> str:
    """Write a date as in call callbacks and in REST answers (twilio.md §4.3, §5.1)."""
    return format_datetime(when)


def iso(when: datetime) -> str:
    """Write a date as in stream callbacks (§1.10)."""
    return when.isoformat(timespec="milliseconds")
