"""Every call that is announced, live or lately over, and who may be which.

A stream is a caller's leg only if Twilio's signature was on its upgrade (webhooks.py) *and* it is
let in here. A signature alone is not enough: for a given stream URL it is a constant, so whoever
once saw it can send it again (twilio.md §3.2). Hence the token, of which our webhook mints one for
each call; and for a TwiML Bin, which can hold none, that a CallSid is let in once only.
"""

import asyncio
import hmac
import json
import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from offhook import variables
from offhook.call import inputs
from offhook.call.call_settings import CallSettings
from offhook.call.ending import Ending, Slug
from offhook.call.handoff_actions import Dial as DialErrand
from offhook.call.handoff_actions import HandoffAction, JoinConference, SendDigits
from offhook.call.inputs import Input
from offhook.call.requests import AskDigits, CallRequest, HangUp, Leave, Tell
from offhook.calls.call_updates import CallUpdates
from offhook.calls.farewells import Farewells
from offhook.calls.lookup import LookUp, LookupResult
from offhook.calls.messaging import Messaging
from offhook.calls.replay_cache import ReplayCache
from offhook.calls.session import AgentSession, Session, Tools
from offhook.calls.transfers import Party, Transfers
from offhook.capture.tap import MakeTap, NewCall, tap_for
from offhook.clock import Clock, wall_clock
from offhook.config import Agent, Config, TransferDestination
from offhook.deepgram.leg import Dial
from offhook.deepgram.messages import History
from offhook.deepgram.settings import Change, Part
from offhook.events.types import (
    AgentConnected,
    CallBegan,
    CallBilled,
    CallEnded,
    CallEvent,
    Dialled,
    Direction,
    Event,
    HandoffOutcome,
    RecordingFailed,
    Subscriber,
)
from offhook.net.websocket import Channel
from offhook.policy.dial_policy import DialPolicy
from offhook.recordings.recorder import Recordings
from offhook.tools.declare import Call, Once, ToolError
from offhook.tools.files import Toolbox
from offhook.twilio.messages import Start

ToolsFor: TypeAlias = Callable[[Toolbox, Call], Tools]
"""What runs an agent's functions in one call."""

_LOOK_S: Final = 0.05

RECENT_MAX: Final = 1000
"""Calls lately over of which more than their CallSid is known: Twilio asks about them once more."""

STREAM_DUE_S: Final = 15.0
"""How long after its announcement a call without a stream counts as one that may still come."""

RING_SLACK_S: Final = 10.0
"""What Twilio may add to a ringing time (5 s, twilio.md §5.3), and take to tell of its end."""

MEET_S: Final = 10.0
"""How long a caller may take to join the person who waits, and Twilio to tell that it failed."""

_NONE: Final[Mapping[str, str]] = MappingProxyType({})

_BEYOND_REACH: Final = (
    "the agent's part is over; the caller is with Twilio, and is hung up on when Twilio asks what"
    " comes next. To end such a call at once takes REST credentials"
)

