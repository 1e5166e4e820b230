"""Pages of the list of calls: how long one may be, and the cursor that asks for the next."""

import base64
from typing import Final, NamedTuple

import msgspec

from offhook.errors import UserError
from offhook.records.filters import MS_MAX, wrong

PAGE_MAX: Final = 500
"""Calls on one page."""


def check_limit(limit: int) -> None:
    """Raise UserError E-ASK-01 when that many calls do not fit on a page."""
    if not 1 <= limit <= PAGE_MAX:
        raise wrong("limit", "is out of range", f"Give 1 to {PAGE_MAX}.")


class PagePosition(NamedTuple):
    """A position in the list of calls: just behind the call with these values."""

    started_ms: int
    sid: str


def cursor_of(position: PagePosition) -> str:
    """Return the text that stands for a position; only this module reads it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def position_of(cursor: str) -> PagePosition:
    """Return the position of a cursor. Raises UserError E-ASK-02 for any other text."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", True)
        position = msgspec.json.decode(raw, type=PagePosition)
    except (ValueError, msgspec.MsgspecError):
        # No base64, no JSON, or a CallSid that is no UTF-8: msgspec raises UnicodeDecodeError then.
        position = None
    if position is None or not 0 <= position.started_ms <= MS_MAX or "\x00" in position.sid:
        raise UserError(
            "E-ASK-02",
            "The cursor is not one that Offhook gave out.",
            "Ask for the first page, and then with next_cursor of each answer.",
        )
    return position
