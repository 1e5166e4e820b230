"""The common beginning of the API's paths."""

import re
from typing import Final

PREFIX: Final = "/api/v1"
"""Beginning of every path of the API."""

SESSION: Final = f"{PREFIX}/session"
"""Path of signing in and out."""

_BEFORE: Final = re.compile(r"/api(/(?:calls|totals|live)(?:/.*)?)")


def moved_to(path: str) -> str | None:
    """Return the present form of a path from before the API had versions, else None."""
    old = _BEFORE.fullmatch(path)
    return None if old is None else PREFIX + old[1]