_CHARACTER_MS: Final = 65
"""What Twilio's voices take for a character, about."""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that we place, before anybody has told its CallSid. `named` is told it, once.

    `token` is in the TwiML that Twilio was given: whoever brings it is this call's stream.
    """

    token: str = field(repr=False)
    agent: Agent
    account_sid: str
    from_: str
    to: str
    variables: Mapping[str, str]
    rings_s: float
    """How long it may ring, in seconds."""

    named: Callable[[str], None]


@dataclass(slots=True)
class Away:
    """A caller who has left the stream, and is not back on one."""

    errand: HandoffAction
    is_handed_over: bool = False
    """Twilio was told of the errand."""

    known_at: float = math.inf
    """When Twilio has told that nobody was reached, if nobody was."""

    is_returning: bool = False
    """The errand is over: the caller gets a new stream."""


class CallEntry:
    """One call as the house knows it: its agent, what it takes to come in, and its session while
    it lasts. What is remembered of a call that is over is small: many thousand are.
    """  # noqa: D205

    __slots__ = (
        "account_sid",
        "after_owed",
        "agent",
        "answered",
        "away",
        "began",
        "by_webhook",
        "ending",
        "expected_until",
        "leaves",
        "line",
        "origin",
        "over_at",
        "session",
        "token",
        "values",
    )

    def __init__(
        self, session: Session, agent: Agent, account_sid: str, token: str | None, began: float
    ) -> None:
        self.session: Session | None = session
        self.began = began
        self.ending: Ending | None = None
        self.agent = agent
        self.account_sid = account_sid
        self.token = token
        self.expected_until = 0.0
        self.after_owed = False
        """Whether Twilio has still to ask what comes after a stream that was opened."""
        self.over_at = math.inf
        self.by_webhook = token is not None
        """Twilio asks /twilio/after by itself when the stream is over."""
        self.line = ""
        """Our own number in this call."""
        self.values: Mapping[str, str] = _NONE
        """What fills `{{name}}`, while the call lasts."""
        self.origin = ""
        """Our https address, as Twilio's request for this call had it."""
        self.away: Away | None = None
        """Set while the call goes on without a stream, which was left."""
        self.leaves = 0
        """How often a stream was left: the number of the stream that is there, or comes next."""
        self.answered = asyncio.Event()
        """Set when the agent's leg is up, or the call is over without it."""

    @property
    def has_stream(self) -> bool:
        """Whether a verified stream has come, and is there."""
        return self.session is not None and self.session.has_stream


class _Coming:
    """A call of the webhook whose lookup is on its way."""

    __slots__ = ("announced", "owed")

    def __init__(self) -> None:
        self.announced = asyncio.Event()
        self.owed: list[Callable[[], None]] = []
        """What happened to it meanwhile, to be told once it is there: two or three things."""


