"""Dates as Twilio writes them. They are the wall clock's, which no rehearsal hurries."""

from datetime import UTC, datetime
from email.utils import format_datetime


def now() -> datetime:
    """What time it is."""
    return datetime.now(UTC)


def rfc2822(when: datetime) -> str:
    """As in call callbacks and in REST answers (twilio.md §4.3, §5.1)."""
    return format_datetime(when)


def iso(when: datetime) -> str:
    """As in stream callbacks (§1.10)."""
    return when.isoformat(timespec="milliseconds")
