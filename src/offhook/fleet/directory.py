"""The directory of calls: which process of which node has a call, and in which epoch.

Everything here is one message to PostgreSQL with a deadline (connection.py, statements.py). What
this process holds it also knows by itself (held_calls.py), so that with the database away its calls
go on; what changed meanwhile is told when it is back (settling.py).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from offhook.clock import Clock
from offhook.fleet import statements
from offhook.fleet.budget import SharedBudget
from offhook.fleet.connection import FleetConnection, Link, count_of, rows_of, together
from offhook.fleet.held_calls import HeldCalls
from offhook.fleet.places import (
    HELD_S,
    BegunCall,
    CallPlace,
    ClaimedCall,
    DirectoryAwayError,
    FleetProcess,
    NoRoom,
)
from offhook.fleet.reservations import Reservations
from offhook.fleet.settling import Settling

REAPED_AT_ONCE: Final = 10
"""Calls of a dead process that one message takes: the survivors share them."""

LOOK_S: Final = 0.2
"""Seconds between two looks if it is back."""


class CallDirectory:
    """The directory of calls, as the process with this id and node uses it.

    Attributes:
        process_id: Id of this process's journal.
        node: Name of this process's node.
        processes: The processes of the fleet by id, as of the last beat.
        held: What this process knows of its calls.
        values: Returns the values of a statement, with those of this process.
        reservations: Calls that this process is placing.
        settling: What brings the database and `held` together, on a connection.
    """

    def __init__(
        self,
        url: str,
        process_id: str,
        node: str,
        budget: SharedBudget,
        clock: Clock,
    ) -> None:
        """Take the database's URL, the id of this process's journal, its node and the budget."""
        self.process_id: Final = process_id
        self.node: Final = node
        self.processes: Mapping[str, FleetProcess] = {}
        self.budget: Final = budget
        self.values: Final[Callable[..., dict[str, Any]]] = partial(
            dict, me=process_id, budget=budget.name
        )
        self.held: Final = HeldCalls(lambda: budget.share, clock.now)
        self.connection: Final = FleetConnection(url, self._arrive, clock.now)
        self.reservations: Final = Reservations(self.connection, self.held, self.values)
        self.settling: Final = Settling(self.held, self.reservations, self.values, node, clock.now)
        self.arriving: Callable[[Link], Awaitable[None]] = self.settling.settle
        """Run first on each new connection: heartbeat.py beats."""

    @property
    def is_away(self) -> bool:
        """True while the database does not answer."""
        return bool(self.connection.problem)

    @property
    def alive(self) -> int:
        """Number of processes of the fleet that are alive, as of the last beat."""
        return sum(each.is_alive for each in self.processes.values())

    @property
    def is_taken_elsewhere(self) -> bool:
        """True if another process of the fleet takes calls, as of the last beat."""
        others = (each for each in self.processes.values() if not each.is_mine)
        return any(each.is_alive and not each.is_draining for each in others)

    async def until_back(self, is_over: Callable[[], bool]) -> None:
        """Wait until the database answers, HELD_S at most, or until `is_over` returns True."""
        for _ in range(round(HELD_S / LOOK_S)):
            if not self.is_away or is_over():
                return
            await asyncio.sleep(LOOK_S)

    def epoch_of(self, call_sid: str) -> int | None:
        """Return the epoch of a call that this process has; None for any other."""
        held = self.held.find(call_sid)
        return None if held is None else held.epoch

    # --- begin ---------------------------------------------------------------------------------

    async def begin(
        self, call_sid: str, facts: bytes, *, nonce: str | None, legs: int = 1
    ) -> BegunCall | CallPlace | NoRoom:
        """Enter a new call and take its legs from the budget; return why not, else.

        Raises DirectoryAwayError: then the call is entered by nobody, unless
        `held.begin_away` is called.
        """
        values = self.values(
            call_sid=call_sid, facts=facts, nonce=nonce, legs=legs, most=self.budget.most
        )

        async def work(link: Link) -> BegunCall | CallPlace | NoRoom:
            _, made, taken, found = await together(link, statements.BEGIN, values)
            self.budget.taken = taken[0][0]
            place = CallPlace(*found[0]) if found else None
            if made or (place is not None and place.is_mine and not place.is_over):
                epoch = made[0][0] if made else place.epoch if place is not None else 1
                self.held.hold(call_sid, epoch, facts, nonce, legs)
                return BegunCall(epoch)
            return place or NoRoom(self.budget.taken, self.budget.most or 0)

        self.held.begins(call_sid)
        try:
            return await self.connection.do(work)
        except BaseException:
            self.held.undo(call_sid)
            raise

    # --- who has it ----------------------------------------------------------------------------

    async def find(self, call_sid: str) -> CallPlace | None:
        """Return who has a call; None if nobody has, or had within the last hour.

        Raises DirectoryAwayError.
        """

        async def work(link: Link) -> CallPlace | None:
            found = await rows_of(link, statements.FIND, self.values(call_sid=call_sid))
            return CallPlace(*found[0]) if found else None

        return await self.connection.do(work)

    async def claim(
        self, call_sid: str, epoch: int, *, nonce: str | None = None
    ) -> ClaimedCall | None:
        """Take a call over that is in that epoch; None if it is not any more, or has ended.

        With a `nonce` it is claimed only by the stream that is awaited, whose token is spent by
        the same statement. Raises DirectoryAwayError.
        """

        async def work(link: Link) -> ClaimedCall | None:
            values = self.values(call_sid=call_sid, epoch=epoch, nonce=nonce)
            claimed, lines = await together(link, statements.CLAIM, values)
            found = self.held.take(claimed, lines)
            return found[0] if found else None

        return await self.connection.do(work)

    async def reap(self) -> list[ClaimedCall]:
        """Take over calls whose process is dead, some at a time. Raises DirectoryAwayError.

        None, unless this process's own heartbeat was unbroken for a whole lease.
        """

        async def work(link: Link) -> list[ClaimedCall]:
            values = self.values(held=[*self.held.sids, *self.held.ended], many=REAPED_AT_ONCE)
            reaped = await rows_of(link, statements.REAP, values)
            if not reaped:
                return []
            mine = {"call_sids": [row[0] for row in reaped]}
            return self.held.take(reaped, await rows_of(link, statements.LINES_OF, mine))

        return await self.connection.do(work)

    # --- while it is held ----------------------------------------------------------------------

    async def spend(self, call_sid: str, nonce: str) -> bool:
        """Spend the token of a call's stream; return False if it was spent, or is another's.

        Raises DirectoryAwayError.
        """
        spent = await self._change(call_sid, statements.SPEND, nonce=nonce)
        held = self.held.find(call_sid)
        if spent and held is not None and held.nonce == nonce:
            held.nonce = None
        return spent

    async def renew(self, call_sid: str, nonce: str) -> None:
        """Expect a further stream of a call, with a new token.

        With the database away it is told later, and only this process takes the stream.
        """
        held = self.held.find(call_sid)
        if held is None:
            return
        held.nonce, held.is_stale = nonce, True

        async def work(link: Link) -> bool:
            # With the legs, of which an earlier change may not be told yet.
            return await self.settling.tell(link, call_sid, held)

        with contextlib.suppress(DirectoryAwayError):
            if held.is_known and not await self.connection.do(work):
                await self.read_epochs((call_sid,))

    async def release(self, call_sid: str) -> bool:
        """Give a call up to the process that claims it; False: another process has it already.

        Raises DirectoryAwayError.
        """
        released = await self._change(call_sid, statements.RELEASE)
        if released:
            self.held.release(call_sid)
        return released

    async def add_leg(self, call_sid: str) -> bool:
        """Take one more agent session for a call from the budget; return whether there was one.

        With the database away, within this node's share.
        """
        held = self.held.find(call_sid)
        if held is None:
            return False
        try:
            return await self._change(call_sid, statements.ADD_LEG, legs=1, most=self.budget.most)
        except DirectoryAwayError:
            return self.held.add_leg_away(call_sid)

    async def return_leg(self, call_sid: str) -> None:
        """Return a session that `add_leg` took; with the database away it is told later."""
        held = self.held.find(call_sid)
        if held is None or held.legs == 0:
            return
        try:
            is_told = await self._change(call_sid, statements.RETURN_LEG, legs=-1)
        except DirectoryAwayError:
            is_told = False
        if not is_told:
            self.held.return_leg_away(call_sid)

    async def _change(self, call_sid: str, statement: str, legs: int = 0, **values: Any) -> bool:
        """Change the row of a call that is held, and its legs; return whether it was changed."""
        held = self.held.find(call_sid)
        if held is None:
            return False
        if not held.is_known:
            raise DirectoryAwayError("the call is not in the directory yet")

        async def work(link: Link) -> bool:
            given = self.values(call_sid=call_sid, epoch=held.epoch, **values)
            changed = await count_of(link, statement, given) > 0
            # Inside of this message: the next one may tell the legs.
            held.legs += legs if changed else 0
            return changed

        changed = await self.connection.do(work)
        if not changed:
            await self.read_epochs((call_sid,))
        return changed

    # --- what is learnt, and told later -----------------------------------------------------------

    async def read_epochs(self, call_sids: Sequence[str] | None = None) -> None:
        """Find out which of the calls here, or of these, another process has by now.

        `fenced` is called for each. Raises DirectoryAwayError.
        """

        async def work(link: Link) -> None:
            await self.settling.read_epochs(link, call_sids)

        await self.connection.do(work)

    async def tell_ended(self) -> None:
        """Tell the database of the calls that have ended. Raises DirectoryAwayError."""
        if self.held.ended:
            await self.connection.do(self.settling.tell_ended)

    async def settle(self) -> None:
        """Bring the directory and what is known here together. Raises DirectoryAwayError."""
        await self.connection.do(self.settling.settle)

    async def _arrive(self, link: Link) -> None:
        """Do what comes first on each new connection."""
        await count_of(link, statements.BUDGET_ROW, self.values())
        await self.arriving(link)
