"""The heartbeat of a call process, and what hangs on it: who is alive, and whose calls are taken.

One beat is one message: it tells this process's state, recounts the budget, reads the database's
clock and who else is there. After it this process learns which of its calls others have by now.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from offhook import __version__
from offhook.clock import Clock
from offhook.fleet import statements
from offhook.fleet.connection import Link, count_of, together
from offhook.fleet.directory import REAPED_AT_ONCE, CallDirectory
from offhook.fleet.places import (
    BEAT_S,
    LEASE_S,
    ClaimedCall,
    DirectoryAwayError,
    FleetProcess,
    OwnState,
)
from offhook.fleet.pulse import READ_S, TICK_S, Pulse

_log: Final = logging.getLogger("offhook.fleet")

AGAIN_S: Final = 0.1
"""Seconds until the next look for calls of dead processes, after one that found many."""

AWAY_S: Final = 0.5
"""Seconds between two attempts to beat while the database is away."""

APART_S: Final = 1.0
"""Seconds by which our clock may be behind the database's from one beat to the next."""

PURGED_EVERY: Final = 100
"""Beats between two removals of rows that are an hour old: five minutes."""

_BEAT: Final = ";".join(
    (statements.BEAT, statements.RECOUNT, statements.CLOCK, statements.PROCESSES)
)


def _nothing(call: ClaimedCall) -> None:
    """Do nothing with a call that was taken over."""


class FleetHeartbeat:
    """Heartbeat of this process in the fleet.

    Attributes:
        address: Origin of this process's node listener; empty while it has none.
        state: Returns this process's state.
        reaped: Called with each call that this process has taken over from a dead one, or that was
            released and nobody came for.
        beats: Number of beats that the database has taken.
    """

    def __init__(self, directory: CallDirectory, pulse: Pulse, clock: Clock) -> None:
        self.address = ""
        self.state: Callable[[], OwnState] = lambda: OwnState(False, 0, 0)
        self.reaped: Callable[[ClaimedCall], None] = _nothing
        self.beats = 0
        self._directory = directory
        self._pulse = pulse
        self._clock = clock
        self._database_s = 0.0
        self._read_at: float | None = None
        self._next_s = BEAT_S
        directory.arriving = self._beat

    def now_ms(self) -> int | None:
        """Return the time by the database's clock, in ms since 1970; None before the first beat."""
        if self._read_at is None:
            return None
        return round(1000 * (self._database_s + self._clock.now() - self._read_at))

    def owns(self, call_sid: str, epoch: int) -> bool:
        """Return whether this process has a call in that epoch, by a beat that is within a lease.

        A beat reads the epochs: a call that has left before is not here any more.
        """
        if self._read_at is None or self._clock.now() - self._read_at >= LEASE_S:
            return False
        return self._directory.epoch_of(call_sid) == epoch

    async def run(self) -> None:
        """Beat, and take over the calls of dead processes, for ever; a kept task."""
        while True:
            try:
                await self._directory.connection.do(self._beat)
                wait_s = await self._reap()
            except DirectoryAwayError:
                wait_s = AWAY_S
            await asyncio.sleep(wait_s)

    async def _reap(self) -> float:
        """Take over calls of dead processes; return the seconds until the next beat."""
        found = await self._directory.reap()
        for call in found:
            try:
                self.reaped(call)
            except Exception:  # noqa: BLE001 - one call's fault must not keep the others
                _log.exception(
                    "a fault as a call of a dead process was taken over",
                    extra={"call_sid": call.call_sid},
                )
        if found:
            _log.warning("%d calls of processes that died are taken over", len(found))
        return AGAIN_S if len(found) >= REAPED_AT_ONCE else self._next_s

    async def _beat(self, link: Link) -> None:
        own, directory = self.state(), self._directory
        values = directory.values(
            node=directory.node, address=self.address, version=__version__, **own._asdict()
        )
        *_, taken, clock, processes = await together(link, _BEAT, values)
        directory.budget.taken = taken[0][0]
        self._read_clock(clock[0][0])
        found, self._next_s = {}, BEAT_S
        for process_id, node, address, left_s, is_draining, live, capacity in processes:
            is_mine, is_alive = process_id == directory.process_id, left_s > 0
            found[process_id] = FleetProcess(
                process_id, node, address, is_alive, is_draining, live, capacity, is_mine
            )
            if not is_mine and 0 < left_s < BEAT_S:
                self._next_s = min(self._next_s, left_s + 0.05)  # a lease may end before
        directory.processes = found
        alive = {process.node for process in found.values() if process.is_alive}
        directory.budget.nodes_alive = len(alive)
        since = self._clock.now()
        await directory.settling.settle(link)
        self._pulse.settle(since)
        if self.beats % PURGED_EVERY == 0:
            await together(link, statements.PURGE, {})
        self.beats += 1

    def _read_clock(self, database_s: float) -> None:
        """Note the database's clock; if our own has stood still for a lease, hold all calls.

        A virtual machine's clocks may stop while it is paused, and then no tick is late. The epochs
        are read next, on the same connection.
        """
        now, before = self._clock.now(), self._read_at
        gap_s = database_s - self._database_s
        if before is not None and gap_s >= LEASE_S and gap_s - (now - before) >= APART_S:
            _log.error(
                "this machine's clock stood still for %d s: its calls are held until it is known"
                " which of them another process has",
                gap_s - (now - before),
            )
            self._pulse.stop()
        self._database_s, self._read_at = database_s, now

    async def leave(self) -> None:
        """Tell the others at once that this process is gone, which has no calls any more."""
        if not self._directory.held.sids:
            with contextlib.suppress(DirectoryAwayError):
                await self._directory.connection.do(self._leave)

    async def _leave(self, link: Link) -> None:
        await count_of(link, statements.LEAVE, self._directory.values())

    # --- whether this process itself was stopped -----------------------------------------------

    async def watch(self) -> None:
        """Tick, and read the epochs after a stop of this process, for ever; a kept task."""
        while True:
            if self._pulse.tick(self._clock.now()):
                await self._read_epochs()
            await asyncio.sleep(TICK_S)

    async def _read_epochs(self) -> None:
        _log.error(
            "this process was stopped for more than %g s: its calls are held until it is known"
            " which of them another process has",
            LEASE_S,
        )
        until = self._clock.now() + READ_S
        since = until - READ_S
        while self._clock.now() < until:
            since = self._clock.now()
            try:
                await self._directory.read_epochs()
            except DirectoryAwayError:
                await asyncio.sleep(AGAIN_S)
            else:
                break
        self._pulse.settle(since)
