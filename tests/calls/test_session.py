"""A call whole but in memory: caller, session and agent on a clock that jumps."""

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from tests.memory_sockets import connect_in_memory
from tests.whole_server import (
    ACCOUNT,
    ASK,
    GREET,
    HANG_UP,
    HOURS,
    QUICK,
    NoTools,
    caller,
    configured,
    empty_office,
    nothing_known,
    texts,
)

from offhook.call import handlers
from offhook.call.phases import Phase
from offhook.calls.agent_session import Tools
from offhook.calls.call_updates import CallUpdates
from offhook.calls.compose import compose
from offhook.calls.leg_inputs import MESSAGES_MAX
from offhook.clock import Clock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import LimitSettings
from offhook.deepgram.messages import ConversationText
from offhook.events.types import (
    AgentLost,
    AgentSaid,
    AudioDropped,
    CallEnded,
    CallerSaid,
    CallEvent,
    DelaysSampled,
)
from offhook.net.websocket import Channel, Receiver, UnreachableError, UpgradeRefusedError
from offhook.policy.dial_policy import DialPolicy, DialRules
from offhook.policy.inbound_policy import InboundPolicy, InboundRules
from offhook.recordings.recorder import Recordings
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn, Stage
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.twilio.stream import SimulatedStream
from offhook.testing.virtual_clock import VirtualClock
from offhook.webhooks.pending_streams import PendingStreams


class Called:
    def cancel(self) -> None:
        pass


class Rehearsal:
    """One call to a Bin's stream, or by the `webhook`, without sockets."""

    def __init__(
        self,
        *steps: ScenarioStep,
        script: Script = QUICK,
        limits: LimitSettings | None = None,
        recordings: Recordings | None = None,
        webhook: bool | None = None,
        session_s: float = 6600.0,
        stand_in: type[StandIn] = StandIn,
        tools: Callable[[Clock], Tools] = NoTools,
    ) -> None:
        self.clock = VirtualClock(1000.0)
        self.happened: list[CallEvent] = []
        self.agents: list[StandIn] = []
        self.agent_channels: list[Channel] = []
        self.script = script
        config = configured(
            "ws://127.0.0.1:1/",
            limits=(limits or LimitSettings()).model_dump(),
            announcement="This call is recorded.",
            recording=True,
        )
        lasting = config.deepgram.model_copy(update={"session_minutes": session_s / 60})
        config = dataclasses.replace(config, deepgram=lasting)
        self._stand_in = stand_in
        self.calls = compose(
            config,
            clock=self.clock,
            dial=self._dial,
            publish=self.happened.append,
            tools=lambda toolbox, call: tools(self.clock),
            recordings=recordings,
            look_up=nothing_known,
            messaging=empty_office(self.clock),
            dial_policy=DialPolicy(DialRules()),
            inbound=InboundPolicy(InboundRules(), self.clock, lambda ms, tier: 0),
            updates=CallUpdates(None, ServerTasks(asyncio.TaskGroup())),
        )
        call_sid = "CA" + "2" * 32
        parameters: dict[str, str] = {}
        if webhook if webhook is not None else recordings is not None:
            entry = self.calls.intake.announce(call_sid, ACCOUNT, config.lines["default"])
            assert entry.token is not None
            parameters["token"] = entry.token
        self.stream = SimulatedStream(
            caller(*steps),
            self.clock,
            account_sid=ACCOUNT,
            call_sid=call_sid,
            stream_sid="MZ" + "3" * 32,
            parameters=parameters,
        )
        pending = PendingStreams(self.clock, self.calls.intake.admit, lambda why: None)
        self.near, self.far = connect_in_memory(self.clock, self.stream, pending.receiver(), 0.02)

    def _dial(
        self,
        receiver: Receiver,
        failed: Callable[[UpgradeRefusedError | UnreachableError], None],
        place: int,
    ) -> Called:
        agent = self._stand_in(self.script, self.clock)
        self.agents.append(agent)
        near, _ = connect_in_memory(self.clock, receiver, agent, 0.03)
        self.agent_channels.append(near)
        return Called()

    def run(self, limit: float) -> list[str]:
        """Let time pass until the call is over; the slugs of its endings."""
        self.clock.run_until(lambda: bool(self.endings), limit)
        self.clock.run(5)
        return [ended.slug for ended in self.endings]

    @property
    def endings(self) -> list[CallEnded]:
        return [h.event for h in self.happened if isinstance(h.event, CallEnded)]

    @property
    def events(self) -> list[object]:
        return [h.event for h in self.happened]

    def agent_said(self) -> list[str]:
        return texts([h.event for h in self.happened], AgentSaid)


