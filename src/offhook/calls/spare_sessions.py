"""Places of second sessions in the budget that nodes share: one for each spare leg with a place."""

from collections.abc import Awaitable, Callable
from typing import Final


class SpareSessions:
    """The places that calls have for their spare legs.

    A spare leg may be refused a place, or be settled (gone, or in service) while its place is asked
    for. A place is returned once, and only if it was taken: else the call's own would be.
    """

    def __init__(
        self, take: Callable[[str], Awaitable[bool]], give_back: Callable[[str], None]
    ) -> None:
        """Both are called with a CallSid; `take` returns whether there was a place."""
        self._take: Final = take
        self._give_back: Final = give_back
        self._asking: Final[set[str]] = set()
        self._taken: Final[set[str]] = set()

    async def take(self, call_sid: str) -> bool:
        """Take a place for a call's spare leg; return whether there was one."""
        self._asking.add(call_sid)
        try:
            is_taken = await self._take(call_sid)
            is_settled = call_sid not in self._asking
        finally:
            self._asking.discard(call_sid)
        if is_taken and is_settled:
            self._give_back(call_sid)
        elif is_taken:
            self._taken.add(call_sid)
        return is_taken

    def settle(self, call_sid: str) -> None:
        """Return the place that a call has for its spare leg, as it has one leg again."""
        self._asking.discard(call_sid)
        if call_sid in self._taken:
            self._taken.remove(call_sid)
            self._give_back(call_sid)
