"""Placing of outbound calls, each once.

A request never rings a number twice. Its key is written before Twilio is asked; a call whose
request had no answer is looked for at Twilio, not requested again; and a stream or a status
callback that comes before the answer names the call as well as the answer does.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from offhook import variables, yamlfile
from offhook.calls import responses
from offhook.calls.agent_session import values_for
from offhook.calls.call_entry import PendingCall
from offhook.calls.placed_intake import PlacedIntake
from offhook.calls.registry import CallRegistry
from offhook.clock import Clock
from offhook.config import Agent, Config
from offhook.config.current_agents import CurrentAgents
from offhook.errors import UserError
from offhook.outbound.call_tracker import CallTracker
from offhook.outbound.errors import TryLaterError, UncertainError, being_placed, uncertain
from offhook.outbound.ledger import CallLedger, fingerprint
from offhook.outbound.ledger_file import Placement
from offhook.outbound.placement_checks import PlacementChecks, no_session
from offhook.outbound.requests import OutboundRequest, PlacedCall
from offhook.policy.dial_policy import DialPolicy
from offhook.text.phone_numbers import E164
from offhook.twilio import twiml
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import MachineDetection, TwilioRest

_log: Final = logging.getLogger("offhook.outbound")

TWIML_MAX: Final = 4000
"""Characters of TwiML in a request (twilio.md §1.8)."""

BACKSTOP_S: Final = 300
"""Seconds after our own time limit at which Twilio ends a call by itself."""

TALK_MAX_S: Final = 14_400
"""Seconds that a call may last at Twilio by default (twilio.md §1.8)."""

SETTLED_S: Final = 30.0
"""Seconds after which a call that Twilio does not list was not created; no request lasts longer."""

CREATE_MAX_S: Final = 20.0
"""Seconds for a request to Twilio."""

FRESH_S: Final = SETTLED_S - CREATE_MAX_S
"""Seconds after an attempt has its id within which Twilio is asked: the request is then over before
another process, which counts SETTLED_S from when it first sees the id, asks for the same key."""

CLOCKS_S: Final = 30.0
"""Seconds by which Twilio's clock may differ from ours."""

LOOKS_S: Final = (1.0, 2.0, 4.0)
"""Seconds between the searches for a call whose creation was not answered."""


def backstop_s(agent: Agent) -> int | None:
    """Return Twilio's own time limit for a call of that agent, in seconds; None: Twilio's default.

    `limits.max_minutes` limits the agent's time, which the call enforces. Twilio's limit counts the
    whole call, and would cut off two people who talk with each other after a transfer. So it is
    only a backstop, for agents that transfer to no person; another agent that takes over has limits
    of its own.
    """
    limit_s = round(agent.limits.max_minutes * 60) + BACKSTOP_S
    if agent.transfer is not None or agent.fallback.dial is not None or limit_s >= TALK_MAX_S:
        return None
    return limit_s


