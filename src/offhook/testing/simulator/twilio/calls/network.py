"""The network: what every simulated call of one account shares."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx2

from offhook.clock import Clock
from offhook.testing.simulator.twilio import webhooks
from offhook.testing.simulator.twilio.calls.ledger import NetworkLedger
from offhook.testing.simulator.twilio.calls.people import People
from offhook.testing.simulator.twilio.webhooks import RehearsedHost

if TYPE_CHECKING:
    from offhook.testing.simulator.twilio.calls.leg import Leg


_CONNECTIONS: Final = httpx2.Limits(keepalive_expiry=1.0)
"""An idle one is closed long before a server closes it (uvicorn: after 5 s), maybe just when the
next request is on its way."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """How status callbacks arrive: unordered, repeated and late, if told to (twilio.md §4.3)."""

    late_s: float = 0.0
    """So many seconds of the clock after what they tell."""

    twice: bool = False
    out_of_order: bool = False
    """Each two of a call change places."""


@dataclass(slots=True)
class Conference:
    """People who hear each other."""

    name: str
    over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, whenever somebody came or went."""
    legs: list["Leg"] = field(default_factory=list)
    started: bool = False

    @property
    def talking(self) -> bool:
        """Whether its people can hear each other."""
        return self.started and len(self.legs) > 1

    def stir(self) -> None:
        """Tell everybody in it that something has changed."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class SimulatedNetwork:
    """One account's calls while they last. Made by `simulated_network`."""

    def __init__(
        self,
        account_sid: str,
        front: RehearsedHost,
        clock: Clock,
        people: People,
        callbacks: Callbacks,
        http: httpx2.AsyncClient,
        group: asyncio.TaskGroup,
    ) -> None:
        self.account_sid = account_sid
        self.front = front
        self.clock = clock
        self.people = people
        self.callbacks = callbacks
        self.http = http
        self.group = group
        self.ledger = NetworkLedger()
        self.legs: dict[str, Leg] = {}
        """Every leg that ever was, by its CallSid."""
        self.conferences: dict[str, Conference] = {}

    async def passed(self, seconds: float) -> None:
        """Let simulated time pass."""
        over = asyncio.Event()
        timer = self.clock.call_at(self.clock.now() + seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()


@asynccontextmanager
async def simulated_network(
    account_sid: str,
    front: RehearsedHost,
    clock: Clock,
    people: People,
    callbacks: Callbacks = Callbacks(),
) -> AsyncIterator[SimulatedNetwork]:
    """Run calls to and from the server behind `front`, the only host that is contacted.

    On leaving, calls that last are hung up, and callbacks that are under way are waited for.
    """
    async with (
        httpx2.AsyncClient(
            timeout=webhooks.TIMEOUT_S, trust_env=False, limits=_CONNECTIONS
        ) as http,
        asyncio.TaskGroup() as group,
    ):
        network = SimulatedNetwork(account_sid, front, clock, people, callbacks, http, group)
        try:
            yield network
        finally:
            for leg in list(network.legs.values()):
                leg.end("given_up")
