"""Hanging up, pressing keys and putting callers through: whole calls over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.house import ASK, GREET, HOURS, TOKEN, House, house, texts

from offhook.config import load
from offhook.deepgram.messages import FunctionCallResponse, InjectUserMessage
from offhook.events import (
    AgentSaid,
    AgentSwitched,
    CallerBack,
    CallerLeft,
    CallerSaid,
    TransferFailed,
)
from offhook.rehearsal.scenario import Step
from offhook.rehearsal.script import FunctionCall, Script, Turn

DESK = "+12025550123"
AGENT = f"""
settings:
  listen: {{provider: {{type: deepgram, version: v2, model: flux-general-en}}}}
  think: {{provider: {{type: open_ai, model: gpt-4o-mini}}, prompt: Be brief.}}
  speak: {{provider: {{type: deepgram, model: aura-2-thalia-en}}}}
  greeting: Hello! How can I help you today?
tools: [hang_up, transfer_call, send_digits]
transfer:
  destinations:
    desk: {{to: "{DESK}", timeout_seconds: 5}}
    billing: {{agent: billing.yaml}}
"""
BILLING = AGENT.split("tools:")[0].replace("Hello! How", "Hello again! How")
GOODBYE = "Thank you for calling. Goodbye!"
STAY = Step.model_validate({"wait_for_agent": {"quiet_ms": 600}})


def asking(name: str, **arguments: Any) -> Script:
    """An agent that calls that function when it is asked something."""
    call = FunctionCall(name=name, arguments=arguments)
    return Script(
        turns=[
            Turn(hear=HOURS, function_calls=[call]),
            Turn(hear="(told)", say=["Of course, what else?"]),
            Turn(hear=HOURS, say=["We are open from nine to five."]),
        ],
        silence_ms=300,
        reply_ms=50,
    )


@asynccontextmanager
async def acting(tmp_path: Path, script: Script) -> AsyncIterator[House]:
    (tmp_path / "agent.yaml").write_text(AGENT)
    (tmp_path / "billing.yaml").write_text(BILLING)
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    config = load(
        tmp_path / "offhook.yaml", {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN}
    )
    async with house(script, config=config) as h:
        yield h


async def test_the_agent_says_goodbye_in_full_and_hangs_up(tmp_path: Path) -> None:
    async with acting(tmp_path, asking("hang_up", farewell=GOODBYE)) as h:
        report = await h.call(GREET, ASK, STAY, Step(wait=30))
        await h.until_ended()
        assert h.endings() == ["agent_hung_up"]
        (said,) = [e for e in h.events() if isinstance(e, AgentSaid) and e.intended == GOODBYE]
    assert said.text == GOODBYE
    assert not said.interrupted
    assert report.ending == "hangup_verb"


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed"])
async def test_a_caller_who_is_not_put_through_comes_back_to_the_same_conversation(
    tmp_path: Path, status: str
) -> None:
    async with acting(tmp_path, asking("transfer_call", destination="desk", summary="")) as h:
        report = await h.call(
            GREET, ASK, STAY, STAY, ASK, STAY, Step.model_validate("hang_up"), dial_status=status
        )
        await h.until_ended()
        events = h.events()
        _first, second = h.sessions
        assert h.endings() == ["caller_hung_up"]
    assert [e for e in events if isinstance(e, CallerLeft)] == [CallerLeft("transfer", "desk")]
    assert [e for e in events if isinstance(e, TransferFailed)] == [TransferFailed("desk", status)]
    assert CallerBack() in events
    told = [m.content for m in second.received if isinstance(m, InjectUserMessage)]
    assert len(told) == 1
    assert told[0].startswith("(The transfer to desk did not work:")
    # One greeting, one answer to what happened, and no silence that is longer than the ringing.
    assert texts(events, AgentSaid).count("Hello! How can I help you today?") == 1
    assert not [e for e in events if isinstance(e, CallerSaid) and e.text.startswith("(")]
    assert report.silences() == []


async def test_a_caller_who_is_put_through_ends_as_transferred(tmp_path: Path) -> None:
    async with acting(tmp_path, asking("transfer_call", destination="desk", summary="")) as h:
        report = await h.call(GREET, ASK, STAY, Step(wait=30))
        await h.until_ended()
        assert h.endings() == ["transferred"]
        assert len(h.sessions) == 1
    (dial,) = [verb for verb in report.verbs if verb.name == "Dial"]
    assert [noun.text for noun in dial.nouns] == [DESK]
    assert dial.attributes["timeout"] == "5"
    assert report.silences() == []


async def test_keys_are_pressed_between_two_streams_of_one_conversation(tmp_path: Path) -> None:
    async with acting(tmp_path, asking("send_digits", digits="1w2#")) as h:
        report = await h.call(GREET, ASK, STAY, ASK, STAY, Step.model_validate("hang_up"))
        await h.until_ended()
        events = h.events()
        assert len(h.sessions) == 2
        assert h.endings() == ["caller_hung_up"]
    (play,) = [verb for verb in report.verbs if verb.name == "Play"]
    assert play.attributes["digits"] == "1w2#"
    assert CallerLeft("digits", "") in events
    assert CallerBack() in events
    assert "We are open from nine to five." in texts(events, AgentSaid)


async def test_another_agent_of_the_house_takes_the_call_and_greets(tmp_path: Path) -> None:
    async with acting(tmp_path, asking("transfer_call", destination="billing", summary="")) as h:
        await h.call(GREET, ASK, STAY, STAY, Step.model_validate("hang_up"))
        await h.until_ended()
        events = h.events()
        assert h.endings() == ["caller_hung_up"]
        assert len(h.sessions) == 2
    assert AgentSwitched("billing") in events
    assert texts(events, AgentSaid)[-1].startswith("Hello again!")


async def test_what_the_agent_file_does_not_name_is_not_dialled(tmp_path: Path) -> None:
    call = FunctionCall(name="transfer_call", arguments={"destination": "+12025550199"})
    script = Script(
        turns=[Turn(hear=HOURS, function_calls=[call], say=["Of course, what else?"])],
        silence_ms=300,
    )
    async with acting(tmp_path, script) as h:
        report = await h.call(GREET, ASK, STAY, Step.model_validate("hang_up"))
        (session,) = h.sessions
    (answer,) = [m.content for m in session.received if isinstance(m, FunctionCallResponse)]
    assert "Input should be 'desk' or 'billing'" in answer
    assert not [verb for verb in report.verbs if verb.name == "Dial"]
