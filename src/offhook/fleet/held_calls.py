"""Calls that a process has, and those that have ended here, as it knows them by itself.

No database is asked here: with it away the process's calls go on by this. settling.py brings both
together when it is back.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from offhook.fleet.places import BegunCall, ClaimedCall, NoRoom
from offhook.journal.entries import InheritedLine

_log: Final = logging.getLogger("offhook.fleet")

ENDED_MAX: Final = 10_000
"""Ended calls that wait for the database to be told; the oldest beyond are reaped by lease."""

BEGUN: Final = b'["CallBegan"'
"""Beginning of the line of a call's begin, which is for the record alone."""


@dataclass(slots=True)
class HeldCall:
    """A call that this process has.

    Attributes:
        epoch: Number of the ownership.
        since: Begin of the call, by the monotonic clock.
        facts: The call's facts, as of now.
        nonce: Nonce of the stream that is awaited.
        legs: Agent sessions that count for it.
        is_known: False while the database does not know the call.
        before: The process that had it, for a file taken while the database was away.
        until: Time by the monotonic clock until which an earlier process of this node, which the
            database names, may be dead with its lease still running; None before the first look.
        is_stale: True if nonce and legs are to be told.
        reserved: The call's name in the database until it is told the CallSid; empty: it knows it.
    """

    epoch: int
    since: float
    facts: bytes = field(repr=False)
    nonce: str | None = field(repr=False)
    legs: int
    is_known: bool = True
    before: str = ""
    until: float | None = None
    is_stale: bool = False
    reserved: str = ""


def _nothing(call_sid: str) -> None:
    """Do nothing with a call that was lost to another process."""


