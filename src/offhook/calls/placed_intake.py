"""Intake of outbound calls: from before Twilio is asked until each has its CallSid."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from offhook.calls.agent_session import values_for
from offhook.calls.call_entry import STREAM_DUE_S, CallEntry, PendingCall
from offhook.calls.farewells import Farewells
from offhook.calls.fleet_places import FleetPlaces, first_token
from offhook.calls.live_facts import LiveFacts, decoded
from offhook.calls.places import TakenCall
from offhook.calls.registry import CallRegistry
from offhook.calls.session_factory import SessionFactory
from offhook.capture.tap import NewCall
from offhook.clock import Clock
from offhook.config import Agent
from offhook.config.current_agents import CurrentAgents

_log: Final = logging.getLogger("offhook.calls")


class PlacedIntake:
    """Intake of the calls that a server, or another node of its fleet, has placed.

    Attributes:
        follow: Called with each call that another process has placed and that begins here.
    """

    def __init__(
        self,
        agents: CurrentAgents,
        registry: CallRegistry,
        sessions: SessionFactory,
        farewells: Farewells,
        clock: Clock,
        fleet: FleetPlaces | None = None,
    ) -> None:
        self._agents = agents
        self._registry = registry
        self._sessions = sessions
        self._farewells = farewells
        self._clock = clock
        self._fleet = fleet
        self.follow: Callable[[str, Agent], None] = _follow_none
        self._pending: dict[str, PendingCall] = {}
        """Calls whose CallSid is not known, by token."""

    def new_token(self) -> str:
        """Return a token for the stream of a call that is to be placed."""
        return first_token(self._fleet, "")

    def pending(self, token: str | None) -> PendingCall | None:
        """Return the call without a CallSid that is expected with a token; None: no such call."""
        return None if token is None else self._pending.get(token)

    async def expect(self, pending: PendingCall) -> str | None:
        """Expect a call that Twilio will be asked for; its stream may be the first to name it.

        Returns the CallLimit of the fleet for which it must not be placed, if there is one.
        """
        if self._fleet is not None:
            why = await self._fleet.reserve(self._facts_of(pending))
            if why is not None:
                return why
        self._pending[pending.token] = pending
        return None

    def unexpect(self, pending: PendingCall) -> None:
        """Stop expecting a call that Twilio has not made; a stream that claims it is refused."""
        if self._pending.pop(pending.token, None) is not None and self._fleet is not None:
            self._fleet.unreserve(pending.token)

    async def name(self, call_sid: str, pending: PendingCall) -> CallEntry | None:
        """Take in a call whose CallSid is known now; None: another process has it."""
        async with pending.naming:
            if pending.token not in self._pending:
                return self._registry.find(call_sid)  # It was taken in, and may have moved since.
            if self._fleet is None:
                return self.place(call_sid, pending)
            if not await self._fleet.name(call_sid, self._named_facts_of(call_sid, pending)):
                self._pending.pop(pending.token, None)
                return None
            entry = self.place(call_sid, pending)
            if entry.session is None:  # It was taken in and ended before the fleet had its name.
                self._fleet.end(call_sid)
            return entry

    def placed_with(self, call_sid: str, token: str) -> CallEntry | None:
        """Take in the call that is expected with a token; None for an unknown token."""
        pending = self.pending(token)
        return None if pending is None else self.place(call_sid, pending)

    def place(self, call_sid: str, pending: PendingCall) -> CallEntry:
        """Take in a call whose CallSid is known; repetitions change nothing.

        The call waits for its stream, or its final status, however long it rings. The agent
        is dialled when somebody answers, or when the stream comes.
        """
        self._pending.pop(pending.token, None)
        known = self._registry.find(call_sid)
        if known is not None:
            return known
        agent = pending.agent
        call = NewCall(call_sid, agent.name, "api", from_=pending.from_, to=pending.to)
        self._farewells.forget(call_sid)
        entry = self._sessions.make(
            self._sessions.control(call),
            agent,
            pending.account_sid,
            pending.token,
            pending.variables,
        )
        entry.expected_until = self._clock.now() + pending.rings_s + STREAM_DUE_S
        pending.named(call_sid)
        return entry

    def begin(self, taken: TakenCall) -> bool:
        """Begin a call that another process has placed; return whether that can be."""
        facts = decoded(taken.lines[0])
        agent = self._agents.find(facts.agent)
        if agent is None:
            _log.warning(
                "a call that another process has placed cannot begin here: its agent is not in the"
                " configuration",
                extra={"call_sid": taken.call_sid},
            )
            return False
        pending = PendingCall(
            token=taken.token or "",
            agent=agent,
            account_sid=facts.account_sid,
            from_=facts.from_,
            to=facts.to,
            variables=facts.values,
            rings_s=agent.outbound.ring_seconds,
            named=lambda call_sid: self.follow(call_sid, agent),
        )
        self.place(taken.call_sid, pending)
        return True

    def picked_up(self, call_sid: str) -> None:
        """Dial the agent ahead of the stream, as somebody has answered the call."""
        entry = self._registry.live.get(call_sid)
        if entry is not None and not entry.has_stream:
            entry.expect_stream(self._clock.now())
            entry.dial_ahead()

    def _facts_of(self, pending: PendingCall) -> LiveFacts:
        """Return what is known of a call before it is placed."""
        call = NewCall("", pending.agent.name, "api", from_=pending.from_, to=pending.to)
        return self._sessions.facts(call, pending.account_sid, pending.variables, pending.token)

    def _named_facts_of(self, call_sid: str, pending: PendingCall) -> LiveFacts:
        """Return what is known of a call that has its CallSid, as its entry will have it.

        A process that takes the call over before the entry's own facts are stored goes on with
        these.
        """
        facts, agent = self._facts_of(pending), pending.agent
        values = values_for(agent, call_sid, facts.from_, facts.to, facts.values)
        return replace(facts, values=values)


def _follow_none(call_sid: str, agent: Agent) -> None:
    """Do nothing with a call that was placed: no calls are placed here."""