def test_a_call_from_greeting_to_hanging_up() -> None:
    rehearsal = Rehearsal(GREET, ASK, GREET, HANG_UP)
    assert rehearsal.run(60) == ["caller_hung_up"]
    assert rehearsal.agent_said() == ["Hello! How can I help you today?", "Of course, what else?"]
    assert texts([h.event for h in rehearsal.happened], CallerSaid) == [HOURS]
    (agent,) = rehearsal.agents
    assert len(agent.arrivals.frame_times()) == len(rehearsal.stream.sent_at)
    assert agent.closed is not None
    assert rehearsal.calls.registry.live_count == 0
    remembered = rehearsal.calls.registry.find("CA" + "2" * 32)
    assert remembered is not None
    assert remembered.session is None, "thousands are remembered: what is kept is small"


def test_delays_are_sampled_both_ways_and_told_once() -> None:
    barge_in = ScenarioStep.model_validate({"barge_in": {"after_ms": 300, "say": "Stop."}})
    rehearsal = Rehearsal(GREET, ASK, barge_in, GREET, HANG_UP)
    rehearsal.run(60)
    (sampled,) = (e for e in rehearsal.events if isinstance(e, DelaysSampled))
    assert rehearsal.events[-1] == rehearsal.endings[0]
    # On a clock that jumps nothing takes time: all is in the first bucket.
    frames = len(rehearsal.stream.sent_at)
    assert abs(sampled.to_agent[0] - frames / 50) <= 1
    assert sampled.to_caller[0] > 0
    assert sampled.to_clear[0] == len(rehearsal.stream.cleared_at) == 1
    assert sum(sampled.to_agent[1:] + sampled.to_caller[1:] + sampled.to_clear[1:]) == 0


def test_what_was_heard_is_what_was_played() -> None:
    """The heard ms of every utterance, against the buffer of the simulated Twilio itself."""
    long = ["We are open from Monday to Friday, from nine in the morning until six in the evening."]
    script = Script(turns=[ScriptTurn(hear=HOURS, say=long)], silence_ms=300, reply_ms=50)
    for after_ms in range(200, 3400, 400):
        barge_in = ScenarioStep.model_validate({"barge_in": {"after_ms": after_ms, "say": "Stop."}})
        rehearsal = Rehearsal(GREET, ASK, barge_in, GREET, HANG_UP, script=script)
        rehearsal.run(60)
        said = [e for e in rehearsal.events if isinstance(e, AgentSaid)]
        bursts = rehearsal.stream.bursts
        assert len(said) == len(bursts) == 3
        assert said[1].interrupted
        for utterance, burst in zip(said, bursts, strict=True):
            played_ms = 1000 * (burst.ended - burst.began)
            # A mark's way here and a clear's way there: 20 ms each, and marks every 200 ms.
            assert utterance.heard_ms == pytest.approx(played_ms, abs=260)
            assert utterance.heard_ms <= played_ms + 1


def test_thirty_minutes_are_enough() -> None:
    rehearsal = Rehearsal(GREET, limits=LimitSettings(silence_seconds=0))
    assert rehearsal.run(3600) == ["time_limit"]
    assert rehearsal.agent_said()[-1] == "We have reached the end of our time. Goodbye."
    assert not [e for e in rehearsal.events if isinstance(e, AgentSaid) and e.interrupted]
    (ended,) = rehearsal.endings
    assert 1_800_000 < ended.duration_ms < 1_815_000
    assert rehearsal.stream.bursts[-1].cut_by is None


