"""Release of calls that go on in another process: in good order as this one stops, or fenced.

A released call has no CallEnded here. Its last lines are where the next owner finds them before its
stream closes, since Twilio asks at once what comes after (twilio.md §2.4).
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from offhook.calls.call_entry import CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.registry import CallRegistry

_log: Final = logging.getLogger("offhook.releasing")


ASKED_S: Final = 60.0
"""Seconds more for which a call stays whose person rings, or is being asked, for a warm transfer.

The person is hung up on when the call goes: most have answered by then.
"""

LOOK_S: Final = 0.2
"""Seconds between two looks if they have."""


class CallReleasing:
    """Release of the calls of one process.

    Args:
        registry: The calls.
        updates: Redirects calls that Twilio would else end with their stream.
        hand_over: Gives the file of a call to another process of this machine.
    """

    def __init__(
        self,
        registry: CallRegistry,
        updates: CallUpdates,
        hand_over: Callable[[str, str], bool],
    ) -> None:
        self._registry = registry
        self._updates = updates
        self._hand_over = hand_over
        self.epoch_of: Callable[[str], int] = _no_epoch
        """Returns the epoch of a call in the fleet's directory."""
        self.give_up: Callable[[str], Awaitable[None]] = _keep_the_file
        """Called with each released call before its stream closes: stores its last lines."""
        self.dropped: Callable[[str], None] = _drop_nothing
        """Called with each call that was fenced."""
        self.is_asking: Callable[[str], bool] = _asks_nobody
        """Returns whether a person rings, or is being asked, for a call."""
        self.placed: Callable[[str, str], CallEntry | None] = _placed_none
        """Takes in the call that we are placing with a token, whose CallSid a stream has told."""
        self.left: Callable[[str], None] = _drop_nothing
        """Called with each call that was released or fenced, and goes on elsewhere."""

    def can_go_on(self, entry: CallEntry) -> bool:
        """Return whether another process can go on with a call: Twilio must ask about it again."""
        return entry.handoff.is_possible

    async def release(self, call_sid: str, to: str | None = None, token: str | None = None) -> bool:
        """Give a call up in good order; return whether another process may take it now.

        `to` is the process of this machine that asks, which gets the call's file: also that of a
        call that was given up before. With a `token` the call is given up only if it waits for the
        stream that has this token.
        """
        entry = self._registry.live.get(call_sid)
        if entry is None and token is not None:
            entry = self.placed(call_sid, token)
        if entry is not None:
            if token is not None and not _is_stream_of(entry, token):
                return False
            if not self.can_go_on(entry):
                return False
            await self._release(entry, to)
            return True
        return to is not None and self._hand_over(call_sid, to)

    async def release_all(
        self,
        to: str | None = None,
        *,
        is_hurried: Callable[[], bool] = lambda: False,
        is_taken: Callable[[], bool] = lambda: True,
    ) -> None:
        """Give up all calls that another process can go on with; return when that is done.

        `to` is the process of this machine that goes on with them. Calls with an open warm transfer
        come last: after it, after ASKED_S, or once `is_hurried` returns True. They stay if nobody
        takes calls any more, which `is_taken` tells.
        """
        live = self._registry.live
        await self._release_each([sid for sid in live if not self.is_asking(sid)], to)
        for _ in range(round(ASKED_S / LOOK_S)):
            if is_hurried() or not any(map(self.is_asking, live)):
                break
            await asyncio.sleep(LOOK_S)
        if is_taken():
            await self._release_each([*live], to)

    async def _release_each(self, sids: Sequence[str], to: str | None) -> None:
        live = self._registry.live
        going = [live[sid] for sid in sids if self.can_go_on(live[sid])]
        results = await asyncio.gather(
            *(self._release(entry, to) for entry in going), return_exceptions=True
        )
        for entry, result in zip(going, results, strict=True):
            if isinstance(result, BaseException):
                sid = {"call_sid": entry.call_sid}
                _log.error("a call is not handed over", exc_info=result, extra=sid)
        if going:
            _log.info("%d calls are handed over", len(going))

    def fence(self, call_sid: str, epoch: int | None = None) -> None:
        """Drop a call without a sound, as another process has taken it over; others are ignored.

        A call from a browser goes on: its stream can come to no other process.
        News of an `epoch` before this process's own is late, and changes nothing.
        """
        entry, mine = self._registry.live.get(call_sid), self.epoch_of(call_sid)
        if entry is not None and not entry.is_telephone:
            return
        if entry is not None and entry.session is not None and (epoch is None or epoch > mine):
            entry.session.fence(mine)
            self.dropped(call_sid)
            self.left(call_sid)

    async def _release(self, entry: CallEntry, to: str | None) -> None:
        if not entry.by_webhook and entry.has_stream:
            # The document of a TwiML Bin ends with its stream: Twilio must ask what comes next.
            await self._updates.redirect(entry.call_sid, entry.handoff.after_url)
        if entry.session is None:  # It has ended meanwhile.
            return
        call_sid = entry.call_sid
        close = entry.session.release(self.epoch_of(call_sid))
        try:
            if to is None:
                await self.give_up(call_sid)
            else:
                self._hand_over(call_sid, to)
        finally:
            close()
            self.left(call_sid)


def _is_stream_of(entry: CallEntry, token: str) -> bool:
    if entry.token is None or entry.has_stream:
        return False
    return hmac.compare_digest(entry.token.encode(), token.encode())


def _no_epoch(call_sid: str) -> int:
    """Return 0, as there is no fleet."""
    return 0


def _asks_nobody(call_sid: str) -> bool:
    """Return False: there are no transfers."""
    return False


def _placed_none(call_sid: str, token: str) -> None:
    """Return None, as no call is being placed."""


def _drop_nothing(call_sid: str) -> None:
    """Do nothing: nobody else knows of the call."""


async def _keep_the_file(call_sid: str) -> None:
    """Do nothing: the next process of this machine finds the file of the call."""
