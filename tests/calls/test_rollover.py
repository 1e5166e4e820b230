"""A session of Deepgram's is exchanged for another one, and the caller does not notice."""

import dataclasses
import functools
from collections.abc import Callable

import pytest
from tests.calls.test_session import Called, Rehearsal
from tests.whole_server import (
    ASK,
    GREET,
    HANG_UP,
    HOURS,
    QUICK,
    NoTools,
    configured,
    texts,
    voice,
    whole_server,
)

from offhook.call.inputs import ToolFinished
from offhook.events.types import (
    AgentDisconnected,
    AgentLost,
    AgentResumed,
    AgentRolledOver,
    AgentSaid,
    Answered,
    CallerSaid,
    SpareAgentFailed,
)
from offhook.net.websocket import Receiver, UnreachableError, UpgradeRefusedError
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import (
    Script,
    ScriptFunctionCall,
    ScriptTurn,
    Stage,
)
from offhook.testing.simulator.deepgram.standin import StandIn

GREETING = "Hello! How can I help you today?"
ANSWER = "Of course, what else?"
QUIET = ScenarioStep.model_validate({"wait": 2})
DUE_S = 5.0
"""Seconds after which a roll-over is due: the greeting was heard by then."""


class Listening(StandIn):
    """A session that keeps what it hears."""

    heard = b""

    def on_binary(self, data: bytes) -> None:
        self.heard += data
        super().on_binary(data)


def rolled_over(rehearsal: Rehearsal) -> list[AgentRolledOver]:
    return [e for e in rehearsal.events if isinstance(e, AgentRolledOver)]


def answered_ms(rehearsal: Rehearsal) -> int:
    """Return milliseconds from the end of the caller's one turn until the answer was heard."""
    (answered,) = (e for e in rehearsal.events if isinstance(e, Answered))
    return answered.first_played_ms


@pytest.mark.parametrize("begin_ms", range(-1600, 400, 160))
def test_no_word_is_lost_and_no_silence_added_whenever_the_caller_speaks(begin_ms: int) -> None:
    """The caller speaks before, during and after the exchange of sessions."""
    wait = ScenarioStep.model_validate({"wait": 3 + begin_ms / 1000})
    steps = (GREET, wait, ASK, GREET, QUIET, QUIET, HANG_UP)
    usual = Rehearsal(*steps)
    usual.run(60)
    rehearsal = Rehearsal(*steps, session_s=DUE_S, stand_in=Listening)
    assert rehearsal.run(60) == ["caller_hung_up"]
    assert rolled_over(rehearsal)
    assert rehearsal.agent_said() == [GREETING, ANSWER], "each once"
    assert texts([h.event for h in rehearsal.happened], CallerSaid) == [HOURS]
    (hearing,) = (agent for agent in rehearsal.agents if HOURS in _lines(agent))
    assert isinstance(hearing, Listening)
    assert voice(HOURS) in hearing.heard, "whole, in one session"
    assert answered_ms(rehearsal) - answered_ms(usual) <= 100
    assert all(agent.closed for agent in rehearsal.agents)


LONG = [
    "We are open from Monday to Friday, from nine in the morning until six in the evening.",
    "On Saturday we open at ten.",
]
TALKATIVE = Script(turns=[ScriptTurn(hear=HOURS, say=LONG)], silence_ms=300, reply_ms=50)
BUSY = Script(
    turns=[
        ScriptTurn(hear=HOURS, function_calls=[ScriptFunctionCall(name="look_up")], say=[ANSWER])
    ],
    silence_ms=300,
    reply_ms=50,
)


class SlowTools(NoTools):
    """Functions that take 2.5 s."""

    def run(
        self, call_id: str, name: str, arguments: str, finished: Callable[[ToolFinished], None]
    ) -> None:
        done = ToolFinished(call_id, "from nine", "answered")
        self._clock.call_at(self._clock.now() + 2.5, lambda: finished(done))


