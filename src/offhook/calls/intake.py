"""Intake of calls from our webhook, and of streams. For calls that we place: placed_intake.py."""

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from offhook import variables
from offhook.call.ending import Ending, Slug
from offhook.calls.admission import ExpectedStream, StreamAdmission, StreamClaim
from offhook.calls.agent_session import values_for
from offhook.calls.call_entry import CallEntry, PendingCall
from offhook.calls.call_limits import CallLimit
from offhook.calls.control import CallControl
from offhook.calls.farewells import Farewells
from offhook.calls.fleet_places import ELSEWHERE, FleetPlaces, first_token
from offhook.calls.lookup import LookUp, LookupResult
from offhook.calls.placed_intake import PlacedIntake
from offhook.calls.places import TakenCall
from offhook.calls.registry import CallRegistry
from offhook.calls.session_factory import SessionFactory
from offhook.capture.tap import NewCall
from offhook.clock import Clock
from offhook.config import Agent, TwilioSettings
from offhook.config.current_agents import CurrentAgents
from offhook.events.types import CallBegan
from offhook.net.websocket import Channel
from offhook.policy.inbound_policy import InboundPolicy, InboundRefusal
from offhook.twilio.callers import Refused
from offhook.twilio.messages import Start


class CallIntake:
    """Intake of the calls of one server. `look_up` finds the data of webhook calls first.

    `fleet` has the calls of other nodes, and each new call is entered there.
    """

    def __init__(
        self,
        twilio: TwilioSettings,
        agents: CurrentAgents,
        registry: CallRegistry,
        sessions: SessionFactory,
        farewells: Farewells,
        inbound: InboundPolicy,
        placed: PlacedIntake,
        clock: Clock,
        look_up: LookUp,
        fleet: FleetPlaces | None = None,
    ) -> None:
        self._agents = agents
        self._registry = registry
        self._sessions = sessions
        self._farewells = farewells
        self._inbound = inbound
        self._placed = placed
        self._clock = clock
        self._look_up = look_up
        self._fleet = fleet
        self.go_on: Callable[[TakenCall], bool] = _go_on_with_none
        """Goes on with a call that another process had."""
        self._admission: Final = StreamAdmission(twilio.account_sid, twilio.bin)

    # --- calls of the webhook ------------------------------------------------------------------

    async def arrive(
        self, call_sid: str, account_sid: str, agent: Agent, *, from_: str = "", to: str = ""
    ) -> CallEntry:
        """Look up a call of which our signed webhook was told, then announce it.

        A repeated request for the call waits for the same lookup. Raises NotBegunError where the
        fleet has no room, or another process has the call.
        """
        other = self._registry.pending_lookup(call_sid)
        if other is not None:
            await other.announced.wait()
        if other is not None or self._registry.find(call_sid) is not None:
            return self.announce(call_sid, account_sid, agent, from_=from_, to=to)
        # Counted before the wait: a check in the meantime must find it.
        self._inbound.admit(call_sid, from_, agent.tier)
        control = self._heard_of(call_sid, agent, from_, to)
        known = values_for(agent, call_sid, from_, to)
        token = first_token(self._fleet, call_sid)
        pending = self._registry.begin_lookup(call_sid)
        try:
            if self._fleet is not None:
                why = await self._fleet.begin(
                    call_sid, self._sessions.facts(control.call, account_sid, known, token)
                )
                if why is not None:
                    raise NotBegunError(why)
            found = await self._look_up(agent, self._sessions.handle(control, agent, known, {}))
        except BaseException:
            if self._fleet is not None:
                self._fleet.end(call_sid)
            raise
        finally:
            self._registry.end_lookup(call_sid)
        entry = self._announce(control, account_sid, agent, found, token)
        for tell in pending.owed:
            tell()
        entry.dial_ahead()
        return entry

    def announce(
        self, call_sid: str, account_sid: str, agent: Agent, *, from_: str = "", to: str = ""
    ) -> CallEntry:
        """Expect a stream of a call; a repeated request gets the same entry."""
        known = self._registry.find(call_sid)
        if known is not None:
            return known
        control = self._heard_of(call_sid, agent, from_, to)
        token = first_token(self._fleet, call_sid)
        entry = self._announce(control, account_sid, agent, LookupResult(), token)
        entry.dial_ahead()
        return entry

    def turn_away(
        self,
        limit: CallLimit,
        call_sid: str,
        account_sid: str,
        agent: Agent,
        from_: str,
        to: str,
        after_url: str,
    ) -> str:
        """Return TwiML for a call that `limit` keeps out.

        When another number is dialled for it, or it leaves a message, the call is recorded: that
        costs money.
        """
        costs = agent.busy.dial is not None or agent.busy.voicemail is not None
        if not costs or self._farewells.given(call_sid) is not None:
            return self._farewells.busy(call_sid, agent, after_url)
        self._note_began(call_sid, account_sid, agent, from_, to)
        full = Slug.SERVER_FULL
        document = self._farewells.busy(call_sid, agent, after_url)
        self._registry.note(call_sid, Ending(full, limit).event(0))
        return document

    def refuse(
        self,
        call_sid: str,
        account_sid: str,
        agent: Agent,
        from_: str,
        to: str,
        refusal: tuple[InboundRefusal, Refused],
    ) -> str:
        """Return TwiML for a call that the inbound policy refuses; the call is recorded, once."""
        why, answer = refusal
        if self._farewells.given(call_sid) is None:
            self._note_began(call_sid, account_sid, agent, from_, to)
            self._registry.note(call_sid, Ending(Slug.CALL_REFUSED, why.words).event(0))
        return self._farewells.refuse(call_sid, agent, answer, self._inbound.rules.say)

    # --- streams -------------------------------------------------------------------------------

    def prepare(self, start: Start) -> Coroutine[Any, Any, str | None] | None:
        """Return what must be awaited before a stream is admitted; None: nothing.

        Its result is why the stream is refused, or None. A server alone awaits nothing.
        """
        if self._fleet is None:
            return None
        details = start.start
        call_sid, token = details.call_sid, details.custom_parameters.get("token")
        pending = self._placed.pending(token)
        if pending is not None and details.account_sid == pending.account_sid:
            return self._named_by_stream(call_sid, pending, self._fleet)
        is_here = call_sid in self._registry.live
        if token is None and not is_here:
            return self._begin_bin(call_sid, details.account_sid)
        work = self._fleet.stream(call_sid, token, is_here=is_here)
        return None if work is None else self._taken_from(work)

    async def _begin_bin(self, call_sid: str, account_sid: str) -> str | None:
        """Enter the call of a TwiML Bin, if no process of the fleet has let it in before."""
        agent = self._agents.agent_for(None)
        if self._fleet is None or agent is None:
            return None  # `admit` refuses it
        call = NewCall(call_sid, agent.name, "bin")
        return await self._fleet.begin(call_sid, self._sessions.facts(call, account_sid, {}, None))

    async def _named_by_stream(
        self, call_sid: str, pending: PendingCall, fleet: FleetPlaces
    ) -> str | None:
        """Take in a call that we have placed, before Twilio has answered our request."""
        if await self._placed.name(call_sid, pending) is None:
            return ELSEWHERE
        work = fleet.stream(call_sid, pending.token, is_here=True)
        return None if work is None else await self._taken_from(work)

    async def _taken_from(self, work: Coroutine[Any, Any, TakenCall | str | None]) -> str | None:
        found = await work
        if not isinstance(found, TakenCall):
            return found
        goes_on = False
        try:
            goes_on = self.go_on(found) if found.has_begun else self._placed.begin(found)
        finally:
            is_here = goes_on or found.call_sid in self._registry.live
            if self._fleet is not None and not is_here:
                self._fleet.end(found.call_sid)  # It was claimed, and counts as a session.
        return None if goes_on else "the call cannot go on here"

    def admit(self, channel: Channel, start: Start) -> str | None:
        """Admit a stream whose upgrade was signed, or return why not.

        `channel` becomes the caller's leg of the call. The caller of this method closes the
        channel of a refused stream.
        """
        details = start.start
        call_sid = details.call_sid
        claim = StreamClaim(details.account_sid, details.custom_parameters.get("token"))
        entry = self._registry.find(call_sid)
        pending = self._placed.pending(claim.token)
        agent = self._agents.agent_for(None)
        refusal = self._admission.refusal(
            claim,
            None if entry is None else _expected(entry),
            None if pending is None else ExpectedStream(pending.account_sid, pending.token),
            was_seen=self._registry.was_seen(call_sid),
            limit=self._registry.limit_reached,
            has_default_agent=agent is not None,
        )
        if refusal is None and entry is None and pending is None:
            used_up = self._inbound.used_up(None)  # a Bin's stream tells no number
            refusal = used_up.words if used_up is not None else None
        if refusal is not None:
            if self._fleet is not None and entry is None:
                self._fleet.end(call_sid)
            return refusal
        if entry is None and pending is not None:
            entry = self._placed.place(call_sid, pending)
        if entry is None:
            assert agent is not None, "else it was refused"
            self._inbound.admit(call_sid, None, agent.tier)
            control = self._sessions.control(NewCall(call_sid, agent.name, "bin"))
            given, _ = variables.taken(details.custom_parameters)
            entry = self._enter(control, agent, details.account_sid, None, given)
        else:
            entry.is_after_due = True
            entry.is_interrupted = False
            entry.handoff.clear()
        assert entry.session is not None, "a call that is over was refused"
        entry.session.begin(channel, start)
        return None

    # --- inside --------------------------------------------------------------------------------

    def _note_began(
        self, call_sid: str, account_sid: str, agent: Agent, from_: str, to: str
    ) -> None:
        """Record a call that is not taken in."""
        values = json.dumps(values_for(agent, call_sid, from_, to), ensure_ascii=False)
        self._registry.note(
            call_sid,
            CallBegan(account_sid, agent.name, agent.tier, "inbound", "webhook", from_, to, values),
        )

    def _heard_of(self, call_sid: str, agent: Agent, from_: str, to: str) -> CallControl:
        return self._sessions.control(NewCall(call_sid, agent.name, "webhook", from_=from_, to=to))

    def _announce(
        self,
        control: CallControl,
        account_sid: str,
        agent: Agent,
        found: LookupResult,
        token: str,
    ) -> CallEntry:
        entry = self._enter(control, agent, account_sid, token, found.variables)
        if found.event is not None and entry.session is not None:
            entry.session.note(found.event)
        entry.expect_stream(self._clock.now())
        return entry

    def _enter(
        self,
        control: CallControl,
        agent: Agent,
        account_sid: str,
        token: str | None,
        given: Mapping[str, str],
    ) -> CallEntry:
        self._farewells.forget(control.call.call_sid)  # The call was refused before.
        return self._sessions.make(control, agent, account_sid, token, given)


class NotBegunError(Exception):
    """Error: a new call is not taken in here. `why` is a CallLimit, or that another has it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def _go_on_with_none(taken: TakenCall) -> bool:
    """Return False: no process has other calls."""
    return False


def _expected(entry: CallEntry) -> ExpectedStream:
    return ExpectedStream(entry.account_sid, entry.token, entry.session is None, entry.has_stream)