class Calls:
    """The house. `dial` opens agent legs, `publish` is told of everything that happens.

    `look_up` asks about calls of the webhook before they are announced. `tools` runs the functions
    of a call's agent; `office` does what they ask for beside the call. `make_tap` is asked about
    each call who is to see what goes over its wires, if anyone. `recordings` record the calls of
    agents that say so. `seen` are the CallSids that an earlier run let in.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        dial: Dial,
        publish: Subscriber,
        tools: ToolsFor,
        look_up: LookUp,
        office: Messaging,
        guard: DialPolicy,
        lines: CallUpdates,
        make_tap: MakeTap | None = None,
        recordings: Recordings | None = None,
        seen: Iterable[str] = (),
    ) -> None:
        self.draining = False
        self._config = config
        self._clock = clock
        self._dial = dial
        self._publish = publish
        self._tools = tools
        self._look_up = look_up
        self._office = office
        self._lines = lines
        self.transfers: Final = Transfers(guard, lines, clock, plan_of)
        self.farewells: Final = Farewells(guard, self._note)
        self._make_tap = make_tap
        self._recordings = recordings
        self._agents = {agent.name: agent for agent in config.agents.values()}
        self._coming: dict[str, _Coming] = {}
        self._outgoing: dict[str, PendingCall] = {}
        self._live: dict[str, CallEntry] = {}
        self._over: dict[str, CallEntry] = {}
        self._seen = ReplayCache(clock.now())
        self._billed = ReplayCache(clock.now())
        for call_sid in seen:
            self._seen.add(call_sid, clock.now())
        self._changed = asyncio.Event()

    # --- asking --------------------------------------------------------------------------------

    @property
    def live(self) -> int:
        """Calls that have a stream, or are expected to have one any moment."""
        now = self._clock.now()
        return len(self._coming) + sum(
            e.has_stream or now < e.expected_until for e in self._live.values()
        )

    @property
    def full(self) -> bool:
        """Whether no further call is taken."""
        return self.draining or self.live >= self._config.server.capacity

    def find(self, call_sid: str) -> CallEntry | None:
        """A call that is announced, live or lately over."""
        return self._live.get(call_sid) or self._over.get(call_sid)

    def is_coming(self, call_sid: str) -> bool:
        """Whether the lookup of a call is on its way."""
        return call_sid in self._coming

    def is_long_over(self, call_sid: str) -> bool:
        """Whether all that is known of a call is that it was there."""
        return call_sid in self._seen and self.find(call_sid) is None

    # --- coming in -----------------------------------------------------------------------------

    async def arrive(
        self, call_sid: str, account_sid: str, agent: Agent, *, from_: str = "", to: str = ""
    ) -> CallEntry:
        """Our signed webhook was asked about this call: have it looked up, then announce it.

        Asked again meanwhile, it waits for the same lookup.
        """
        other = self._coming.get(call_sid)
        if other is not None:
            await other.announced.wait()
        if other is not None or self.find(call_sid) is not None:
            return self.announce(call_sid, account_sid, agent, from_=from_, to=to)
        known = self.variables(call_sid, agent, from_, to)
        coming = self._coming[call_sid] = _Coming()
        try:
            found = await self._look_up(agent, self._handle(call_sid, agent, from_, to, known))
        finally:
            del self._coming[call_sid]
            coming.announced.set()
            self._changed.set()
        return self._announce(call_sid, account_sid, agent, from_, to, found, coming.owed)

    def announce(
        self, call_sid: str, account_sid: str, agent: Agent, *, from_: str = "", to: str = ""
    ) -> CallEntry:
        """A call will have a stream. Asked again, the answer is the same."""
        known = self.find(call_sid)
        if known is not None:
            return known
        return self._announce(call_sid, account_sid, agent, from_, to, LookupResult(), [])

    def _announce(
        self,
        call_sid: str,
        account_sid: str,
        agent: Agent,
        from_: str,
        to: str,
        found: LookupResult,
        owed: list[Callable[[], None]],
    ) -> CallEntry:
        call = NewCall(call_sid, agent.name, webhook=True, from_=from_, to=to)
        entry, session = self._enter(
            call, account_sid, agent, secrets.token_urlsafe(24), found.variables
        )
        if found.event is not None:
            session.note(found.event)
        agent = entry.agent
        announcement_ms = _announcement_ms(agent)
        entry.expected_until = self._clock.now() + announcement_ms / 1000 + STREAM_DUE_S
        for tell in owed:
            tell()
        session.receive(inputs.CallAnnounced(announcement_ms))
        return entry

    def turn_away(
        self, call_sid: str, account_sid: str, agent: Agent, from_: str, to: str, after_url: str
    ) -> str:
        """Return TwiML for a call for which there is no room.

        One for which another number is dialled is in the record, since that costs money.
        """
        if agent.busy.dial is None or self.farewells.given(call_sid) is not None:
            return self.farewells.busy(call_sid, agent, after_url)
        values = json.dumps(self.variables(call_sid, agent, from_, to), ensure_ascii=False)
        began = CallBegan(
            account_sid, agent.name, agent.tier, "inbound", "webhook", from_, to, values
        )
        full = Slug.SERVER_FULL
        self._publish(CallEvent(call_sid, 0, began))
        document = self.farewells.busy(call_sid, agent, after_url)
        self._publish(CallEvent(call_sid, 0, CallEnded(full.fault, full.slug, full.words, "", 0)))
        return document

    def expect(self, outgoing: PendingCall) -> None:
        """Twilio is about to be asked for this call. Its stream may be the first to name it."""
        self._outgoing[outgoing.token] = outgoing

    def unexpect(self, outgoing: PendingCall) -> None:
        """There is no such call, and a stream that says so is refused."""
        self._outgoing.pop(outgoing.token, None)

    def place(self, call_sid: str, outgoing: PendingCall) -> CallEntry:
        """A call that we place has got its CallSid. Told again, the answer is the same.

        It waits for its stream, or its final status, however long it rings; the agent is dialled
        when it is `picked_up`, or when the stream comes.
        """
        self._outgoing.pop(outgoing.token, None)
        known = self.find(call_sid)
        if known is not None:
            return known
        call = NewCall(
            call_sid,
            outgoing.agent.name,
            webhook=True,
            from_=outgoing.from_,
            to=outgoing.to,
            outbound=True,
        )
        entry, _ = self._enter(
            call,
            outgoing.account_sid,
            outgoing.agent,
            outgoing.token,
            outgoing.variables,
        )
        entry.expected_until = self._clock.now() + outgoing.rings_s + STREAM_DUE_S
        outgoing.named(call_sid)
        return entry

    def picked_up(self, call_sid: str) -> None:
        """Somebody has answered a call that we placed: the agent is dialled ahead of the stream."""
        entry = self._live.get(call_sid)
        if entry is not None and not entry.has_stream:
            announcement_ms = _announcement_ms(entry.agent)
            entry.expected_until = self._clock.now() + announcement_ms / 1000 + STREAM_DUE_S
            self.tell(call_sid, inputs.CallAnnounced(announcement_ms))

    def variables(
        self,
        call_sid: str,
        agent: Agent,
        from_: str,
        to: str,
        given: Mapping[str, str] = _NONE,
    ) -> dict[str, str]:
        """What fills `{{name}}` for such a call, with what was `given` for it."""
        return variables.of_call(
            agent.variables,
            agent=agent.name,
            call_sid=call_sid,
            caller=from_,
            called=to,
            now=wall_clock(agent.timezone),
            given=given,
        )

    def admit(self, channel: Channel, start: Start) -> str | None:
        """A stream whose upgrade was signed says whose call it is. Returns why it may not, if so.

        `channel` becomes the caller's leg of that call, else it is the asker's to close.
        """
        details = start.start
        ours = self._config.twilio.account_sid
        if ours is not None and details.account_sid != ours:
            return "a foreign account"
        entry = self.find(details.call_sid)
        token = details.custom_parameters.get("token")
        if token is not None:
            return self._admit_announced(channel, start, entry, token)
        if not self._config.twilio.bin:
            return "no token, and twilio.bin is off"
        sid = details.call_sid
        if entry is not None or sid in self._seen or sid in self._coming:
            return "this CallSid was seen before, or owes a token"
        if self.full:
            return "at capacity"
        agent = self._config.agent_for(None)
        if agent is None:
            return "no default line"
        call = NewCall(details.call_sid, agent.name, webhook=False)
        given, _ = variables.taken(details.custom_parameters)
        _, session = self._enter(call, details.account_sid, agent, None, given)
        session.begin(channel, start)
        return None

    def _admit_announced(
        self, channel: Channel, start: Start, entry: CallEntry | None, token: str
    ) -> str | None:
        if entry is None:
            outgoing = self._outgoing.get(token)
            if outgoing is not None and outgoing.account_sid == start.start.account_sid:
                # Twilio's answer to our request is still on its way.
                entry = self.place(start.start.call_sid, outgoing)
        if entry is None or entry.token is None:
            return "an unknown token"
        if not hmac.compare_digest(entry.token.encode(), token.encode()):
            return "a token of another call"
        if entry.account_sid != start.start.account_sid:
            return "a foreign account"
        if entry.session is None:
            return "the call is over"
        if entry.session.has_stream:
            return "a used token"
        entry.after_owed = True
        entry.away = None
        entry.session.begin(channel, start)
        return None

    def _enter(
        self,
        call: NewCall,
        account_sid: str,
        agent: Agent,
        token: str | None,
        given: Mapping[str, str],
    ) -> tuple[CallEntry, Session]:
        values = self.variables(call.call_sid, agent, call.from_, call.to, given)
        agent = agent.filled(values)
        recorded = agent.recording and self._recordings is not None
        once: Once = {}
        session = Session(
            call.call_sid,
            self._brief(call, agent, values, once),
            clock=self._clock,
            dial=self._dial,
            publish=self._on_event,
            line=self,
            ended=self._on_ended,
            brief_for=lambda name: self._take_agent(call, name, values, once),
            tap=tap_for(self._make_tap, call),
            recordings=self._recordings if recorded and call.webhook else None,
        )
        self.farewells.forget(call.call_sid)  # It was turned away, and asked for again.
        entry = CallEntry(session, agent, account_sid, token, self._clock.now())
        entry.values = values
        entry.line = call.from_ if call.outbound else call.to
        self._live[call.call_sid] = entry
        session.note(
            CallBegan(
                account_sid,
                agent.name,
                agent.tier,
                "outbound" if call.outbound else "inbound",
                _came_by(call),
                call.from_,
                call.to,
                json.dumps(values, ensure_ascii=False),
            )
        )
        if recorded and not call.webhook:
            session.note(RecordingFailed("a TwiML Bin's caller has not heard the announcement"))
        return entry, session

    def _take_agent(
        self, call: NewCall, name: str, values: Mapping[str, str], once: Once
    ) -> AgentSession:
        """What another agent of the house is in a call, which is that agent's now."""
        agent = self._live[call.call_sid].agent = self._agents[name].filled(values)
        return self._brief(call, agent, values, once)

    def _brief(
        self, call: NewCall, agent: Agent, values: Mapping[str, str], once: Once
    ) -> AgentSession:
        """What an agent is in a call."""
        toolbox = agent.tool_files.latest()
        direction: Direction = "outbound" if call.outbound else "inbound"
        handle = self._handle(call.call_sid, agent, call.from_, call.to, values, direction)
        handle = replace(handle, _once=once)
        functions = [tool.definition for tool in toolbox.values()]

        def settings(greeting: bool, history: Sequence[History]) -> bytes:
            return agent.settings.message(
                greeting=greeting,
                context=history,
                functions=functions,
                fill=lambda text: variables.fill(text, values),
            )

        def change(part: Part, block: Any) -> Change:
            return agent.settings.change(part, block, functions)

        tools = self._tools(toolbox, handle)
        return AgentSession(plan_of(agent), settings, change, tools, agent.recording)

    def _handle(
        self,
        call_sid: str,
        agent: Agent,
        from_: str,
        to: str,
        values: Mapping[str, str],
        direction: Direction = "inbound",
    ) -> Call:
        """The call as a user's functions are given it."""
        known = MappingProxyType(values)
        return Call(call_sid, agent.name, from_ or None, to or None, known, self, direction)

    # --- going out -----------------------------------------------------------------------------

    def tell(self, call_sid: str, message: Input) -> None:
        """Something outside the two sockets happened to a call."""
        coming = self._coming.get(call_sid)
        if coming is not None:
            coming.owed.append(partial(self.tell, call_sid, message))
            return
        entry = self._live.get(call_sid)
        if entry is not None and entry.session is not None:
            entry.session.receive(message)

    async def ask(self, call_sid: str, wish: CallRequest) -> tuple[bool, str]:
        """Ask something of a call: whether it was done, and what happened."""
        session = self._session(call_sid)
        if session is None:
            return False, "there is no such call"
        reply: asyncio.Future[tuple[bool, str]] = asyncio.get_running_loop().create_future()

        def replied(done: bool, what: str) -> None:
            if not reply.done():
                reply.set_result((done, what))

        entry = self._live[call_sid]
        beyond_reach = not entry.has_stream and self._lines.rest is None
        ask = session.ask(wish, replied)
        try:
            done, what = await reply
            if done and beyond_reach and isinstance(wish, HangUp):
                what = _BEYOND_REACH
            return done, what
        except asyncio.CancelledError:
            session.receive(inputs.RequestCancelled(ask))
            raise

    def change(self, call_sid: str, part: Part, block: Any) -> Change:
        """The message that changes a part of a call's agent, for an Update.

        Raises UserError E-SET-01 and E-SET-02 for what cannot be, and ToolError for no such call.
        """
        session = self._session(call_sid)
        if session is None:
            raise ToolError("there is no such call")
        return session.change(part, block)

    # --- leaving a stream: a session.Line ---

    def leave(self, call_sid: str, errand: HandoffAction, close: Callable[[], None]) -> None:
        """Have Twilio ask /twilio/after, which sends the caller on the errand."""
        entry = self._live[call_sid]
        url = self.after_url(entry)
        entry.away = Away(errand)
        entry.leaves += 1
        entry.token = secrets.token_urlsafe(24)
        entry.expected_until = self._clock.now() + STREAM_DUE_S
        if entry.by_webhook:
            close()
            return

        def in_vain() -> None:
            close()  # which ends the call of a TwiML Bin, whose document has no next verb
            lost = inputs.NobodyReached(Slug.CALLER_LEG_LOST, "Twilio could not be told to go on")
            self.tell(call_sid, lost)

        self._lines.send_to(call_sid, url, in_vain)

    def after_url(self, entry: CallEntry) -> str:
        """Where Twilio asks what comes after the stream that is there, or comes next.

        It counts the streams: a repeated question about one before changes nothing.
        """
        origin = self._config.server.public_url or entry.origin
        number = f"?stream={entry.leaves}" if entry.leaves else ""
        return f"{origin}/twilio/after{number}"

    def drop(self, call_sid: str, close: Callable[[], None]) -> None:
        """End the phone call."""
        self._lines.hang_up(call_sid, close)

    def put_through(self, call_sid: str, destination: str) -> None:
        """A key was pressed that is mapped to a destination."""
        _ = self._lines.start(call_sid, self._put_through(call_sid, destination))

    async def _put_through(self, call_sid: str, destination: str) -> None:
        try:
            await self.transfer(call_sid, destination, "The caller asked for you by a key.")
        except ToolError as refused:
            words = f"(The caller asked for {destination} by a key; {refused}.)"
            await self.ask(call_sid, Tell(words))

    def hand_over(self, call_sid: str, entry: CallEntry) -> None:
        """Twilio asks for the errand for which a stream was left, and is told it. Once.

        A person who was to be met and is gone is no errand: the caller comes back.
        """
        away = entry.away
        if away is None or away.is_handed_over or away.is_returning:
            return
        errand, now = away.errand, self._clock.now()
        if isinstance(errand, JoinConference) and not self.transfers.meet(call_sid):
            self.errand_done(call_sid, entry, "hung-up")
            return
        away.is_handed_over = True
        self.tell(call_sid, inputs.HandoffBegun())
        match errand:
            case SendDigits():
                entry.expected_until = now + errand.duration_s + STREAM_DUE_S
            case DialErrand():
                entry.expected_until = now + errand.timeout_s + RING_SLACK_S
                self._note(call_sid, Dialled("transfer", errand.name, errand.to))
            case JoinConference():
                entry.expected_until = now + MEET_S
        away.known_at = entry.expected_until

    def errand_done(self, call_sid: str, entry: CallEntry, outcome: HandoffOutcome) -> None:
        """What became of a transfer for which the stream was left. Told again, nothing changes."""
        away = entry.away
        if away is None or away.is_returning:
            return
        if isinstance(away.errand, JoinConference) and outcome == "reached":
            outcome = "reached" if self.transfers.have_met(call_sid) else "hung-up"
        away.is_returning = outcome != "reached"
        self.tell(call_sid, inputs.HandoffDone(outcome))
        if entry.ending is None:
            self.transfers.over(call_sid)
            entry.expected_until = self._clock.now() + STREAM_DUE_S

    def _bring_back(self, call_sid: str) -> None:
        """The person whom a caller was to meet is gone: the caller must not wait alone."""
        entry = self._live.get(call_sid)
        if entry is not None and entry.away is not None and not entry.away.is_returning:
            self.errand_done(call_sid, entry, "hung-up")
            origin = self._config.server.public_url or entry.origin
            url = f"{origin}/twilio/after?stream={entry.leaves - 1}"
            self._lines.bring_back(call_sid, url, lambda: entry.away is not None)

    def note(self, call_sid: str, event: Event) -> None:
        """Tell whoever subscribes of something about a call that is not over."""
        session = self._session(call_sid)
        if session is not None:
            session.note(event)

    def pause_recording(self, call_sid: str) -> bool:
        """Record silence on both sides of a call from now on, from any thread.

        False when there is no such call, or it is not recorded.
        """
        session = self._session(call_sid)
        return session is not None and session.pause_recording()

    def resume_recording(self, call_sid: str) -> bool:
        """Record what is said in a call again, as in `pause_recording`."""
        session = self._session(call_sid)
        return session is not None and session.resume_recording()

    async def hang_up(self, call_sid: str, farewell: str) -> str:
        """End a call when the farewell was heard. Raises ToolError."""
        return await self._asked(call_sid, HangUp("agent", farewell))

    async def transfer(self, call_sid: str, destination: str, summary: str) -> str:
        """Put a caller through. Raises ToolError."""
        entry = self._live.get(call_sid)
        if entry is None:
            raise ToolError("there is no such call")
        party = Party(
            call_sid,
            entry.agent,
            entry.line,
            self._config.server.public_url or entry.origin,
            entry.by_webhook,
            partial(self.ask, call_sid),
            partial(self._note, call_sid),
            lambda: entry.ending is None,
            lambda errand: entry.away is not None and entry.away.errand is errand,
            partial(self._bring_back, call_sid),
        )
        return await self.transfers.begin(
            party, destination, summary, partial(self._agent_at, entry.values)
        )

    def _can_leave(self, entry: CallEntry) -> bool:
        """Whether Twilio can be told what comes after a stream that is left."""
        origin = self._config.server.public_url or entry.origin
        return entry.by_webhook or (self._lines.rest is not None and bool(origin))

    def _agent_at(self, values: Mapping[str, str], destination: TransferDestination) -> Agent:
        if destination.agent is None:
            raise ValueError("a destination that is no agent")
        return self._config.agents[destination.agent].filled(values)

    async def send_digits(self, call_sid: str, digits: str) -> str:
        """Press keys in a call. Raises ToolError."""
        entry = self._live.get(call_sid)
        if entry is not None and not self._can_leave(entry):
            raise ToolError("keys cannot be pressed on this line")
        return await self._asked(call_sid, Leave(SendDigits(digits)))

    async def ask_digits(
        self, call_sid: str, prompt: str, max_digits: int, timeout_s: float
    ) -> str:
        """Have the caller enter what nobody else is to know. Raises ToolError."""
        return await self._asked(call_sid, AskDigits(prompt, max_digits, timeout_s))

    async def _asked(self, call_sid: str, wish: CallRequest) -> str:
        done, what = await self.ask(call_sid, wish)
        if not done:
            raise ToolError(what)
        return what

    async def send_text(self, call: Call, text: str, to: str) -> str:
        """Send a text message. Raises ToolError."""
        entry = self.find(call.sid)
        texts = entry.agent.texts if entry is not None else None
        return await self._office.send_text(texts, call, text, to, partial(self._note, call.sid))

    async def take_message(self, call: Call, name: str, number: str, text: str) -> str:
        """Keep a message in the record. Raises ToolError."""
        return self._office.take_message(name, number, text, partial(self._note, call.sid))

    async def stop_calling(self, call: Call) -> str:
        """Never ring the other party again. Raises ToolError."""
        return self._office.stop_calling(call, partial(self._note, call.sid))

    def _session(self, call_sid: str) -> Session | None:
        entry = self._live.get(call_sid)
        return None if entry is None else entry.session

    def billed(self, call_sid: str, status: str, seconds: int) -> None:
        """Twilio said how long a call was; it is over, here too. Told again, it is not counted."""
        coming = self._coming.get(call_sid)
        if coming is not None:
            coming.owed.append(partial(self.billed, call_sid, status, seconds))
            return
        if call_sid in self._billed:
            return
        self._billed.add(call_sid, self._clock.now())
        over = self._over.get(call_sid)
        if over is not None:
            self.after_answered(over)  # Twilio asks nothing more
        self._note(call_sid, CallBilled(status, seconds * 1000))

    def _note(self, call_sid: str, event: Event) -> None:
        """Tell an event of a call that may be over."""
        entry = self.find(call_sid)
        began = entry.began if entry is not None else self._clock.now()
        at_ms = round((self._clock.now() - began) * 1000)
        self._publish(CallEvent(call_sid, at_ms, event))

    def after_answered(self, entry: CallEntry) -> None:
        """Twilio asked what comes after the stream, and was told."""
        entry.after_owed = False
        self._changed.set()

    def stop_all(self) -> None:
        """End every call now. A caller who talks with somebody else by now was put through."""
        now = self._clock.now()
        for call_sid in [*self._live, *self._coming]:
            entry = self._live.get(call_sid)
            away = entry.away if entry is not None else None
            if away is not None and away.is_handed_over and now >= away.known_at:
                # Twilio would have told by now that nobody was reached. Of keys it tells nothing,
                # and the call takes no notice.
                self.tell(call_sid, inputs.HandoffDone("reached"))
            self.tell(call_sid, inputs.ServerStopped())

    async def until_idle(self) -> None:
        """Wait until no call is live: none has a stream, or is expected to have one any moment."""
        while self.live:
            now = self._clock.now()
            due = [e.expected_until for e in self._live.values() if not e.has_stream]
            coming = [at for at in due if at > now]
            await self._wait(min(coming) - now if coming else None)

    async def until_handed_over(self, seconds: float, hung_up: Callable[[], bool]) -> None:
        """Wait until Twilio was told what comes after every stream, for `seconds` of each at most.

        A server that exits right after closing a stream leaves its caller with Twilio's error.
        Twilio may also ask after a caller has hung up (twilio.md §2.4, INFERRED): as long as
        `hung_up` says so that is waited for, and Twilio logs no server that cannot be reached. The
        wait is counted in looks, and so is longer where this machine is slow.
        """
        begin = self._clock.now()
        for _ in range(math.ceil(seconds / _LOOK_S)):
            since, gone = begin - seconds, hung_up()
            if not any(_is_owed(entry, since, gone) for entry in self._over.values()):
                return
            await self._wait(_LOOK_S)

    async def _wait(self, seconds: float | None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(None if seconds is None else max(seconds, 0) + 0.001):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _on_ended(self, session: Session) -> None:
        entry = self._live.pop(session.call_sid)
        now = self._clock.now()
        entry.ending = session.ending
        entry.session = None
        entry.values = _NONE
        entry.over_at = now
        entry.away = None
        ending = session.ending
        gone = ending is not None and ending.how in (Slug.CALLER_HUNG_UP, Slug.OPERATOR_HUNG_UP)
        self.transfers.call_over(session.call_sid, caller_is_gone=gone)
        self._over[session.call_sid] = entry
        self._seen.add(session.call_sid, now)
        if len(self._over) > RECENT_MAX:
            del self._over[next(iter(self._over))]
        self._changed.set()

    def _on_event(self, call_event: CallEvent) -> None:
        if isinstance(call_event.event, AgentConnected | CallEnded):
            entry = self._live.get(call_event.call_sid)
            if entry is not None:
                entry.answered.set()
        self._publish(call_event)


def _is_owed(entry: CallEntry, since: float, hung_up: bool) -> bool:
    """Tell whether Twilio may still ask what comes after that call, over since then or later."""
    if not entry.after_owed or entry.over_at < since:
        return False
    gone = entry.ending is not None and entry.ending.how is Slug.CALLER_HUNG_UP
    return not gone or (hung_up and entry.by_webhook)


def _announcement_ms(agent: Agent) -> int:
    """How long Twilio speaks before it opens the stream, about."""
    spoken = agent.announcement.say if agent.announcement is not None else ""
    return len(spoken) * _CHARACTER_MS


def _came_by(call: NewCall) -> Literal["webhook", "bin", "api"]:
    if call.outbound:
        return "api"
    return "webhook" if call.webhook else "bin"


def plan_of(agent: Agent) -> CallSettings:
    """What an agent's file says about the limits of its calls."""
    return CallSettings(
        max_s=agent.limits.max_minutes * 60,
        silence_s=agent.limits.silence_seconds,
        phrases=agent.phrases,
        key_s=agent.keypad.timeout_seconds,
        actions={key: each.action for key, each in agent.keypad.actions.items()},
        forces_turns=agent.settings.listens_with_flux,
    )
