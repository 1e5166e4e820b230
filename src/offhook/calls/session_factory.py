"""Creation of sessions: an admitted call gets its agent, session, control and entry."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from offhook import variables
from offhook.call.ending import Slug
from offhook.call.handoff import UNASKED_S
from offhook.call.inputs import ProcessDied
from offhook.call.resumed import ResumedCall
from offhook.calls.agent_session import AgentSession, Tools, call_settings, values_for
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.control import CallControl
from offhook.calls.handoff import StreamHandoff
from offhook.calls.live_facts import LiveFacts, encoded, facts_of
from offhook.calls.messaging import Messaging
from offhook.calls.pause_gate import PauseGate
from offhook.calls.registry import CallRegistry
from offhook.calls.session import Session
from offhook.calls.transfers import Transfers
from offhook.capture.tap import MakeTap, NewCall, tap_for
from offhook.clock import Clock, MachineClocks
from offhook.config import Agent
from offhook.config.current_agents import CurrentAgents
from offhook.deepgram.changes import Change
from offhook.deepgram.leg import Dial
from offhook.deepgram.messages import History
from offhook.deepgram.settings import Part
from offhook.events.types import CallBegan, Direction, FunctionOutcome, RecordingFailed
from offhook.fleet.pulse import Pulse
from offhook.policy.inbound_policy import InboundPolicy, rate_of
from offhook.recordings.recorder import Recordings
from offhook.tools.declare import Call, Once, ToolArgumentsError
from offhook.tools.files import Toolbox

DAY_S: Final = 24 * 3600.0
"""Seconds that no call lasts (twilio.md §1.8)."""

_UNKNOWN: Final[FunctionOutcome] = "outcome_unknown"

Keep: TypeAlias = Callable[[str, bytes], None]
"""Function that keeps a line in the file of a live call, by its CallSid."""

ToolsFor: TypeAlias = Callable[[Toolbox, Call], Tools]
"""Function that returns the runner of an agent's functions in one call."""