@pytest.mark.parametrize(
    ("script", "said"), [(TALKATIVE, " ".join(LONG)), (BUSY, ANSWER)], ids=["talk", "function"]
)
@pytest.mark.parametrize("due_s", [5.0, 6.5])
def test_an_answer_that_is_under_way_is_heard_whole_and_the_exchange_waits(
    script: Script, said: str, due_s: float
) -> None:
    steps = (GREET, ASK, GREET, QUIET, QUIET, ASK, GREET, QUIET, HANG_UP)
    made = [
        Rehearsal(*steps, script=script, tools=SlowTools, session_s=session_s)
        for session_s in (6600.0, due_s)
    ]
    for rehearsal in made:
        assert rehearsal.run(90) == ["caller_hung_up"]
    usual, rehearsal = made
    assert rolled_over(rehearsal)
    assert not rolled_over(usual)
    assert rehearsal.agent_said()[:2] == usual.agent_said()[:2] == [GREETING, said]
    assert len(rehearsal.agent_said()) == len(usual.agent_said()) == 3
    assert not [e for e in rehearsal.events if isinstance(e, AgentSaid) and e.interrupted]
    for before, after in zip(heard_at(usual), heard_at(rehearsal), strict=True):
        assert abs(after - before) <= 100, "no silence was added"
    spare = rehearsal.agents[-1].settings
    assert spare is not None
    assert spare.greeting == ""
    assert [turn.content for turn in spare.context if turn.role == "assistant"][:2] == [
        GREETING,
        said,
    ]


def heard_at(rehearsal: Rehearsal) -> list[float]:
    """Return when the caller began to hear each utterance, in ms since the call began."""
    return [1000 * (burst.began - 1000) for burst in rehearsal.stream.bursts]


class Spares(Rehearsal):
    """A call all of whose legs but the first one are of no use."""

    bad: Script | None

    def _dial(
        self,
        receiver: Receiver,
        failed: Callable[[UpgradeRefusedError | UnreachableError], None],
        place: int,
    ) -> Called:
        if self.bad is None and any(not agent.closed for agent in self.agents):
            self.clock.call_at(self.clock.now(), lambda: failed(UpgradeRefusedError(429, {}, "")))
            return Called()
        if self.agents and self.bad is not None:
            self.script = self.bad
        return super()._dial(receiver, failed, place)


@pytest.mark.parametrize(
    ("bad", "why", "code"),
    [
        (Script(welcome=Stage(fault="stall")), "too_late", ""),
        (Script(settings=Stage(fault="stall")), "too_late", ""),
        (Script(welcome=Stage(fault="cut")), "closed", ""),
        (Script(settings=Stage(fault="close")), "closed", ""),
        (Script(settings=Stage(fault="garbage", after_ms=5000)), "too_late", ""),
        (Script(welcome=Stage(fault="garbage")), "error", "garbage"),
        (Script(settings=Stage(error="INVALID_SETTINGS")), "error", "INVALID_SETTINGS"),
        (Script(welcome=Stage(error="SERVER_GOING_AWAY")), "error", "SERVER_GOING_AWAY"),
    ],
)
def test_a_spare_that_is_of_no_use_changes_nothing(bad: Script | None, why: str, code: str) -> None:
    steps = (GREET, QUIET, QUIET, QUIET, QUIET, ASK, GREET, QUIET, HANG_UP)
    usual = Rehearsal(*steps)
    usual.run(60)
    rehearsal = Spares(*steps, session_s=DUE_S)
    rehearsal.bad = bad
    assert rehearsal.run(60) == ["caller_hung_up"]
    assert [e for e in rehearsal.events if isinstance(e, SpareAgentFailed)] == [
        SpareAgentFailed(why, code)  # type: ignore[arg-type]
    ]
    assert not rolled_over(rehearsal)
    assert rehearsal.agent_said() == usual.agent_said()
    assert heard_at(rehearsal) == heard_at(usual)
    assert texts([h.event for h in rehearsal.happened], CallerSaid) == [HOURS]
    assert all(agent.closed for agent in rehearsal.agents)


def test_without_room_for_a_spare_the_leg_before_is_closed_first() -> None:
    steps = (GREET, QUIET, QUIET, QUIET, QUIET, ASK, GREET, QUIET, HANG_UP)
    rehearsal = Spares(*steps, session_s=DUE_S)
    rehearsal.bad = None
    assert rehearsal.run(60) == ["caller_hung_up"]
    assert SpareAgentFailed("refused", "429") in rehearsal.events
    assert AgentLost("no_spare", "") in rehearsal.events
    assert [e for e in rehearsal.events if isinstance(e, AgentResumed)]
    assert rehearsal.agent_said() == [GREETING, ANSWER]
    assert texts([h.event for h in rehearsal.happened], CallerSaid) == [HOURS]
    assert all(agent.closed for agent in rehearsal.agents)