class HeldCalls:
    """The calls of one process.

    Attributes:
        beside: Returns the number of live calls of this node's other processes, with which this one
            shares the node's sessions while the database is away.
        fenced: Called with each call that another process has in a higher epoch. It is not held
            here any more.
        let_go: Called with each call that this process has no longer, though it goes on.
        wake: Called when there is something to tell: live_lines.py tells it soon.
    """

    def __init__(self, share: Callable[[], int | None], now: Callable[[], float]) -> None:
        """Take what returns the node's share, None for no limit, and `now`, the monotonic clock."""
        self.beside: Callable[[], int] = lambda: 0
        self.fenced: Callable[[str], None] = _nothing
        self.let_go: Callable[[str], None] = _nothing
        self.wake: Callable[[], None] = lambda: None
        self._share = share
        self._now = now
        self._held: dict[str, HeldCall] = {}
        self._ended: dict[str, int] = {}

    @property
    def sids(self) -> Sequence[str]:
        """The calls that this process has."""
        return tuple(self._held)

    @property
    def all(self) -> Mapping[str, HeldCall]:
        """The calls that this process has, as they are now."""
        return dict(self._held)

    @property
    def ended(self) -> Mapping[str, int]:
        """Epochs of ended calls of which the database is to be told."""
        return dict(self._ended)

    @property
    def legs(self) -> int:
        """Number of agent sessions that count for these calls."""
        return sum(held.legs for held in self._held.values())

    def find(self, call_sid: str) -> HeldCall | None:
        """Return what is known of a call; None for one that this process does not have."""
        return self._held.get(call_sid)

    def hold(
        self,
        call_sid: str,
        epoch: int,
        facts: bytes,
        nonce: str | None,
        legs: int,
        *,
        age_s: float = 0.0,
        is_known: bool = True,
        before: str = "",
    ) -> HeldCall:
        """Note that this process has a call, and return what it knows of it."""
        held = HeldCall(epoch, self._now() - age_s, facts, nonce, legs, is_known, before)
        self._held[call_sid] = held
        return held

    def begins(self, call_sid: str) -> None:
        """Note that a call is about to begin: an earlier end of its is not told any more."""
        self._ended.pop(call_sid, None)

    def begin_away(self, call_sid: str, facts: bytes, *, nonce: str | None) -> BegunCall | NoRoom:
        """Take a new call in while the database is away, within this node's share of the budget.

        It is entered when the database is back.
        """
        share = self._share()
        if share is not None and not self._has_room_away():
            return NoRoom(self.legs + self.beside(), share)
        self.begins(call_sid)
        self.hold(call_sid, 1, facts, nonce, 1, is_known=False)
        return BegunCall(1)

    def claim_away(
        self, call_sid: str, before: str, epoch: int, facts: bytes, *, nonce: str | None
    ) -> None:
        """Hold a call of a process of this machine that is dead or drains, whose file was taken.

        `before` is that process, and `epoch` follows the last one that its file tells of. When the
        database is back the call is claimed in that epoch, or found to be another's, which
        `fenced` tells.
        """
        self.hold(call_sid, epoch, facts, nonce, 1, is_known=False, before=before)

    def take(
        self, claimed: Sequence[tuple[Any, ...]], lines: Sequence[tuple[Any, ...]]
    ) -> list[ClaimedCall]:
        """Hold calls that a statement has claimed, and return them with their lines."""
        found: list[ClaimedCall] = []
        for call_sid, epoch, facts, age_s, nonce, before, node in claimed:
            inherited = [InheritedLine(*each) for of, *each in lines if of == call_sid]
            kept = [facts] if facts is not None else []
            kept += [each.line for each in inherited if not each.line.startswith(BEGUN)]
            self.hold(call_sid, epoch, facts or b"", nonce, 1, age_s=age_s)
            self.begins(call_sid)
            found.append(ClaimedCall(call_sid, epoch, kept, inherited, age_s, nonce, before, node))
        return found

    def add_leg_away(self, call_sid: str) -> bool:
        """Take a further session for a call, if there is one within this node's share."""
        held = self._held.get(call_sid)
        if held is None or not self._has_room_away():
            return False
        held.legs, held.is_stale = held.legs + 1, True
        return True

    def return_leg_away(self, call_sid: str) -> None:
        """Return a further session of a call while the database is away."""
        held = self._held.get(call_sid)
        if held is not None and held.legs > 0:
            held.legs, held.is_stale = held.legs - 1, True

    def _has_room_away(self) -> bool:
        """Return whether a further session is within this node's share."""
        share = self._share()
        return share is None or self.legs + self.beside() < share

    def spend_away(self, call_sid: str, nonce: str) -> bool:
        """Spend a token that this process has issued, while the database is away."""
        held = self._held.get(call_sid)
        if held is None or held.nonce is None or held.nonce != nonce:
            return False
        held.nonce, held.is_stale = None, True
        return True

    def note_facts(self, call_sid: str, facts: bytes) -> None:
        """Note the facts of a call as they are now; live_lines.py tells the database."""
        held = self._held.get(call_sid)
        if held is not None:
            held.facts = facts

    # --- calls that are here no longer ---------------------------------------------------------

    def forget(self, call_sid: str) -> None:
        """Forget a call that this process has not begun."""
        self._held.pop(call_sid, None)

    def release(self, call_sid: str) -> None:
        """Forget a call that was given up for another process to claim."""
        self._held.pop(call_sid, None)
        self.let_go(call_sid)

    def lose(self, call_sid: str) -> None:
        """Forget a call that another process has, and tell `fenced`."""
        if self._held.pop(call_sid, None) is None:
            return  # It has ended meanwhile.
        self.let_go(call_sid)
        _log.warning("another process has taken a call over", extra={"call_sid": call_sid})
        try:
            self.fenced(call_sid)
        except Exception:  # noqa: BLE001 - one call's fault must not keep the others in the dark
            _log.exception("a fault while a fenced call was dropped", extra={"call_sid": call_sid})

    def end(self, call_sid: str) -> None:
        """Note that a call is over: its lines and legs go with the next message, within 0.5 s."""
        held = self._held.pop(call_sid, None)
        if held is not None:
            self._tell_end(call_sid, held, held.epoch)

    def undo(self, call_sid: str) -> None:
        """End a call whose begin failed: it may have been entered all the same."""
        self._tell_end(call_sid, self._held.pop(call_sid, None), epoch=1)

    def told(self, ended: Mapping[str, int]) -> None:
        """Forget ends of which the database was told."""
        for call_sid, epoch in ended.items():
            if self._ended.get(call_sid) == epoch:
                del self._ended[call_sid]

    def _tell_end(self, call_sid: str, held: HeldCall | None, epoch: int) -> None:
        # Also of a call that is not known yet: it may be entered or named at this moment.
        names = (call_sid, held.reserved) if held is not None and held.reserved else (call_sid,)
        for name in names:
            if len(self._ended) >= ENDED_MAX:
                del self._ended[next(iter(self._ended))]
            self._ended[name] = epoch
        self.wake()