class SessionFactory:
    """Factory of the sessions of one server."""

    def __init__(
        self,
        agents: CurrentAgents,
        registry: CallRegistry,
        transfers: Transfers,
        messaging: Messaging,
        updates: CallUpdates,
        inbound: InboundPolicy,
        *,
        clock: Clock,
        dial: Dial,
        dial_spare: Dial,
        tools: ToolsFor,
        make_tap: MakeTap | None,
        recordings: Recordings | None,
        origin: str,
        webhook_path: str,
        session_s: float,
        keep: Keep,
        pulse: Pulse | None,
        dials_ahead: bool,
        next_token: Callable[[str], str],
        spare_settled: Callable[[str], None],
    ) -> None:
        """Take `dial`, which opens agent legs, and `make_tap`, which returns the tap of a call.

        `dial_spare` opens a leg beside another one of its call, if there is room for both.
        `origin` is our https address, if it is configured, and `webhook_path` the path of the
        webhooks there; an agent session is to last `session_s` seconds at most; `keep` keeps a line
        of a live call. `next_token` returns the token of a call's next stream. In a fleet, `pulse`
        tells of pauses of this process, `dials_ahead` whether the streams of its calls come to this
        node, and `spare_settled` is called when a call has one leg again.
        """
        self._keep = keep
        self.ended: Callable[[CallEntry], None] = _nothing
        """Called with each call that has ended."""
        self._agents = agents
        self.boot: Final = MachineClocks.of_this_machine().boot
        """Name of this boot of the machine, to which the calls' times belong; empty for none."""
        self._origin = origin
        self._webhook_path = webhook_path
        self._session_s = session_s
        self._registry = registry
        self._transfers = transfers
        self._messaging = messaging
        self._updates = updates
        self._inbound = inbound
        self._clock = clock
        self._dial = dial
        self._dial_spare = dial_spare
        self._pulse = pulse
        self._dials_ahead = dials_ahead
        self._next_token = next_token
        self._spare_settled = spare_settled
        self._tools = tools
        self._make_tap = make_tap
        self._recordings = recordings

    def control(self, call: NewCall) -> CallControl:
        """Return the control of a new call."""
        return CallControl(
            call, self._transfers, self._messaging, self._updates, self._registry.note
        )

    def facts(
        self, call: NewCall, account_sid: str, values: Mapping[str, str], token: str | None
    ) -> LiveFacts:
        """Return what is known of a call before it has an entry."""
        return LiveFacts(
            account_sid=account_sid,
            agent=call.agent,
            by=call.by,
            from_=call.from_,
            to=call.to,
            values=values,
            token=token,
            origin="",
            boot=self.boot,
            began_s=self._clock.now(),
        )

    def make(
        self,
        control: CallControl,
        agent: Agent,
        account_sid: str,
        token: str | None,
        given: Mapping[str, str],
    ) -> CallEntry:
        """Make the session of a call and add the call to the registry.

        `given` are variables of the call; `token` must be in its stream's `start`.
        """
        call = control.call
        values = values_for(agent, call.call_sid, call.number_of_caller, call.to, given)
        agent = agent.filled(values)
        is_recorded = agent.recording and self._recordings is not None
        now = self._clock.now()
        entry = CallEntry(
            call.call_sid, agent, account_sid, token, now, call.by, self._webhook_path
        )
        session = self._make(control, entry, values, {})
        entry.keep()
        session.note(
            CallBegan(
                account_sid,
                agent.name,
                agent.tier,
                "outbound" if call.outbound else "inbound",
                call.by,
                call.from_,
                call.to,
                json.dumps(values, ensure_ascii=False),
            )
        )
        if is_recorded and call.by == "bin":
            session.note(RecordingFailed("a TwiML Bin's caller has not heard the announcement"))
        return entry

    def take_over(
        self,
        call_sid: str,
        agent: Agent,
        facts: LiveFacts,
        resumed: ResumedCall,
        *,
        epoch: int = 0,
        node: str = "",
        token: str | None = None,
    ) -> CallEntry:
        """Make the session of a call that another process had, and add the call to the registry.

        `agent` is the one that the call had last. `epoch` and `node` are this process's, in a
        fleet. `token` is that of a stream that has come for it.
        """
        call = NewCall(call_sid, facts.agent, facts.by, facts.from_, facts.to)
        control = self.control(call)
        agent = agent.filled(facts.values)
        now = self._clock.now()
        entry = CallEntry(
            call_sid,
            agent,
            facts.account_sid,
            token or facts.token,
            _began(facts, resumed, now),
            facts.by,
            self._webhook_path,
        )
        toolbox = agent.tool_files.current
        once = _once(toolbox, resumed, self.handle(control, agent, facts.values, {}))
        session = self._make(control, entry, facts.values, once)
        entry.origin = facts.origin or self._origin
        entry.changes = facts.changes
        action = None if facts.is_returning else facts.handoff_action
        entry.handoff.resume(
            facts.streams,
            facts.handoff_action,
            has_begun=facts.has_begun,
            is_returning=facts.is_returning,
        )
        entry.is_interrupted = action is None
        # Twilio opens no stream before it has asked what follows this one (twilio.md §1.7).
        if entry.is_interrupted:
            entry.expected_until = now + UNASKED_S
        if entry.is_interrupted and not facts.is_returning and resumed.started_ms is not None:
            entry.is_after_due = True
            if token is None:
                entry.handoff.renew()  # The token of the stream that broke off is used.
        unrepeatable = frozenset(name for name, tool in toolbox.items() if tool.irreversible)
        session.take_over(
            ProcessDied(resumed, facts.changes, unrepeatable, action, facts.has_begun, epoch, node)
        )
        if facts.person is not None:
            self._transfers.resume(entry, facts.person)
        entry.keep()
        return entry

    def _make(
        self, control: CallControl, entry: CallEntry, values: Mapping[str, str], once: Once
    ) -> Session:
        call, agent = control.call, entry.agent
        entry.values = values
        entry.our_number = call.from_ if call.outbound else call.to
        entry.origin = self._origin
        entry.control = control
        entry.handoff = StreamHandoff(
            entry,
            self._transfers,
            self._updates,
            self._clock,
            self._registry.note,
            self._next_token,
        )
        entry.keep = partial(self._keep_facts, entry)
        session = Session(
            call.call_sid,
            self._agent_session(control, agent, values, once),
            clock=self._clock,
            dial=self._dial,
            dial_spare=self._dial_spare,
            publish=self._registry.publish,
            control=control,
            ended=self._on_ended,
            switch_agent=partial(self._switch_agent, entry, values, once),
            tap=tap_for(self._make_tap, call),
            # A Bin's TwiML is not ours (twilio.md §2.7): nobody has said that the call is recorded.
            recordings=self._recordings if agent.recording and call.by != "bin" else None,
            session_s=self._session_s,
            began=entry.began,
            spare_settled=self._spare_settled,
            dials_ahead=self._dials_ahead,
            gate=self._gate(call.call_sid),
        )
        entry.session = session
        control.entry = entry
        # Last: from here on others find the call, so it must be whole.
        self._registry.add(entry)
        return session

    def _gate(self, call_sid: str) -> PauseGate | None:
        if self._pulse is None:
            return None
        return PauseGate(self._pulse, self._clock.now, partial(self._updates.start, call_sid))

    def _keep_facts(self, entry: CallEntry) -> None:
        self._keep(entry.call_sid, encoded(facts_of(entry, self.boot)))

    def handle(
        self, control: CallControl, agent: Agent, values: Mapping[str, str], once: Once
    ) -> Call:
        """Return the call as it is passed to a user's functions."""
        call = control.call
        direction: Direction = "outbound" if call.outbound else "inbound"
        return Call(
            call.call_sid,
            agent.name,
            call.number_of_caller or None,
            call.to or None,
            MappingProxyType(values),
            control.perform,
            direction,
            _once=once,
            _set_recording=control.set_recording,
            _phrases=agent.phrases,
        )

    def _switch_agent(
        self, entry: CallEntry, values: Mapping[str, str], once: Once, name: str
    ) -> AgentSession:
        """Switch a call to another agent of the configuration."""
        entry.agent = self._agents.named(name).filled(values)
        return self._agent_session(entry.control, entry.agent, values, once)

    def _agent_session(
        self, control: CallControl, agent: Agent, values: Mapping[str, str], once: Once
    ) -> AgentSession:
        toolbox = agent.tool_files.current
        functions = [tool.definition for tool in toolbox.values()]

        def settings(
            greeting: bool, history: Sequence[History], changes: Sequence[Change]
        ) -> bytes:
            return agent.settings.message(
                greeting=greeting,
                context=history,
                functions=functions,
                fill=lambda text: variables.fill(text, values),
                changes=changes,
            )

        def change(part: Part, block: Any) -> Change:
            return agent.settings.change(part, block, functions)

        tools = self._tools(toolbox, self.handle(control, agent, values, once))
        # What a caller may cost is limited; a call of our own is limited where it is placed.
        spend_s = (
            None
            if control.call.outbound
            else self._inbound.call_limit_s(rate_of(agent.tier, control.call.by))
        )
        limits = call_settings(agent, spend_s)
        return AgentSession(limits, settings, change, tools, agent.recording)

    def _on_ended(self, session: Session) -> None:
        ending = session.ending
        if ending is None:
            self._registry.let_go(session.call_sid)
            self._transfers.let_go(session.call_sid)
            return
        self._registry.end(session.call_sid, ending)
        # With every other ending the caller may still be in a conference with the person.
        is_gone = ending.how in (Slug.CALLER_HUNG_UP, Slug.OPERATOR_HUNG_UP)
        self._transfers.call_over(session.call_sid, caller_is_gone=is_gone)
        entry = self._registry.find(session.call_sid)
        if entry is not None:
            self.ended(entry)


