"""An agent that stays connected and says nothing, on a whole server over real sockets."""

import asyncio

import pytest
from tests.in_time import in_time
from tests.whole_server import ASK, GREET, HANG_UP, HOURS, WholeServer, texts, whole_server

from offhook.call.phrases import Phrases
from offhook.clock import LoopClock
from offhook.config.agent_file import LimitSettings
from offhook.events.types import (
    AgentLost,
    AgentResumed,
    AgentSaid,
    AgentTold,
    CallEnded,
    CallerSaid,
    CallEvent,
)
from offhook.testing.faults.fault import read
from offhook.testing.faults.rig import fault_rig
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn

LIMITS = LimitSettings(answer_seconds=3)
GREETING = "Hello! How can I help you today?"
ONE_MOMENT = "One moment, please."
ANSWER = "Of course, what else?"
HUNG = ScriptTurn(hear=HOURS, say=[])
"""A turn whose answer is nothing, while the agent's voice says what it is asked to."""
ANSWERED = ScriptTurn(hear=HOURS, say=[ANSWER])
STAYS = ScenarioStep(wait=100)
HEAR_OUT = ScenarioStep.model_validate({"wait_for_agent": {"quiet_ms": 2500, "timeout": 60}})
"""Waits for the answer, and beyond the tones that hold the line until then."""


def agent(*turns: ScriptTurn) -> Script:
    """An agent that gives these answers, in whichever session; the last one again and again."""
    return Script(turns=[*turns], fallback=turns[-1], silence_ms=300, reply_ms=50)


def intended(running: WholeServer) -> list[str]:
    return [each.intended for each in running.events() if isinstance(each, AgentSaid)]


def losses(running: WholeServer) -> list[tuple[str, str]]:
    return [(each.why, each.code) for each in running.events() if isinstance(each, AgentLost)]


async def a_model_that_hangs_once() -> None:
    """The caller hears a voice, then the answer of another session."""
    async with whole_server(agent(HUNG, ANSWERED), limits=LIMITS) as running:
        report = await running.call(GREET, ASK, GREET, HEAR_OUT, HANG_UP)
        await running.until_ended()
        events = running.events()
        assert report.faults == []
        assert intended(running) == [GREETING, ONE_MOMENT, ANSWER]
        assert losses(running) == [("silent", "")]
        assert [each.attempts for each in events if isinstance(each, AgentResumed)] == [1]
        assert [each.text for each in events if isinstance(each, AgentTold)] == [Phrases().go_on]


async def a_session_that_hangs_as_a_whole() -> None:
    """The next session is asked what nobody has answered."""

    def arm(happened: CallEvent) -> None:
        if isinstance(happened.event, AgentSaid) and happened.event.text == GREETING:
            rig.strike(read("agent:mute@sentence"))

    clock = LoopClock(asyncio.get_running_loop())
    standin = await standin_server.serve("127.0.0.1", 0, agent(ANSWERED), clock)
    async with (
        fault_rig((), clock, agent_url=standin.url, server_port=1) as rig,
        whole_server(deepgram_url=rig.agent_url, limits=LIMITS, watchers=[arm]) as running,
    ):
        report = await running.call(GREET, ASK, HEAR_OUT, HANG_UP)
        await running.until_ended()
        assert report.faults == []
        assert intended(running) == [GREETING, ANSWER]
        assert texts(running.events(), CallerSaid) == [HOURS]
        assert losses(running) == [("silent", "")]
    await standin.close()


async def a_model_that_hangs_for_good() -> None:
    """The caller hears a voice, then the fallback."""
    fallback = {"say": "We are sorry.", "dial": "+12025550199"}
    async with whole_server(agent(HUNG), limits=LIMITS, fallback=fallback) as running:
        report = await running.call(GREET, ASK, STAYS)
        await running.until_ended()
        events = running.events()
        assert intended(running) == [GREETING, ONE_MOMENT]
        assert losses(running) == [("silent", "")]
        (ended,) = (each for each in events if isinstance(each, CallEnded))
        assert (ended.slug, ended.fault, ended.detail) == ("agent_silent", "agent", "3 s")
        assert [verb.name for verb in report.verbs] == ["Connect", "Say", "Dial", "Hangup"]


@pytest.mark.long
async def test_a_silent_agent_is_asked_replaced_and_given_up() -> None:
    """Three calls at once, since each of them waits for most of its time."""
    async with asyncio.TaskGroup() as group:
        for call in (
            a_model_that_hangs_once,
            a_session_that_hangs_as_a_whole,
            a_model_that_hangs_for_good,
        ):
            group.create_task(in_time(call))
