"""Cache of CallSids that were admitted once, eight bytes each."""

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

KEPT_S: Final = 24 * 3600.0
"""Seconds for which a CallSid is kept, at least: no call lasts longer (twilio.md §1.8)."""

KEPT_MAX: Final = 50_000
"""CallSids that are kept at most; the oldest half is dropped at once."""


def mark_of(call_sid: str) -> int:
    """Return the mark of a CallSid, 64 bits of its hash: Twilio draws SIDs at random."""
    digest = hashlib.sha256(call_sid.encode(errors="replace")).digest()
    return int.from_bytes(digest[:8], signed=True)


class ReplayCache:
    """CallSids that were admitted before, by their marks. `known` are marks of earlier runs."""

    def __init__(self, now: float, known: Iterable[int] = ()) -> None:
        self._young = array("q", sorted(known))
        self._old = array("q")
        self._turned_at = now

    def add(self, call_sid: str, now: float) -> None:
        """Add a CallSid, which is kept for KEPT_S to twice that, in seconds."""
        if now - self._turned_at >= KEPT_S or len(self._young) >= KEPT_MAX // 2:
            self._old, self._young = self._young, array("q")
            self._turned_at = now
        mark = mark_of(call_sid)
        self._young.insert(bisect_left(self._young, mark), mark)

    def __contains__(self, call_sid: str) -> bool:
        mark = mark_of(call_sid)
        for known in (self._young, self._old):
            place = bisect_left(known, mark)
            if place < len(known) and known[place] == mark:
                return True
        return False
