"""Network that all simulated calls of one account share."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx2

from offhook.clock import Clock
from offhook.net import tls
from offhook.testing.simulator.twilio.calls.ledger import NetworkLedger
from offhook.testing.simulator.twilio.calls.people import People
from offhook.testing.simulator.twilio.webhooks import RehearsedHost

if TYPE_CHECKING:
    from offhook.testing.simulator.twilio.calls.leg import Leg


_CONNECTIONS: Final = httpx2.Limits(keepalive_expiry=1.0)
"""Limits that close an idle connection long before a server does (uvicorn: after 5 s): a server
might close it just when the next request is on its way."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Faults of Twilio's requests: late, repeated or out of order (twilio.md §4.2, §4.3)."""

    late_s: float = 0.0
    """Seconds of the clock by which each callback is late."""

    twice: bool = False
    out_of_order: bool = False
    """True to swap each two successive callbacks of a call."""

    documents_twice: bool = False
    """True to request each TwiML document twice, as after an answer that was lost on its way. The
    second answer is obeyed; one that differs from the first is a fault of the call."""


@dataclass(slots=True)
class Conference:
    """Conference of legs whose people hear each other."""

    name: str
    over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Event that is set, and replaced, whenever a leg joins or leaves."""
    legs: list["Leg"] = field(default_factory=list)
    started: bool = False

    @property
    def talking(self) -> bool:
        """True while at least two legs are in the started conference."""
        return self.started and len(self.legs) > 1

    def stir(self) -> None:
        """Wake up all legs of the conference, because it has changed."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class SimulatedNetwork:
    """Calls of one account. `simulated_network` makes one."""

    def __init__(
        self,
        account_sid: str,
        host: RehearsedHost,
        clock: Clock,
        people: People,
        callbacks: Callbacks,
        http: httpx2.AsyncClient,
        group: asyncio.TaskGroup,
    ) -> None:
        self.account_sid = account_sid
        self.host = host
        self.clock = clock
        self.people = people
        self.callbacks = callbacks
        self.http = http
        self.group = group
        self.ledger = NetworkLedger()
        self.legs: dict[str, Leg] = {}
        """All legs, including ended ones, by CallSid."""
        self.conferences: dict[str, Conference] = {}
        self.bins: dict[str, str] = {}
        """TwiML documents that Twilio hosts, by URL (twilio.md §2.7). Their placeholders stay."""

    async def passed(self, seconds: float) -> None:
        """Wait for `seconds` of the clock."""
        over = asyncio.Event()
        timer = self.clock.call_at(self.clock.now() + seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()


@asynccontextmanager
async def simulated_network(
    account_sid: str,
    host: RehearsedHost,
    clock: Clock,
    people: People,
    callbacks: Callbacks = Callbacks(),
) -> AsyncIterator[SimulatedNetwork]:
    """Run calls to and from the server behind `host`, the only host that is contacted.

    The end of the block hangs up all calls and waits for callbacks that are under way.
    """
    # To read the authorities takes longer than all else at the start.
    trusts = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if host.is_plain else tls.verifying()
    async with (
        # Each request has its own time limits (twilio.md §4.2).
        httpx2.AsyncClient(
            timeout=None, trust_env=False, limits=_CONNECTIONS, verify=trusts
        ) as http,
        asyncio.TaskGroup() as group,
    ):
        network = SimulatedNetwork(account_sid, host, clock, people, callbacks, http, group)
        try:
            yield network
        finally:
            for leg in list(network.legs.values()):
                leg.end("given_up")