def test_a_silent_caller_is_asked_and_then_seen_off() -> None:
    rehearsal = Rehearsal()
    assert rehearsal.run(600) == ["caller_silent"]
    assert rehearsal.agent_said() == [
        "Hello! How can I help you today?",
        "Are you still there?",
        "I cannot hear you. Goodbye.",
    ]
    (ended,) = rehearsal.endings
    assert 60_000 < ended.duration_ms < 75_000


def test_a_caller_who_answers_the_question_stays() -> None:
    rehearsal = Rehearsal(
        GREET, GREET, ScenarioStep(say="Yes please."), limits=LimitSettings(silence_seconds=20)
    )
    assert rehearsal.run(600) == ["caller_silent"]
    assert rehearsal.agent_said().count("Are you still there?") == 2
    assert rehearsal.endings[0].duration_ms > 30_000


def test_an_agent_that_never_settles_is_given_up() -> None:
    rehearsal = Rehearsal(script=Script(settings=Stage(fault="stall")))
    assert rehearsal.run(60) == ["agent_unreachable"]
    assert rehearsal.endings[0].duration_ms == 10_000
    assert rehearsal.stream.closed is not None


@pytest.mark.parametrize("leg", ["caller", "agent"])
def test_a_leg_that_takes_nothing_for_ten_seconds_is_lost(leg: str) -> None:
    rehearsal = Rehearsal(GREET, ASK)
    rehearsal.clock.run(1)
    channel = rehearsal.far if leg == "caller" else rehearsal.agent_channels[0]
    channel.receiver.on_writable(False)
    if leg == "agent":  # another one takes its place
        rehearsal.clock.run(14)
        assert [e.why for e in rehearsal.events if isinstance(e, AgentLost)] == ["stuck"]
        assert len(rehearsal.agents) == 2
        assert not rehearsal.endings
    else:
        assert rehearsal.run(60) == ["caller_leg_stuck"]
        assert rehearsal.endings[0].duration_ms == pytest.approx(11_000, abs=100)


def test_a_leg_that_recovers_loses_the_oldest_caller_audio_only() -> None:
    rehearsal = Rehearsal()
    rehearsal.clock.run(5)
    channel = rehearsal.agent_channels[0]
    before = rehearsal.agents[0].arrivals.total
    channel.receiver.on_writable(False)
    rehearsal.clock.run(3)
    channel.receiver.on_writable(True)
    rehearsal.clock.run(0.1)
    dropped = [e for e in rehearsal.events if isinstance(e, AudioDropped)]
    lost_ms = sum(e.ms for e in dropped)
    assert all((e.leg, e.why) == ("agent", "full") for e in dropped)
    assert 950 <= lost_ms <= 1050
    came_ms = (rehearsal.agents[0].arrivals.total - before) / 8
    assert came_ms == pytest.approx(3100 - lost_ms, abs=80)
    assert not rehearsal.endings


def test_a_lost_caller_hangs_up_on_the_agent() -> None:
    rehearsal = Rehearsal(GREET)
    rehearsal.clock.run(4)
    rehearsal.stream.abort()
    assert rehearsal.run(10) == ["caller_leg_lost"]
    assert rehearsal.agents[0].closed is not None


def test_a_fault_of_our_own_ends_that_call_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from offhook.call.limits import Limits

    rehearsal = Rehearsal()
    rehearsal.clock.run(4)

    def broken(self: Limits, now: float) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(Limits, "_mind_silence", broken)
    assert rehearsal.run(60) == ["internal_error"]
    assert "boom" in caplog.text
    assert rehearsal.stream.closed is not None


def test_an_input_that_no_handler_takes_ends_that_call_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(handlers.HANDLERS, (Phase.TALKING, ConversationText))
    rehearsal = Rehearsal(GREET, ASK)
    assert rehearsal.run(60) == ["internal_error"]
    assert "ConversationText while talking" in caplog.text
    assert rehearsal.stream.closed is not None


def test_an_agent_that_floods_ends_its_call() -> None:
    rehearsal = Rehearsal(GREET)
    rehearsal.clock.run(3)
    (agent,) = rehearsal.agents
    for number in range(10_000):
        agent.send(ConversationText("user", f"number {number}"))
    assert rehearsal.run(5) == ["agent_leg_garbage"]
    assert len(rehearsal.happened) < MESSAGES_MAX + 100