class OutboundCalls:
    """Places the calls of a server, which a CallTracker then tracks. `wall` is UTC."""

    def __init__(
        self,
        config: Config,
        agents: CurrentAgents,
        calls: CallRegistry,
        intake: PlacedIntake,
        rest: TwilioRest,
        ledger: CallLedger,
        *,
        dial_policy: DialPolicy,
        clock: Clock,
        wall: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._agents = agents
        self._intake = intake
        self._rest = rest
        self._ledger = ledger
        self._wall = wall
        self._clock = clock
        self.following: Final = CallTracker(calls, intake, rest, ledger, clock)
        self._permission = PlacementChecks(config, calls, ledger, dial_policy, clock, wall)
        self._webhooks: Final = (config.server.public_url or "") + config.webhook_path
        self._busy: set[str] = set()
        """Keys of requests that are being handled."""
        self._creating = 0
        self._unsettled: dict[str, float] = {}
        """Times by id of attempts without a CallSid: when each was made, or first seen by this
        process, by the clock that never jumps."""

    @property
    def live(self) -> int:
        """Number of calls that are being created, ring or go on."""
        return self._creating + self.following.live

    # --- placing -------------------------------------------------------------------------------

    async def place(self, request: OutboundRequest) -> PlacedCall:
        """Place a call, or return that of an earlier request. CallTracker.state has its progress.

        Raises UserError E-OUT-… for a call that is not placed. After TryLaterError ask again later;
        after UncertainError ask again with the same key.
        """
        agent = self._agent(request.agent)
        given = variables.taken(request.variables)[0]
        key = request.key or f"unnamed:{secrets.token_hex(16)}"
        if key in self._busy:
            raise being_placed()
        placement = self._placement(key, fingerprint(request.to, request.agent, given))
        self._busy.add(key)
        try:
            known = await self._ledger.claim(placement)
            if known is not None:
                sid = await self._known(known, placement, request, agent)
                if sid is not None:
                    return PlacedCall(sid, again=True)
            return PlacedCall(await self._place(request, agent, given, placement), again=False)
        finally:
            self._busy.discard(key)

    async def _place(
        self, request: OutboundRequest, agent: Agent, given: Mapping[str, str], placement: Placement
    ) -> str:
        # From here on another process may take the key of a request that seems to be given up. So
        # the attempt gets a new id right before Twilio is asked, which fails if that has happened;
        # and the other process then counts SETTLED_S from when it first sees the new id.
        attempt = replace(placement, id=secrets.token_urlsafe(12))
        try:
            pending = self._pending_call(request, agent, given, attempt)
            await self._permission.judge(
                request.to, agent, request.zone, within_hours=request.within_hours
            )
            self._permission.find_room(self.live)
            await self._permission.await_turn()
            self._permission.find_room(self.live)
        except UserError:
            await self._release(placement)
            raise
        self._creating += 1
        taken_s = self._clock.now()
        try:
            if not await self._ledger.retake(placement, attempt):
                raise uncertain(1.0)
            if await self._intake.expect(pending) is not None:
                raise no_session()
            await self._permission.count(request.to)
            if self._clock.now() > taken_s + FRESH_S:
                # This process stood still, and another one may have taken the key meanwhile.
                raise being_placed()
            self.following.expected[attempt.id] = pending
            sid = await self._create(pending, attempt)
            await self.following.name(sid, attempt.id)
        except UncertainError:
            raise  # its stream, or a report of it, may still come
        except UserError:
            self._intake.unexpect(pending)
            self.following.expected.pop(attempt.id, None)
            await self._release(placement)
            await self._release(attempt)
            raise
        finally:
            self._creating -= 1
        await self._name(attempt.id, sid)
        return sid

    async def _name(self, placement_id: str, sid: str) -> None:
        """Keep the CallSid of a call that exists; if it cannot be kept, a repeat looks for it."""
        try:
            await self._ledger.name(placement_id, sid)
        except UserError as error:
            _log.warning("a placed call is not named in the ledger: %s %s", error.code, error.what)

    async def _release(self, placement: Placement) -> None:
        """Free the key of an attempt; if that fails, a repeat looks for a call that is not there.

        The one who asked must learn why there is no call.
        """
        try:
            await self._ledger.release(placement)
        except UserError as error:
            _log.warning("a key is not free in the ledger: %s %s", error.code, error.what)

    async def _create(self, pending: PendingCall, placement: Placement) -> str:
        agent = pending.agent
        wants = agent.outbound
        query = f"?placing={placement.id}"
        asked_s = self._clock.now()
        try:
            async with asyncio.timeout(CREATE_MAX_S):
                created = await self._rest.create_call(
                    to=pending.to,
                    from_=pending.from_,
                    twiml=self._document(pending),
                    status_callback=twiml.retried(f"{self._webhooks}/status{query}"),
                    timeout_s=wants.ring_seconds,
                    time_limit_s=backstop_s(agent),
                    machine_detection=self._detection(agent, f"{self._webhooks}/amd{query}"),
                    call_reason=wants.call_reason,
                )
        except TimeoutError:
            return await self._look_for(pending, placement, asked_s)
        except TwilioRefusedError as refused:
            if refused.status >= 500:  # perhaps a gateway's answer, and carried out
                return await self._look_for(pending, placement, asked_s)
            if refused.status == 429 or refused.code == 10004:
                raise TryLaterError.of(refused.problem(), 2.0) from None
            raise refused.problem() from None
        except TwilioUnreachableError as unreachable:
            if not unreachable.sent:
                raise TryLaterError.of(unreachable.problem(), 5.0) from None
            return await self._look_for(pending, placement, asked_s)
        return created.sid

    async def _look_for(self, pending: PendingCall, placement: Placement, asked_s: float) -> str:
        """Look for a call whose request was not answered, or raise UncertainError."""
        self._unsettled[placement.id] = asked_s
        for wait_s in LOOKS_S:
            await asyncio.sleep(wait_s)
            sid = await self._listed(pending.from_, pending.to, placement)
            if sid is not None:
                self._unsettled.pop(placement.id, None)
                return sid
        raise uncertain(SETTLED_S)

    async def _known(
        self,
        known: Placement,
        attempt: Placement,
        request: OutboundRequest,
        agent: Agent,
    ) -> str | None:
        """Return the CallSid of a key that was used before; None: the key is ours now."""
        if known.fingerprint != attempt.fingerprint:
            raise UserError(
                "E-OUT-07",
                "This idempotency key was used for another call.",
                "Use a key of its own for each call that is to be placed.",
            )
        if known.sid is not None:
            return known.sid
        from_ = self._caller_id(agent)
        sid = await self._listed(from_, request.to, known)
        if sid is not None:
            # What is not expected was placed by an earlier run: the call's token is not known here.
            await self.following.name(sid, known.id)
            self._unsettled.pop(known.id, None)
            await self._name(known.id, sid)
            return sid
        # The wall clock is not used: a jump ahead would ring a person twice.
        age_s = self._clock.now() - self._unsettled.setdefault(known.id, self._clock.now())
        if age_s < SETTLED_S:
            raise uncertain(SETTLED_S - age_s)
        self._unsettled.pop(known.id, None)
        stale = self.following.expected.pop(known.id, None)
        if stale is not None:
            self._intake.unexpect(stale)
        if not await self._ledger.retake(known, attempt):
            raise uncertain(1.0)
        return None

    async def _listed(self, from_: str, to: str, placement: Placement) -> str | None:
        """Return the call that Twilio made of a placement, unless another placement has it.

        Twilio keeps no key of ours, so it is a call from us to that number, made since then, that
        belongs to no other placement (twilio.md §5.1).

        Raises UncertainError when Twilio cannot be asked.
        """
        try:
            listed = await self._rest.calls_to(to=to, from_=from_)
        except (TwilioRefusedError, TwilioUnreachableError):
            raise uncertain(5.0) from None
        earliest = self._made_s(placement) - CLOCKS_S
        since = [call.sid for call in listed if (call.created_s or earliest) >= earliest]
        others = await self._ledger.named(since)
        ours = [sid for sid in since if sid not in others]
        return ours[-1] if ours else None

    def _made_s(self, placement: Placement) -> float:
        """Return when an attempt was made, in s since 1970, by Twilio's clock if it is known.

        An attempt that lies in the future by our own clock was made before the clock was put back.
        Its time is unknown, so every call counts.
        """
        now_s = self._wall().timestamp()
        if placement.id in self._unsettled:
            age_s = self._clock.now() - self._unsettled[placement.id]
            age_s = max(age_s, now_s - placement.made_ms / 1000)
        else:
            age_s = now_s - placement.made_ms / 1000
            if age_s < -CLOCKS_S:
                return 0.0
        return (self._rest.date_s or now_s) - age_s

    # --- whether it may be placed --------------------------------------------------------------

    def _agent(self, name: str) -> Agent:
        agents = self._agents.by_name()
        if name not in agents:
            close = yamlfile.nearest(name, agents)
            fix = f'Did you mean "{close}"?' if close else f"There are: {', '.join(agents)}."
            raise UserError("E-OUT-02", "No agent has that name.", fix)
        return agents[name]

    def _caller_id(self, agent: Agent) -> str:
        found = self._agents.caller_id_of(agent)
        if found is None:
            raise UserError(
                "E-OUT-03",
                f"No number is set that people see whom the agent {agent.name} calls.",
                "Set outbound.caller_id in offhook.yaml to a number of your Twilio account.",
            )
        return found

    def _pending_call(
        self, request: OutboundRequest, agent: Agent, given: Mapping[str, str], placement: Placement
    ) -> PendingCall:
        """Return the call of a request. Raises UserError for a call that can never be placed."""
        if self._config.server.public_url is None or self._config.twilio.account_sid is None:
            raise UserError(
                "E-OUT-01",
                "Twilio cannot be told where this server is: a public_url or the account is missing.",  # noqa: E501
                "Set server.public_url, and TWILIO_ACCOUNT_SID.",
            )
        if not E164.fullmatch(request.to):
            raise UserError(
                "E-OUT-04",
                "This is not a phone number in international form.",
                "Write + and 7 to 15 digits, as +12025550142.",
            )

        def named(sid: str) -> None:
            self._unsettled.pop(placement.id, None)
            self.following.expected.pop(placement.id, None)
            self.following.follow(sid, agent)

        pending = PendingCall(
            token=self._intake.new_token(),
            agent=agent,
            account_sid=self._config.twilio.account_sid,
            from_=self._caller_id(agent),
            to=request.to,
            variables=given,
            rings_s=agent.outbound.ring_seconds,
            named=named,
        )
        if len(self._document(pending)) > TWIML_MAX:
            raise UserError(
                "E-OUT-09",
                f"The agent's announcement makes TwiML of more than {TWIML_MAX} characters.",
                "Shorten announcement.say in the agent file, or a variable that fills it.",
            )
        return pending

    # --- requests to Twilio --------------------------------------------------------------------

    def _document(self, pending: PendingCall) -> str:
        webhooks = self._webhooks
        values = values_for(pending.agent, "", pending.from_, pending.to, pending.variables)
        spoken = pending.agent.filled(values)
        return twiml.connect(
            stream_url="wss" + webhooks.removeprefix("https"),
            after_url=webhooks + "/after",
            stream_status_url=webhooks + "/stream-status",
            token=pending.token,
            announcement=responses.announced(spoken.announcement),
            apology=responses.spoken(spoken, spoken.fallback.say),
        )

    @staticmethod
    def _detection(agent: Agent, callback: str) -> MachineDetection | None:
        match agent.outbound.answering_machine:
            case "talk":
                return None  # nothing depends on it, and each verdict costs money
            case "hang_up":
                return MachineDetection("Enable", twiml.retried(callback))
            case "leave_message":
                return MachineDetection("DetectMessageEnd", twiml.retried(callback))

    def _placement(self, key: str, mark: str) -> Placement:
        return Placement(
            key, secrets.token_urlsafe(12), mark, round(self._wall().timestamp() * 1000)
        )
