"""Placing a call, once: asked for, judged, announced, followed to its end.

Nothing is ever rung twice for one request. Its key is written down before Twilio is asked; a
request to which no answer came is looked for at Twilio, not repeated; and the stream or a status
callback that comes before the answer names the call as well as the answer does.
"""

import asyncio
import contextlib
import logging
import secrets
import zoneinfo
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final

from offhook import variables, yamlfile
from offhook.call import inputs
from offhook.call.ending import Slug
from offhook.calls import CallEntry, Calls, Outgoing
from offhook.clock import Clock
from offhook.config import Agent, Config
from offhook.errors import Problem
from offhook.guard import Guard, Why, refusal
from offhook.outbound.ledger import Ledger, Placement, fingerprint
from offhook.outbound.people import E164
from offhook.outbound.problems import NotNow, Uncertain
from offhook.outbound.truth import END_OF_GREETING, MACHINES, UNANSWERED, Truth
from offhook.twilio import twiml
from offhook.twilio.refusals import TwilioRefused, TwilioUnreachable
from offhook.twilio.rest import MachineDetection, TwilioRest

_log: Final = logging.getLogger("offhook.outbound")

TWIML_MAX: Final = 4000
"""Characters of TwiML in a request (twilio.md §1.8)."""

TIME_LIMIT_MIN_S: Final = 60
"""Twilio's least (twilio.md §1.8)."""

GOODBYE_S: Final = 60
"""What Twilio's own time limit leaves the agent for its goodbye at ours."""

PACE_MAX_S: Final = 10.0
"""How long a request waits for its turn; one that would wait longer is to come again."""

SETTLED_S: Final = 30.0
"""After which a call that Twilio does not list was not created. Longer than any request lasts."""

CLOCKS_S: Final = 30.0
"""How far Twilio's clock may be from ours."""

LOOKS_S: Final = (1.0, 2.0, 4.0)
"""When a call is looked for whose creation was not answered."""

OVERDUE_S: Final = 60.0
"""How long after the last moment that something should have been told Twilio is asked for it."""

FOLLOWED_MAX: Final = 1000
"""Calls that are over of which the status is still known here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that is asked for."""

    to: str
    agent: str
    variables: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    """Asked for again with the same key, it is the same call."""

    zone: str | None = None
    """The time zone of the person; None is the agent's."""

    within_hours: bool = False
    """Whether it is only to be placed within the agent's calling hours."""


