"""A caller on a line with echo, on a whole server: does the agent interrupt itself?"""

import pytest
from tests.in_time import in_time
from tests.whole_server import ACCOUNT, HANG_UP, QUICK, TOKEN, voice, whole_server

from offhook.config.agent_file import BargeInSettings
from offhook.events.types import AgentSaid, Interrupted, InterruptionSuppressed
from offhook.testing.scenarios.caller import SimulatedCaller
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.twilio.line_echo import EchoSettings
from offhook.testing.simulator.twilio.phone import place_call


@pytest.mark.parametrize("is_guarded", [False, True])
async def test_the_echo_guard_keeps_a_greeting_from_interrupting_itself(is_guarded: bool) -> None:
    async def check() -> None:
        listen = ScenarioStep.model_validate({"wait": 2.5})
        echoing = SimulatedCaller([listen, HANG_UP], voice, echo=EchoSettings(200, 10))
        async with whole_server(QUICK, barge_in=BargeInSettings(echo_guard=is_guarded)) as running:
            await place_call(
                running.origin + "/twilio/voice",
                echoing,
                clock=running.clock,
                auth_token=TOKEN,
                account_sid=ACCOUNT,
                from_="+12025550142",
                to="+12025550100",
            )
            await running.until_ended()
            events = running.events()
        cut = [event for event in events if isinstance(event, Interrupted)]
        held = [event for event in events if isinstance(event, InterruptionSuppressed)]
        greeting = next(event for event in events if isinstance(event, AgentSaid))
        if is_guarded:
            assert cut == []
            assert [event.cause for event in held][:1] == ["echo"]
            assert not greeting.interrupted
        else:
            assert held == []
            assert [event.cause for event in cut][:1] == ["speech"]
            assert greeting.interrupted

    await in_time(check)