def _began(facts: LiveFacts, resumed: ResumedCall, now: float) -> float:
    """Return when a call began, by this process's clock.

    Where the system names no boot, the machine may have started again since, and its clock with it:
    then the call goes on as if no time had passed since its last event.
    """
    length_s = resumed.last_ms / 1000
    passed_s = now - facts.began_s
    return facts.began_s if length_s <= passed_s <= length_s + DAY_S else now - length_s


def _once(toolbox: Toolbox, resumed: ResumedCall, call: Call) -> Once:
    """Return the results of irreversible functions, and that those without one are unknown.

    So a repeat gets the first result, whichever process ran the function.
    """
    once: Once = {}
    unknown = (call._phrases.outcome_unknown, _UNKNOWN)
    ran = [(called, (answer.content, answer.outcome)) for called, answer in resumed.answered]
    ran += [(function.called, unknown) for function in resumed.open.values()]
    for called, (content, outcome) in ran:
        tool = toolbox.get(called.name)
        if tool is None or not tool.irreversible or tool.repeatable:
            continue
        # What failed has done nothing, and may be tried again.
        if outcome in ("answered", _UNKNOWN):
            # The function may have changed since: such arguments are no repeat of anything.
            with contextlib.suppress(ToolArgumentsError):
                _, canonical = tool.bind(called.arguments, call)
                result: asyncio.Future[tuple[str, FunctionOutcome]] = asyncio.Future()
                result.set_result((content, outcome))
                once[tool.file, called.name, canonical] = result
    return once


def _nothing(entry: CallEntry) -> None:
    """Do nothing at the end of a call."""
