"""Synchronization of the directory with what a process knows by itself, on one connection."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from offhook.fleet import statements
from offhook.fleet.connection import Link, count_of, rows_of
from offhook.fleet.held_calls import HeldCall, HeldCalls
from offhook.fleet.places import LEASE_S, RESERVATION, CallPlace
from offhook.fleet.reservations import Reservations


class Settling:
    """Settling of the calls that a process of `node` has. Each method is work on a connection.

    Args:
        held: What the process knows of its calls.
        reservations: The calls that it is placing.
        values: Returns the values of a statement, with those of the process.
        node: The name of its node.
        now: The monotonic clock.
    """

    def __init__(
        self,
        held: HeldCalls,
        reservations: Reservations,
        values: Callable[..., dict[str, Any]],
        node: str,
        now: Callable[[], float],
    ) -> None:
        self._held = held
        self._reservations = reservations
        self._values = values
        self._node: Final = node
        self._now = now

    async def settle(self, link: Link) -> None:
        """Tell what has changed here, and learn which of the calls here others have by now."""
        await self.tell_ended(link)
        await self.read_epochs(link)
        for call_sid, held in self._held.all.items():
            await self._reservations.settle(link, call_sid, held, self._now())
            if held.before:
                await self._claim_late(link, call_sid, held)
            if held.is_known and held.is_stale:
                await self.tell(link, call_sid, held)
        await self._enter(link)

    async def tell(self, link: Link, call_sid: str, held: HeldCall) -> bool:
        """Tell the nonce and legs of a call; return False if another process has its row."""
        given = self._values(call_sid=call_sid, epoch=held.epoch, nonce=held.nonce, legs=held.legs)
        is_told = await count_of(link, statements.TELL, given) > 0
        # Of a row that is another's nothing is to be told, unless it changes again.
        held.is_stale = (held.nonce, held.legs) != (given["nonce"], given["legs"])
        return is_told

    async def tell_ended(self, link: Link) -> None:
        """Tell of the calls that have ended."""
        ended = self._held.ended
        if ended:
            given = self._values(call_sids=[*ended], epochs=[*ended.values()])
            await count_of(link, statements.END, given)
            self._held.told(ended)

    async def read_epochs(self, link: Link, call_sids: Sequence[str] | None = None) -> None:
        """Find out which of the calls here, or of these, another process has by now."""
        asked = [*(self._held.sids if call_sids is None else call_sids)]
        if not asked:
            return
        rows = await rows_of(link, statements.EPOCHS, self._values(call_sids=asked))
        found = {call_sid: (epoch, is_mine) for call_sid, epoch, is_mine in rows}
        for call_sid in asked:
            held = self._held.find(call_sid)
            if held is None or held.before:
                continue  # it has no epoch of its own before it is claimed
            epoch, is_mine = found.get(call_sid, (0, False))
            if epoch > held.epoch:
                self._held.lose(call_sid)
            elif epoch == 0 and held.is_known and call_sid.startswith(RESERVATION):
                self._held.forget(call_sid)  # its stream has brought another process the call
            elif epoch == 0:
                held.is_known = False  # the database lost it, as after a fail-over: enter it again
            elif is_mine:
                held.is_known = True

    async def _claim_late(self, link: Link, call_sid: str, held: HeldCall) -> None:
        """Claim a call whose file was taken while the database was away, or find whose it is."""
        given = self._values(
            call_sid=call_sid,
            node=self._node,
            before=held.before,
            epoch=held.epoch,
            nonce=held.nonce,
        )
        claimed = await rows_of(link, statements.CLAIM_LATE, given)
        if claimed:
            held.epoch, held.is_known, held.before = claimed[0][0], True, ""
            return
        found = await rows_of(link, statements.FIND, self._values(call_sid=call_sid))
        if not found:
            held.before = ""  # it began while the database was away: it is entered
            return
        place = CallPlace(*found[0])
        if place.is_mine and not place.is_over:  # the answer to an earlier claim was lost
            held.epoch, held.is_known, held.before = place.epoch, True, ""
            held.is_stale = True
            return
        # The row may name a process of this machine that had died before the file's.
        now = self._now()
        if held.until is None:
            held.until = now + LEASE_S
        is_open = place.node == self._node and place.epoch < held.epoch and now < held.until
        if place.is_over or not is_open:
            self._held.lose(call_sid)

    async def _enter(self, link: Link) -> None:
        """Enter the calls that the database does not know."""
        new = {sid: held for sid, held in self._held.all.items() if not held.is_known}
        if not new:
            return
        now = self._now()
        given = self._values(
            call_sids=[*new],
            epochs=[held.epoch for held in new.values()],
            nonces=[held.nonce for held in new.values()],
            legs=[held.legs for held in new.values()],
            facts=[held.facts for held in new.values()],
            ages=[now - held.since for held in new.values()],
        )
        await count_of(link, statements.ENTER, given)
        await self.read_epochs(link, [*new])