@dataclass(frozen=True, slots=True)
class Placed:
    """There is a call. `again`: it was there before it was asked for this time."""

    sid: str
    again: bool


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a call that we placed."""

    sid: str
    status: str
    final: bool
    answered_by: str | None
    slug: str | None
    words: str | None


class _Followed:
    """A call between its placing and its end."""

    __slots__ = ("agent", "changed", "due", "truth")

    def __init__(self, agent: Agent, due: float) -> None:
        self.agent = agent
        self.truth = Truth()
        self.changed = asyncio.Event()
        self.due = due
        """When Twilio is asked what became of it, if it has not told."""


class Placing:
    """The calls that one server places. `watch` is its owner's to run.

    `account_sid` and `public_url` are those of the configuration. `wall` is the wall clock, UTC.
    """

    def __init__(
        self,
        config: Config,
        calls: Calls,
        rest: TwilioRest,
        ledger: Ledger,
        *,
        guard: Guard,
        clock: Clock,
        wall: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._calls = calls
        self._rest = rest
        self._ledger = ledger
        self._guard = guard
        self._clock = clock
        self._wall = wall
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._by_id: dict[str, Outgoing] = {}
        self._busy: set[str] = set()
        """Keys that are at work."""
        self._creating = 0
        self._turn_at = clock.now()

    @property
    def live(self) -> int:
        """Calls that are being created, ring or go on."""
        return self._creating + sum(not f.truth.final for f in self._followed.values())

    # --- placing -------------------------------------------------------------------------------

    async def place(self, wanted: Wanted) -> Placed:
        """Place a call, or say which one it is. Whether anybody answers shows later: `state`.

        Raises Problem E-OUT-… for a call that is not placed, of which NotNow may be tried again
        and Uncertain must be, with the same key.
        """
        agent = self._agent(wanted.agent)
        given = variables.taken(wanted.variables)[0]
        key = wanted.key or f"unnamed:{secrets.token_hex(16)}"
        if key in self._busy:
            raise NotNow(
                "E-OUT-08",
                "A call with this idempotency key is being placed at this moment.",
                "Ask again, with the same key.",
                1.0,
            )
        placement = self._placement(key, fingerprint(wanted.to, wanted.agent, given))
        self._busy.add(key)
        try:
            known = await self._ledger.claim(placement)
            if known is not None:
                sid = await self._known(known, placement, wanted, agent)
                if sid is not None:
                    return Placed(sid, again=True)
            return Placed(await self._place(wanted, agent, given, placement), again=False)
        finally:
            self._busy.discard(key)

    async def _place(
        self, wanted: Wanted, agent: Agent, given: Mapping[str, str], placement: Placement
    ) -> str:
        try:
            outgoing = self._outgoing(wanted, agent, given, placement)
            await self._judge(wanted, agent)
            self._find_room()
            await self._await_turn()
            self._find_room()
            self._count(wanted.to)
        except Problem:
            await self._ledger.release(placement)
            raise
        self._creating += 1
        self._calls.expect(outgoing)
        self._by_id[placement.id] = outgoing
        try:
            sid = await self._create(outgoing, placement)
            self._calls.place(sid, outgoing)
        except Uncertain:
            raise  # its stream, or a report of it, may still come
        except Problem:
            self._calls.unexpect(outgoing)
            self._by_id.pop(placement.id, None)
            await self._ledger.release(placement)
            raise
        finally:
            self._creating -= 1
        await self._ledger.name(placement.id, sid)
        return sid

    async def _create(self, outgoing: Outgoing, placement: Placement) -> str:
        agent, origin = outgoing.agent, self._config.server.public_url
        assert origin is not None, "it was asked for"
        wants = agent.outbound
        query = f"?placing={placement.id}"
        limit = round(agent.limits.max_minutes * 60) + GOODBYE_S
        try:
            created = await self._rest.create_call(
                to=outgoing.to,
                from_=outgoing.from_,
                twiml=self._document(outgoing),
                status_callback=f"{origin}/twilio/status{query}",
                timeout_s=wants.ring_seconds,
                time_limit_s=max(limit, TIME_LIMIT_MIN_S),
                machine_detection=self._detection(agent, f"{origin}/twilio/amd{query}"),
                call_reason=wants.call_reason,
            )
        except TwilioRefused as refused:
            if refused.status >= 500:  # a gateway's, perhaps, behind which it was carried out
                return await self._look_for(outgoing, placement)
            if refused.status == 429 or refused.code == 10004:
                raise NotNow.of(refused.problem(), 2.0) from None
            raise refused.problem() from None
        except TwilioUnreachable as unreachable:
            if not unreachable.sent:
                raise NotNow.of(unreachable.problem(), 5.0) from None
            return await self._look_for(outgoing, placement)
        return created.sid

    async def _look_for(self, outgoing: Outgoing, placement: Placement) -> str:
        """Our request left, and no answer came. Raises Uncertain when it stays so."""
        for wait_s in LOOKS_S:
            await asyncio.sleep(wait_s)
            sid = await self._listed(outgoing.from_, outgoing.to, placement)
            if sid is not None:
                return sid
        raise _uncertain(SETTLED_S)

    async def _known(
        self,
        known: Placement,
        wanted_now: Placement,
        wanted: Wanted,
        agent: Agent,
    ) -> str | None:
        """The key was used before: the CallSid of its call; None: there is none, and it is ours."""
        if known.fingerprint != wanted_now.fingerprint:
            raise Problem(
                "E-OUT-07",
                "This idempotency key was used for another call.",
                "Use a key of its own for each call that is to be placed.",
            )
        if known.sid is not None:
            return known.sid
        from_ = self._caller_id(agent)
        sid = await self._listed(from_, wanted.to, known)
        if sid is not None:
            outgoing = self._by_id.get(known.id)
            if outgoing is not None:  # else an earlier run placed it, and its token went with that
                self._calls.place(sid, outgoing)
            await self._ledger.name(known.id, sid)
            return sid
        age_s = (wanted_now.made_ms - known.made_ms) / 1000
        if age_s < SETTLED_S:
            raise _uncertain(SETTLED_S - age_s)
        stale = self._by_id.pop(known.id, None)
        if stale is not None:
            self._calls.unexpect(stale)
        if not await self._ledger.retake(known, wanted_now):
            raise _uncertain(1.0)
        return None

    async def _listed(self, from_: str, to: str, placement: Placement) -> str | None:
        """The call that Twilio made of a placement, if it has one that is nobody else's.

        Twilio keeps no key of ours, so it is a call from us to that number, made since then, that
        belongs to no other placement (twilio.md §5.1). Raises Uncertain when it cannot be asked.
        """
        earliest = placement.made_ms / 1000 - CLOCKS_S
        try:
            listed = await self._rest.calls_to(to=to, from_=from_)
        except (TwilioRefused, TwilioUnreachable):
            raise _uncertain(5.0) from None
        since = [call.sid for call in listed if (call.created_s or earliest) >= earliest]
        others = await self._ledger.named(since)
        ours = [sid for sid in since if sid not in others]
        return ours[-1] if ours else None

    # --- whether it may be placed --------------------------------------------------------------

    def _agent(self, name: str) -> Agent:
        agents = self._config.agents_by_name()
        if name not in agents:
            close = yamlfile.nearest(name, agents)
            fix = f'Did you mean "{close}"?' if close else f"There are: {', '.join(agents)}."
            raise Problem("E-OUT-02", "No agent has that name.", fix)
        return agents[name]

    def _caller_id(self, agent: Agent) -> str:
        found = self._config.caller_id_of(agent)
        if found is None:
            raise Problem(
                "E-OUT-03",
                f"No number is set that people see whom the agent {agent.name} calls.",
                "Set outbound.caller_id in offhook.yaml to a number of your Twilio account.",
            )
        return found

    def _outgoing(
        self, wanted: Wanted, agent: Agent, given: Mapping[str, str], placement: Placement
    ) -> Outgoing:
        """The call as it will be. Raises Problem for what can never be placed."""
        if self._config.server.public_url is None or self._config.twilio.account_sid is None:
            raise Problem(
                "E-OUT-01",
                "Twilio cannot be told where this server is: a public_url or the account is missing.",  # noqa: E501
                "Set server.public_url, and TWILIO_ACCOUNT_SID.",
            )
        if not E164.fullmatch(wanted.to):
            raise Problem(
                "E-OUT-04",
                "This is not a phone number in international form.",
                "Write + and 7 to 15 digits, as +12025550142.",
            )

        def named(sid: str) -> None:
            self._by_id.pop(placement.id, None)
            self._follow(sid, agent)

        outgoing = Outgoing(
            token=secrets.token_urlsafe(24),
            agent=agent,
            account_sid=self._config.twilio.account_sid,
            from_=self._caller_id(agent),
            to=wanted.to,
            variables=given,
            rings_s=agent.outbound.ring_seconds,
            named=named,
        )
        if len(self._document(outgoing)) > TWIML_MAX:
            raise Problem(
                "E-OUT-09",
                f"The agent's announcement makes TwiML of more than {TWIML_MAX} characters.",
                "Shorten announcement.say in the agent file, or a variable that fills it.",
            )
        return outgoing

    async def _judge(self, wanted: Wanted, agent: Agent) -> None:
        """Raises Problem for somebody who may not be called, or not now."""
        refused = refusal(self._guard.rules, wanted.to)
        if refused is not None:
            raise _forbidden(refused.words)
        if wanted.within_hours:
            now = self._wall()
            opens = agent.outbound.calling_hours.opens(now, self._zone(wanted.zone, agent))
            if opens is not None:
                raise NotNow(
                    "E-OUT-10",
                    f"It is outside the calling hours there, until {opens:%Y-%m-%d %H:%M %Z}.",
                    "Ask again then; the agent file has the hours.",
                    max((opens - now).total_seconds(), 1.0),
                )
        if await self._ledger.is_barred(wanted.to):
            raise Problem(
                "E-OUT-11",
                "This number is on the list of those that are never to be called.",
                "Leave it out.",
            )

    def _zone(self, name: str | None, agent: Agent) -> tzinfo:
        if name is None:
            return agent.timezone or self._wall().astimezone().tzinfo or UTC
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise Problem(
                "E-OUT-16",
                "This machine knows no time zone of that name.",
                "Write one as Europe/Berlin.",
            ) from None

    def _find_room(self) -> None:
        """Raises NotNow when no further call may ring."""
        if self._calls.draining:
            raise NotNow(
                "E-OUT-06", "The server is stopping, and places no calls.", "Ask again later.", 10.0
            )
        if self.live >= self._config.outbound.concurrent or self._calls.full:
            raise NotNow(
                "E-OUT-12",
                "As many calls as may be are ringing or going on.",
                "Ask again when one is over, or raise outbound.concurrent or server.capacity.",
                1.0,
            )

    def _count(self, to: str) -> None:
        """The last word is the guard's, which counts what it lets through."""
        refused = self._guard.check("call", to, self._clock.now())
        if refused is None:
            return
        if refused.why in (Why.CALLS_PER_HOUR, Why.SPEND_PER_HOUR):
            raise NotNow(
                "E-OUT-17",
                f"This number is not called now: {refused.words}.",
                "Ask again in an hour, or raise the limits of dialling: in offhook.yaml.",
                60.0,
            )
        raise _forbidden(refused.words)

    async def _await_turn(self) -> None:
        """Calls leave one after the other, as fast as the configuration says."""
        now = self._clock.now()
        at = max(now, self._turn_at)
        if at - now > PACE_MAX_S:
            raise NotNow(
                "E-OUT-13",
                "More calls are asked for than outbound.calls_per_second lets through.",
                "Ask again more slowly.",
                at - now - PACE_MAX_S,
            )
        self._turn_at = at + 1 / self._config.outbound.calls_per_second
        if at > now:
            await asyncio.sleep(at - now)

    # --- what Twilio is told -------------------------------------------------------------------

    def _document(self, outgoing: Outgoing) -> str:
        origin = self._config.server.public_url or ""
        values = self._calls.variables(
            "", outgoing.agent, outgoing.from_, outgoing.to, outgoing.variables
        )
        spoken = outgoing.agent.filled(values)
        return twiml.connect(
            stream_url="wss" + origin.removeprefix("https") + "/twilio",
            after_url=origin + "/twilio/after",
            stream_status_url=origin + "/twilio/stream-status",
            token=outgoing.token,
            announcement=spoken.announcement,
            apology=spoken.fallback.say,
        )

    @staticmethod
    def _detection(agent: Agent, callback: str) -> MachineDetection | None:
        match agent.outbound.answering_machine:
            case "talk":
                return None  # nothing depends on it, and each verdict costs money
            case "hang_up":
                return MachineDetection("Enable", callback)
            case "leave_message":
                return MachineDetection("DetectMessageEnd", callback)

    def _placement(self, key: str, mark: str) -> Placement:
        return Placement(
            key, secrets.token_urlsafe(12), mark, round(self._wall().timestamp() * 1000)
        )

    # --- following -----------------------------------------------------------------------------

    def _follow(self, sid: str, agent: Agent) -> None:
        due = self._clock.now() + agent.outbound.ring_seconds + OVERDUE_S
        self._followed[sid] = _Followed(agent, due)
        if len(self._followed) > FOLLOWED_MAX:
            oldest = next((s for s, f in self._followed.items() if f.truth.final), None)
            if oldest is not None:
                del self._followed[oldest]

    async def on_status(self, sid: str, status: str, placing_id: str, detail: str) -> bool | None:
        """A status callback. Returns whether it is news; None: this call is not one of ours."""
        followed = self._followed.get(sid)
        if followed is None and placing_id:
            outgoing = self._by_id.get(placing_id)
            if outgoing is None:
                # Of an earlier run of this server, perhaps: it names the call that it began.
                with contextlib.suppress(Problem):
                    await self._ledger.name(placing_id, sid)
                return None
            self._calls.place(sid, outgoing)
            followed = self._followed.get(sid)
        if followed is None:
            return None
        return self._hear(sid, followed, status, detail)

    def _hear(self, sid: str, followed: _Followed, status: str, detail: str) -> bool:
        if not followed.truth.hear(status):
            return False
        entry = self._calls.find(sid)
        if followed.truth.final:
            slug = UNANSWERED.get(status)
            if slug is not None and entry is not None and not entry.has_stream:
                self._calls.tell(sid, inputs.NobodyReached(slug, detail))
            else:
                self._calls.tell(sid, inputs.CallOver())
        elif status == "in-progress":
            limit_s = followed.agent.limits.max_minutes * 60 + GOODBYE_S
            followed.due = self._clock.now() + limit_s + OVERDUE_S
            self._calls.picked_up(sid)
        followed.changed.set()
        followed.changed = asyncio.Event()
        return True

    async def on_answered_by(self, sid: str, verdict: str, placing_id: str) -> None:
        """A verdict on who answered. A person never waits for it: the agent talks already.

        A machine's call ends here. When the stream is open its end is enough: Twilio then asks
        /twilio/after, which answers with the message or the hang-up. That takes no REST request
        that could fail or come too early, and no agent that would have to be quiet, find the
        moment and say the words. Without a stream (the announcement is still being said) REST
        replaces what Twilio does.
        """
        followed = self._followed.get(sid)
        if followed is None and placing_id in self._by_id:
            self._calls.place(sid, self._by_id[placing_id])
            followed = self._followed.get(sid)
        if followed is None or not followed.truth.hear_answered_by(verdict):
            return
        wants = followed.agent.outbound
        if verdict not in MACHINES or wants.answering_machine == "talk" or followed.truth.final:
            return
        entry = self._calls.find(sid)
        if entry is None or entry.ending is not None or entry.errand is not None:
            return  # over, or being put through to somebody
        leave = wants.answering_machine == "leave_message" and verdict in END_OF_GREETING
        had_stream = entry.has_stream
        slug = Slug.MESSAGE_LEFT if leave else Slug.MACHINE_ANSWERED
        self._calls.tell(sid, inputs.NobodyReached(slug, verdict))
        if not had_stream:
            await self._redirect(sid, entry, leave=leave)

    async def _redirect(self, sid: str, entry: CallEntry, *, leave: bool) -> None:
        message = entry.agent.outbound.message
        try:
            if leave and message is not None:
                await self._rest.update_call(sid, twiml=twiml.message(message))
            else:
                await self._rest.hang_up(sid)
        except (TwilioRefused, TwilioUnreachable) as error:
            # The stream that comes is refused then, and Twilio asks /twilio/after all the same.
            _log.warning("a machine's call could not be ended at once: %s", error)

    async def watch(self) -> None:
        """Ask Twilio about calls of which it has told nothing for too long. Runs until cancelled.

        Callbacks are best effort (twilio.md §4.3): one that is lost must not hold a call for ever.
        """
        while True:
            await asyncio.sleep(5.0)
            now = self._clock.now()
            overdue = [
                (sid, followed)
                for sid, followed in self._followed.items()
                if not followed.truth.final and followed.due <= now
            ]
            for sid, followed in overdue:
                followed.due = now + OVERDUE_S
                with contextlib.suppress(TwilioRefused, TwilioUnreachable):
                    fetched = await self._rest.fetch_call(sid)
                    self._hear(sid, followed, fetched.status, "asked, not told")

    # --- asking --------------------------------------------------------------------------------

    async def state(self, sid: str, seen: str | None = None, wait_s: float = 0.0) -> State | None:
        """What is known of a call, once its status is not `seen`, or after `wait_s`.

        Of a call that this run did not place Twilio is asked; None: it knows none of that SID.
        Raises NotNow when it cannot be asked.
        """
        followed = self._followed.get(sid)
        if followed is None:
            return await self._fetched(sid)
        if followed.truth.status == seen and not followed.truth.final:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await followed.changed.wait()
        truth = followed.truth
        entry = self._calls.find(sid)
        ending = entry.ending if entry is not None else None
        return State(
            sid,
            truth.status,
            truth.final,
            truth.answered_by,
            ending.how.slug if ending is not None else None,
            ending.how.words if ending is not None else None,
        )

    async def _fetched(self, sid: str) -> State | None:
        try:
            fetched = await self._rest.fetch_call(sid)
        except TwilioRefused as refused:
            if refused.status == 404:
                return None
            raise _unasked() from None
        except TwilioUnreachable:
            raise _unasked() from None
        truth = Truth()
        truth.hear(fetched.status)
        return State(sid, truth.status, truth.final, None, None, None)


def _forbidden(words: str) -> Problem:
    return Problem(
        "E-OUT-05",
        f"This number is not called: {words}.",
        "If it is to be, change what dialling: in offhook.yaml allows.",
    )


def _uncertain(after_s: float) -> Uncertain:
    return Uncertain(
        "E-OUT-14",
        "Twilio may have been asked for this call already, and has not said so.",
        "Ask again with the same key: the call is looked for, and not rung twice.",
        max(after_s, 1.0),
    )


def _unasked() -> NotNow:
    return NotNow(
        "E-OUT-15",
        "Twilio cannot be asked what became of this call.",
        "Ask again in a moment.",
        2.0,
    )