class Dying(Rehearsal):
    """A call whose first leg dies `after_s` the dial of the spare."""

    after_s = 0.0

    @functools.cached_property
    def dialled_at(self) -> list[float]:
        return []

    def _dial(
        self,
        receiver: Receiver,
        failed: Callable[[UpgradeRefusedError | UnreachableError], None],
        place: int,
    ) -> Called:
        called = super()._dial(receiver, failed, place)
        self.dialled_at.append(self.clock.now())
        if len(self.agents) == 2:
            self.clock.call_at(self.clock.now() + self.after_s, self.agent_channels[0].abort)
        return called


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.04, 0.06, 0.08])
def test_a_spare_answers_the_loss_of_the_leg_before_and_no_other_is_dialled(after_s: float) -> None:
    rehearsal = Dying(GREET, *[QUIET] * 4, ASK, GREET, QUIET, HANG_UP, session_s=DUE_S)
    rehearsal.after_s = after_s
    assert rehearsal.run(60) == ["caller_hung_up"]
    assert rehearsal.agent_said() == [GREETING, ANSWER]
    assert texts([h.event for h in rehearsal.happened], CallerSaid) == [HOURS]
    (lost,) = (e for e in rehearsal.events if isinstance(e, AgentLost))
    assert lost.why == "closed"
    (resumed,) = (e for e in rehearsal.events if isinstance(e, AgentResumed))
    assert resumed.attempts == 1
    assert resumed.after_ms <= 150, "it was under way"
    later = rehearsal.dialled_at[2:]
    assert all(at > rehearsal.dialled_at[1] + DUE_S for at in later), "roll-overs alone"
    gone = [e.connected_ms for e in rehearsal.events if isinstance(e, AgentDisconnected)]
    assert len(gone) == len(rehearsal.agents)
    assert all(agent.closed for agent in rehearsal.agents)


def test_every_second_of_connection_is_accounted_for() -> None:
    rehearsal = Rehearsal(GREET, QUIET, QUIET, QUIET, HANG_UP, session_s=DUE_S)
    rehearsal.run(60)
    (rolled,) = rolled_over(rehearsal)
    gone = [e.connected_ms for e in rehearsal.events if isinstance(e, AgentDisconnected)]
    (ended,) = rehearsal.endings
    assert len(gone) == 2
    assert sum(gone) == pytest.approx(ended.duration_ms + rolled.after_ms, abs=100)


def test_a_session_that_ends_anyway_is_exchanged_at_deepgrams_warning() -> None:
    """Offhook does not know how long this Deepgram lets a session last; it is told in time."""
    script = QUICK.model_copy(update={"session_s": 16.0})
    rehearsal = Rehearsal(GREET, *[QUIET] * 14, ASK, GREET, QUIET, HANG_UP, script=script)
    assert rehearsal.run(60) == ["caller_hung_up"]
    assert len(rolled_over(rehearsal)) >= 2
    assert rehearsal.agent_said() == [GREETING, ANSWER]


def _lines(agent: StandIn) -> list[str]:
    return [line.content for line in agent.lines if line.role == "user"]


async def test_over_real_sockets_nothing_of_an_exchange_is_heard() -> None:
    pause = ScenarioStep.model_validate({"wait": 1.5})
    config = configured("ws://127.0.0.1:1/", recording=False)
    lasting = config.deepgram.model_copy(update={"session_minutes": 1 / 60})
    config = dataclasses.replace(config, deepgram=lasting)
    async with whole_server(config=config) as h:
        await h.call(GREET, pause, ASK, GREET, pause, ASK, GREET, HANG_UP)
        await h.until_ended()
    assert h.endings() == ["caller_hung_up"]
    assert [e for e in h.events() if isinstance(e, AgentRolledOver)]
    said = texts(h.events(), AgentSaid)
    assert said[:2] == [GREETING, ANSWER]
    assert said.count(GREETING) == 1
    assert len(texts(h.events(), CallerSaid)) == len(said) - 1 == 2
    assert not [e for e in h.events() if isinstance(e, AgentSaid) and e.interrupted]
    assert all(session.closed for session in h.sessions)
