"""The directory of calls: which process of which node has a call, and in which epoch.

Everything here is one message to PostgreSQL with a deadline (connection.py, statements.py). What
this process holds it also knows by itself, so that with the database away its calls go on; what
changed meanwhile is told when it is back.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from offhook.clock import Clock
from offhook.fleet import statements
from offhook.fleet.budget import SharedBudget
from offhook.fleet.connection import FleetConnection, Link, count_of, rows_of, together
from offhook.fleet.held import HeldCall
from offhook.fleet.places import (
    LEASE_S,
    RESERVATION,
    BegunCall,
    CallPlace,
    ClaimedCall,
    DirectoryAwayError,
    FleetProcess,
    NoRoom,
)
from offhook.fleet.reservations import Reservations
from offhook.journal.entries import InheritedLine

_log: Final = logging.getLogger("offhook.fleet")

REAPED_AT_ONCE: Final = 10
"""Calls of a dead process that one message takes: the survivors share them."""

ENDED_MAX: Final = 10_000
"""Ended calls that wait for the database to be told; the oldest beyond are reaped by lease."""


BEGUN: Final = b'["CallBegan"'
"""Beginning of the line of a call's begin, which is for the record alone."""


def _nothing(call_sid: str) -> None:
    """Do nothing with a call that was lost to another process."""


