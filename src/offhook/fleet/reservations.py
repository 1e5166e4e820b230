"""Reservations of calls that are being placed, whose CallSid is not known until Twilio answers.

A call counts in the budget from before it is dialled, and any node may get its stream first. So its
row is entered under a name made of its token's nonce, and gets its CallSid by the process that
learns it first: the process that placed it, by Twilio's answer, or another one, by the stream.
"""

from collections.abc import Callable
from typing import Any

from offhook.fleet import statements
from offhook.fleet.connection import FleetConnection, Link, together
from offhook.fleet.held_calls import HeldCall, HeldCalls
from offhook.fleet.places import (
    RESERVATION,
    RESERVED_S,
    CallPlace,
    ClaimedCall,
    DirectoryAwayError,
    reservation,
)


class Reservations:
    """Reservations of the process that holds `held`.

    Args:
        connection: The connection to the directory.
        held: What the process knows of its calls.
        values: Returns the values of a statement, with those of the process.
    """

    def __init__(
        self,
        connection: FleetConnection,
        held: HeldCalls,
        values: Callable[..., dict[str, Any]],
    ) -> None:
        self._connection = connection
        self._held = held
        self._values = values

    async def name(self, call_sid: str, facts: bytes, nonce: str) -> bool:
        """Give a placed call its CallSid; return False if another process has the call by now.

        With the database away this process has it until the directory can say.
        """
        reserved = reservation(nonce)

        async def work(link: Link) -> bool:
            place = await self._named(link, reserved, call_sid, facts)
            if self._held.find(call_sid) is not None:
                return True
            self._held.forget(reserved)
            if place is not None and (place.is_over or not place.is_mine):
                return False
            # Inside of this message: the next one may look for what this process does not hold.
            self._hold(call_sid, facts, nonce, place)
            return True

        try:
            return await self._connection.do(work)
        except DirectoryAwayError:
            if self._held.find(call_sid) is None:
                self._held.forget(reserved)
                self._hold(call_sid, facts, nonce, None)
            return True

    async def claim(self, call_sid: str, nonce: str) -> ClaimedCall | None:
        """Take a call that another process places, by its stream; None for an unknown token.

        Its token is spent by the same statement. Raises DirectoryAwayError.
        """

        async def work(link: Link) -> ClaimedCall | None:
            values = self._values(call_sid=call_sid, reserved=reservation(nonce), nonce=nonce)
            (claimed,) = await together(link, statements.CLAIM_RESERVED, values)
            found = self._held.take(claimed, [])
            return found[0] if found else None

        return await self._connection.do(work)

    async def settle(self, link: Link, call_sid: str, held: HeldCall, now: float) -> None:
        """Name a call that got its CallSid while the database was away; end what is too old."""
        if call_sid.startswith(RESERVATION):
            if now - held.since > RESERVED_S:  # its token is not good any more
                self._held.end(call_sid)
        elif held.reserved:
            place = await self._named(link, held.reserved, call_sid, held.facts)
            if self._held.find(call_sid) is not held:
                return  # It has ended meanwhile, which is told under both names.
            held.reserved = ""
            if place is not None and (place.is_over or not place.is_mine):
                self._held.lose(call_sid)
            elif place is not None:
                held.epoch, held.is_known = place.epoch, True

    async def _named(
        self, link: Link, reserved: str, call_sid: str, facts: bytes
    ) -> CallPlace | None:
        values = self._values(call_sid=call_sid, reserved=reserved, facts=facts)
        _, found = await together(link, statements.NAME, values)
        return CallPlace(*found[0]) if found else None

    def _hold(self, call_sid: str, facts: bytes, nonce: str, place: CallPlace | None) -> None:
        held = self._held.hold(
            call_sid,
            1 if place is None else place.epoch,
            facts,
            nonce,
            1,
            is_known=place is not None,
        )
        if place is None:
            held.reserved = reservation(nonce)
