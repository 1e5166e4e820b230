"""Requests that were made of a call, and who waits for its reply."""

from collections.abc import Callable


class PendingReplies:
    """Requests of one call that have no reply yet, by number."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int, Callable[[bool, str], None]] = {}

    def add(self, replied: Callable[[bool, str], None]) -> int:
        """Return the number of a new request; `replied` is called once."""
        self._last += 1
        self._waiting[self._last] = replied
        return self._last

    def reply(self, number: int, done: bool, what: str) -> None:
        """Tell whether a request was done, and what happened."""
        self._waiting.pop(number)(done, what)

    def refuse(self, why: str) -> None:
        """Refuse all that still wait."""
        for replied in self._waiting.values():
            replied(False, why)
        self._waiting.clear()