class CallDirectory:
    """The directory of calls, as the process with this id and node uses it.

    Attributes:
        process_id: Id of this process's journal.
        node: Name of this process's node.
        processes: The processes of the fleet by id, as of the last beat.
        fenced: Called with each call that another process has in a higher epoch. It is not held
            here any more.
        taken: Agent sessions of the project that are taken, as of the last message.
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
        self.fenced: Callable[[str], None] = _nothing
        self.budget: Final = budget
        self.wake: Callable[[], None] = lambda: None
        """Called when there is something to tell: live_lines.py tells it soon."""
        self.let_go: Callable[[str], None] = _nothing
        """Called with each call that this process has no longer, though it goes on."""
        self.arriving: Callable[[Link], Awaitable[None]] = self.settle_on
        """Run first on each new connection: heartbeat.py beats."""
        self.connection: Final = FleetConnection(url, self._arrive, clock.now)
        self._now = clock.now
        self._held: dict[str, HeldCall] = {}
        self.reservations: Final = Reservations(self)
        """Calls that this process is placing."""
        self._ended: dict[str, int] = {}

    @property
    def is_away(self) -> bool:
        """True while the database does not answer."""
        return bool(self.connection.problem)

    @property
    def alive(self) -> int:
        """Number of processes of the fleet that are alive, as of the last beat."""
        return sum(each.is_alive for each in self.processes.values())

    @property
    def held(self) -> Sequence[str]:
        """The calls that this process has."""
        return tuple(self._held)

    def epoch_of(self, call_sid: str) -> int | None:
        """Return the epoch of a call that this process has; None for any other."""
        held = self._held.get(call_sid)
        return None if held is None else held.epoch

    def holds(self, call_sid: str, held: HeldCall) -> bool:
        """Return whether this process has a call still, as it is noted in `held`."""
        return self._held.get(call_sid) is held

    # --- begin and end -------------------------------------------------------------------------

    async def begin(
        self, call_sid: str, facts: bytes, *, nonce: str | None, legs: int = 1
    ) -> BegunCall | CallPlace | NoRoom:
        """Enter a new call and take its legs from the budget; return why not, else.

        Raises DirectoryAwayError: then the call is entered by nobody, unless `begin_away` is
        called.
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
                self.hold(call_sid, epoch, facts, nonce, legs)
                return BegunCall(epoch)
            return place or NoRoom(self.budget.taken, self.budget.most or 0)

        self._ended.pop(call_sid, None)
        try:
            return await self.connection.do(work)
        except BaseException:
            # It may have been entered all the same.
            self._on_ended(call_sid, self._held.pop(call_sid, None), epoch=1)
            raise

    def begin_away(
        self, call_sid: str, facts: bytes, *, nonce: str | None, legs: int = 1
    ) -> BegunCall | NoRoom:
        """Take a new call in while the database is away, within this node's share of the budget.

        It is entered when the database is back.
        """
        taken = sum(held.legs for held in self._held.values())
        share = self.budget.share
        if share is not None and taken + legs > share:
            return NoRoom(taken, share)
        self._ended.pop(call_sid, None)
        self.hold(call_sid, 1, facts, nonce, legs, is_known=False)
        return BegunCall(1)

    def claim_away(
        self, call_sid: str, before: str, epoch: int, facts: bytes, *, nonce: str | None
    ) -> None:
        """Hold a call of a dead process of this machine, whose file was taken, for now.

        `before` is that process, and `epoch` follows the last one that its file tells of. When the
        database is back the call is claimed in that epoch, or found to be another's, which
        `fenced` tells.
        """
        self.hold(call_sid, epoch, facts, nonce, 1, is_known=False, before=before)

    def end(self, call_sid: str) -> None:
        """Note that a call is over: its lines and legs go with the next message, within 0.5 s."""
        held = self._held.pop(call_sid, None)
        if held is not None:
            self._on_ended(call_sid, held, held.epoch)

    def _on_ended(self, call_sid: str, held: HeldCall | None, epoch: int) -> None:
        # Also of a call that is not known yet: it may be entered or named at this moment.
        names = (call_sid, held.reserved) if held is not None and held.reserved else (call_sid,)
        for name in names:
            if len(self._ended) >= ENDED_MAX:
                del self._ended[next(iter(self._ended))]
            self._ended[name] = epoch
        self.wake()

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
            found = self.claimed(claimed, lines)
            return found[0] if found else None

        return await self.connection.do(work)

    async def reap(self) -> list[ClaimedCall]:
        """Take over calls whose process is dead, some at a time. Raises DirectoryAwayError.

        None, unless this process's own heartbeat was unbroken for a whole lease.
        """

        async def work(link: Link) -> list[ClaimedCall]:
            values = self.values(held=[*self._held, *self._ended], many=REAPED_AT_ONCE)
            reaped = await rows_of(link, statements.REAP, values)
            if not reaped:
                return []
            mine = {"call_sids": [row[0] for row in reaped]}
            return self.claimed(reaped, await rows_of(link, statements.LINES_OF, mine))

        return await self.connection.do(work)

    def claimed(
        self, claimed: Sequence[tuple[Any, ...]], lines: Sequence[tuple[Any, ...]]
    ) -> list[ClaimedCall]:
        """Hold calls that a statement has claimed, and return them with their lines."""
        found: list[ClaimedCall] = []
        for call_sid, epoch, facts, age_s, nonce, was_answered, before, node in claimed:
            inherited = [InheritedLine(*each) for of, *each in lines if of == call_sid]
            kept = [facts] if facts is not None else []
            kept += [each.line for each in inherited if not each.line.startswith(BEGUN)]
            self.hold(call_sid, epoch, facts or b"", nonce, 1, age_s=age_s)
            self._ended.pop(call_sid, None)
            found.append(
                ClaimedCall(
                    call_sid, epoch, kept, inherited, age_s, nonce, was_answered, before, node
                )
            )
        return found

    # --- while it is held ----------------------------------------------------------------------

    async def spend(self, call_sid: str, nonce: str) -> bool:
        """Spend the token of a call's stream; return False if it was spent, or is another's.

        Raises DirectoryAwayError.
        """
        spent = await self._change(call_sid, statements.SPEND, nonce=nonce)
        held = self._held.get(call_sid)
        if spent and held is not None and held.nonce == nonce:
            held.nonce = None
        return spent

    def spend_away(self, call_sid: str, nonce: str) -> bool:
        """Spend a token that this process has issued, while the database is away."""
        held = self._held.get(call_sid)
        if held is None or held.nonce is None or held.nonce != nonce:
            return False
        held.nonce, held.is_stale = None, True
        return True

    async def renew(self, call_sid: str, nonce: str) -> None:
        """Expect a further stream of a call, with a new token.

        With the database away it is told later, and only this process takes the stream.
        """
        held = self._held.get(call_sid)
        if held is None:
            return
        held.nonce, held.is_stale = nonce, True
        with contextlib.suppress(DirectoryAwayError):
            if await self._change(call_sid, statements.RENEW, nonce=nonce):
                held.is_stale = held.nonce != nonce

    async def answered(self, call_sid: str) -> bool:
        """Note that /twilio/after was answered in this epoch; False: another process has the call.

        Raises DirectoryAwayError.
        """
        return await self._change(call_sid, statements.ANSWERED)

    async def release(self, call_sid: str) -> bool:
        """Give a call up for whoever claims it; False: another process has it already.

        Raises DirectoryAwayError.
        """
        released = await self._change(call_sid, statements.RELEASE)
        if released:
            self._held.pop(call_sid, None)
            self.let_go(call_sid)
        return released

    async def add_leg(self, call_sid: str) -> bool:
        """Take one more agent session for a call from the budget; return whether there was one.

        With the database away, within this node's share.
        """
        held = self._held.get(call_sid)
        if held is None:
            return False
        try:
            added = await self._change(call_sid, statements.ADD_LEG, most=self.budget.most)
        except DirectoryAwayError:
            taken, share = sum(each.legs for each in self._held.values()), self.budget.share
            added = share is None or taken < share
        held.legs += added
        return added

    async def return_leg(self, call_sid: str) -> None:
        """Return a session that `add_leg` took; with the database away the recount does."""
        held = self._held.get(call_sid)
        if held is None or held.legs == 0:
            return
        held.legs -= 1
        with contextlib.suppress(DirectoryAwayError):
            await self._change(call_sid, statements.RETURN_LEG)

    async def _change(self, call_sid: str, statement: str, **values: Any) -> bool:
        """Change the row of a call that is held; return whether it was changed."""
        held = self._held.get(call_sid)
        if held is None:
            return False
        if not held.is_known:
            raise DirectoryAwayError("the call is not in the directory yet")

        async def work(link: Link) -> bool:
            given = self.values(call_sid=call_sid, epoch=held.epoch, **values)
            return await count_of(link, statement, given) > 0

        changed = await self.connection.do(work)
        if not changed:
            await self.read_epochs((call_sid,))
        return changed

    def note_facts(self, call_sid: str, facts: bytes) -> None:
        """Note the facts of a call as they are now; live_lines.py tells the database."""
        held = self._held.get(call_sid)
        if held is not None:
            held.facts = facts

    # --- what is learnt ------------------------------------------------------------------------

    async def read_epochs(self, call_sids: Sequence[str] | None = None) -> None:
        """Find out which of the calls here, or of these, another process has by now.

        `fenced` is called for each. Raises DirectoryAwayError.
        """

        async def work(link: Link) -> None:
            await self._read_epochs(link, call_sids)

        await self.connection.do(work)

    async def _read_epochs(self, link: Link, call_sids: Sequence[str] | None = None) -> None:
        asked = [*(self._held if call_sids is None else call_sids)]
        if not asked:
            return
        rows = await rows_of(link, statements.EPOCHS, self.values(call_sids=asked))
        found = {call_sid: (epoch, is_mine) for call_sid, epoch, is_mine in rows}
        for call_sid in asked:
            held = self._held.get(call_sid)
            if held is None or held.before:
                continue  # it has no epoch of its own before it is claimed
            epoch, is_mine = found.get(call_sid, (0, False))
            if epoch > held.epoch:
                self.lose(call_sid)
            elif epoch == 0 and held.is_known and call_sid.startswith(RESERVATION):
                self.forget(call_sid)  # its stream has brought another process the call
            elif epoch == 0:
                held.is_known = False  # the database lost it, as after a fail-over: enter it again
            elif is_mine:
                held.is_known = True

    def forget(self, call_sid: str) -> None:
        """Forget a call that this process has not begun."""
        self._held.pop(call_sid, None)

    def lose(self, call_sid: str) -> None:
        """Forget a call that another process has, and tell `fenced`."""
        if self._held.pop(call_sid, None) is None:
            return  # It has ended meanwhile.
        self.let_go(call_sid)
        _log.warning("another process has taken a call over", extra={"call_sid": call_sid})
        try:
            self.fenced(call_sid)
        except Exception:  # noqa: BLE001 - one call's fault must not keep the others in the dark
            _log.exception("a fault with a fenced call", extra={"call_sid": call_sid})

    # --- what is told later --------------------------------------------------------------------

    async def tell_ended(self) -> None:
        """Tell the database of the calls that have ended. Raises DirectoryAwayError."""
        if self._ended:
            await self.connection.do(self._tell_ended)

    async def settle(self) -> None:
        """Bring the directory and what is known here together. Raises DirectoryAwayError."""
        await self.connection.do(self.settle_on)

    async def _arrive(self, link: Link) -> None:
        """Do what comes first on each new connection."""
        await count_of(link, statements.BUDGET_ROW, self.values())
        await self.arriving(link)

    async def settle_on(self, link: Link) -> None:
        """Do the same on the connection, for work that has it."""
        await self._tell_ended(link)
        await self._read_epochs(link)
        for call_sid, held in [*self._held.items()]:
            await self.reservations.settle(link, call_sid, held, self._now())
            if held.before:
                await self._claim_late(link, call_sid, held)
            if held.is_known and held.is_stale:
                given = self.values(call_sid=call_sid, epoch=held.epoch, nonce=held.nonce)
                await count_of(link, statements.RENEW, given)
                held.is_stale = False
        await self._enter(link)

    async def _tell_ended(self, link: Link) -> None:
        ended = dict(self._ended)
        if not ended:
            return
        given = self.values(call_sids=[*ended], epochs=[*ended.values()])
        await count_of(link, statements.END, given)
        for call_sid, epoch in ended.items():
            if self._ended.get(call_sid) == epoch:
                del self._ended[call_sid]

    async def _claim_late(self, link: Link, call_sid: str, held: HeldCall) -> None:
        """Claim a call whose file was taken while the database was away, or find whose it is."""
        given = self.values(
            call_sid=call_sid,
            node=self.node,
            before=held.before,
            epoch=held.epoch,
            nonce=held.nonce,
        )
        claimed = await rows_of(link, statements.CLAIM_LATE, given)
        if claimed:
            held.epoch, held.is_known, held.before = claimed[0][0], True, ""
            return
        found = await rows_of(link, statements.FIND, self.values(call_sid=call_sid))
        if not found:
            held.before = ""  # it began while the database was away: it is entered
            return
        place = CallPlace(*found[0])
        if place.is_mine and not place.is_over:  # the answer to an earlier claim was lost
            held.epoch, held.is_known, held.before = place.epoch, True, ""
            held.is_stale = True
            return
        now = self._now()
        if held.until is None:
            held.until = now + LEASE_S
        is_open = place.node == self.node and place.epoch < held.epoch and now < held.until
        if place.is_over or not is_open:
            self.lose(call_sid)

    async def _enter(self, link: Link) -> None:
        """Enter the calls that the database does not know."""
        new = {sid: held for sid, held in self._held.items() if not held.is_known}
        if not new:
            return
        now = self._now()
        given = self.values(
            call_sids=[*new],
            epochs=[held.epoch for held in new.values()],
            nonces=[held.nonce for held in new.values()],
            legs=[held.legs for held in new.values()],
            facts=[held.facts for held in new.values()],
            ages=[now - held.since for held in new.values()],
        )
        await count_of(link, statements.ENTER, given)
        await self._read_epochs(link, [*new])

    # --- inside --------------------------------------------------------------------------------

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

    def values(self, **more: Any) -> dict[str, Any]:
        """Return values of a statement, with those of this process."""
        return {"me": self.process_id, "budget": self.budget.name, **more}
