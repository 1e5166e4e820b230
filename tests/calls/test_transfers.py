"""Hanging up, pressing keys and transferring callers: whole calls over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.waiting import until
from tests.whole_server import ASK, GREET, HOURS, QUICK, TOKEN, WholeServer, texts, whole_server

from offhook.config import Config, load
from offhook.deepgram.messages import FunctionCallResponse, InjectUserMessage
from offhook.events.types import (
    AgentSaid,
    AgentSwitched,
    CallerBack,
    CallerLeft,
    CallerSaid,
    Dialled,
    TransferFailed,
)
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson
from offhook.tools.requests import StartTransfer

DESK = "+12025550123"
ANN = "+12025550124"
LINE = "+12025550100"
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
    ann: {{to: "{ANN}", timeout_seconds: 8, warm: true}}
    billing: {{agent: billing.yaml}}
limits: {{answer_seconds: 0}}  # the stand-in has nothing to say to a function's result
"""
BILLING = AGENT.split("tools:")[0].replace("Hello! How", "Hello again! How")
GOODBYE = "Thank you for calling. Goodbye!"
STAY = ScenarioStep.model_validate({"wait_for_agent": {"quiet_ms": 600, "timeout": 6}})


def asking(name: str, **arguments: Any) -> Script:
    """An agent that calls that function when it is asked something."""
    call = ScriptFunctionCall(name=name, arguments=arguments)
    return Script(
        turns=[
            ScriptTurn(hear=HOURS, function_calls=[call]),
            ScriptTurn(hear="(told)", say=["Of course, what else?"]),
            ScriptTurn(hear=HOURS, say=["We are open from nine to five."]),
        ],
        silence_ms=300,
        reply_ms=50,
    )


def configured(tmp_path: Path, agent: str) -> Config:
    (tmp_path / "agent.yaml").write_text(agent)
    (tmp_path / "billing.yaml").write_text(BILLING)
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    environ = {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN}
    return load(tmp_path / "offhook.yaml", environ)


@asynccontextmanager
async def acting(tmp_path: Path, script: Script) -> AsyncIterator[WholeServer]:
    """A server without credentials for Twilio's REST API."""
    cold = "\n".join(line for line in AGENT.splitlines() if "warm" not in line)
    async with whole_server(script, config=configured(tmp_path, cold)) as h:
        yield h


@asynccontextmanager
async def with_account(
    tmp_path: Path, script: Script, people: Mapping[str, SimulatedPerson] = MappingProxyType({})
) -> AsyncIterator[WholeServer]:
    """A server that may ask Twilio to act on calls, and the people whom it may reach."""
    async with whole_server(script, config=configured(tmp_path, AGENT), people=people) as h:
        yield h


async def test_the_agent_says_goodbye_in_full_and_hangs_up(tmp_path: Path) -> None:
    async with acting(tmp_path, asking("hang_up", farewell=GOODBYE)) as h:
        report = await h.call(GREET, ASK, STAY, ScenarioStep(wait=30))
        await h.until_ended()
        assert h.endings() == ["agent_hung_up"]
        (said,) = [e for e in h.events() if isinstance(e, AgentSaid) and e.intended == GOODBYE]
    assert said.text == GOODBYE
    assert not said.interrupted
    assert report.ending == "hangup_verb"


@pytest.mark.parametrize("status", ["busy", "no-answer"])
async def test_a_caller_who_is_not_transferred_comes_back_to_the_same_conversation(
    tmp_path: Path, status: str
) -> None:
    async with acting(tmp_path, asking("transfer_call", destination="desk", summary="")) as h:
        report = await h.call(
            GREET,
            ASK,
            STAY,
            STAY,
            ASK,
            STAY,
            ScenarioStep.model_validate("hang_up"),
            dial_status=status,
        )
        await h.until_ended()
        events = h.events()
        _first, second = h.sessions
        assert h.endings() == ["caller_hung_up"]
    assert [e for e in events if isinstance(e, CallerLeft)] == [CallerLeft("transfer", "desk")]
    assert [e.why for e in events if isinstance(e, TransferFailed)] == [status]
    assert CallerBack() in events
    told = [m.content for m in second.received if isinstance(m, InjectUserMessage)]
    assert len(told) == 1
    assert told[0].startswith("(The transfer to desk did not work:")
    # One greeting, one answer to what happened, and no silence that is longer than the ringing.
    assert texts(events, AgentSaid).count("Hello! How can I help you today?") == 1
    assert not [e for e in events if isinstance(e, CallerSaid) and e.text.startswith("(")]
    assert h.silences(report) == []


async def test_a_caller_who_is_transferred_ends_as_transferred(tmp_path: Path) -> None:
    async with acting(tmp_path, asking("transfer_call", destination="desk", summary="")) as h:
        report = await h.call(GREET, ASK, STAY, ScenarioStep(wait=30))
        await h.until_ended()
        assert h.endings() == ["transferred"]
        assert len(h.sessions) == 1
    (dial,) = [verb for verb in report.verbs if verb.name == "Dial"]
    assert [noun.text for noun in dial.nouns] == [DESK]
    assert dial.attributes["timeout"] == "5"
    assert h.silences(report) == []


async def test_keys_are_pressed_between_two_streams_of_one_conversation(tmp_path: Path) -> None:
    async with acting(tmp_path, asking("send_digits", digits="1w2#")) as h:
        report = await h.call(GREET, ASK, STAY, ASK, STAY, ScenarioStep.model_validate("hang_up"))
        await h.until_ended()
        events = h.events()
        assert len(h.sessions) == 2
        assert h.endings() == ["caller_hung_up"]
    (play,) = [verb for verb in report.verbs if verb.name == "Play"]
    assert play.attributes["digits"] == "1w2#"
    assert CallerLeft("digits", "") in events
    assert CallerBack() in events
    assert "We are open from nine to five." in texts(events, AgentSaid)


async def test_another_agent_of_the_server_takes_the_call_and_greets(tmp_path: Path) -> None:
    async with acting(tmp_path, asking("transfer_call", destination="billing", summary="")) as h:
        await h.call(GREET, ASK, STAY, STAY, ScenarioStep.model_validate("hang_up"))
        await h.until_ended()
        events = h.events()
        assert h.endings() == ["caller_hung_up"]
        assert len(h.sessions) == 2
    assert AgentSwitched("billing") in events
    assert texts(events, AgentSaid)[-1].startswith("Hello again!")


async def test_what_the_agent_file_does_not_name_is_not_dialled(tmp_path: Path) -> None:
    call = ScriptFunctionCall(name="transfer_call", arguments={"destination": "+12025550199"})
    script = Script(
        turns=[ScriptTurn(hear=HOURS, function_calls=[call], say=["Of course, what else?"])],
        silence_ms=300,
    )
    async with acting(tmp_path, script) as h:
        report = await h.call(GREET, ASK, STAY, ScenarioStep.model_validate("hang_up"))
        (session,) = h.sessions
    (answer,) = [m.content for m in session.received if isinstance(m, FunctionCallResponse)]
    assert "Input should be 'desk' or 'billing'" in answer
    assert not [verb for verb in report.verbs if verb.name == "Dial"]


# --- with credentials ---------------------------------------------------------------------------


async def test_with_credentials_a_call_is_hung_up_by_rest_exactly_once(tmp_path: Path) -> None:
    async with with_account(tmp_path, asking("hang_up", farewell=GOODBYE)) as h:
        report = await h.call(GREET, ASK, STAY, ScenarioStep(wait=30))
        await h.until_ended()
        assert h.endings() == ["agent_hung_up"]
    assert report.ending == "ended_by_rest"
    assert [asked.in_time for asked in h.ledger.hang_ups] == [True]
    (said,) = [e for e in h.events() if isinstance(e, AgentSaid) and e.intended == GOODBYE]
    assert said.text == GOODBYE


WARM = asking("transfer_call", destination="ann", summary="The caller asks for the hours.")


@pytest.mark.long
async def test_a_person_who_accepts_gets_the_caller(tmp_path: Path) -> None:
    ann = SimulatedPerson(after_s=0.5, keys=("1",), talks_s=1.0)
    async with with_account(tmp_path, WARM, {ANN: ann}) as h:
        is_asking = h.server.calls.transfers.is_asking
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(h.call(GREET, ASK, STAY, ScenarioStep(wait=40)))
            await until(lambda: any(map(is_asking, h.server.calls.registry.live)))
        report = calling.result()
        await h.until_ended()
        assert h.endings() == ["transferred"]
        assert not is_asking(report.call_sid)
    (rung,) = h.ledger.rung
    assert (rung.to, rung.from_) == (ANN, LINE)
    (conference,) = {joined.conference for joined in h.ledger.joined}
    assert conference is not None
    assert conference.startswith(f"offhook-{report.call_sid}-")
    assert len(h.ledger.joined) == 2
    assert h.silences(report) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("ann", "why", "words"),
    [
        (SimulatedPerson("busy", after_s=0.5), "busy", "the line is busy"),
        (SimulatedPerson("no-answer"), "no-answer", "nobody answered"),
        (SimulatedPerson("failed", after_s=0.5), "failed", "the number could not be reached"),
        (SimulatedPerson(after_s=0.5, keys=("2",)), "declined", "they did not take the call"),
        (
            SimulatedPerson(after_s=0.5, hang_up_after_s=1.0),
            "declined",
            "they did not take the call",
        ),
    ],
    ids=["busy", "no answer", "failed", "declines", "hangs up"],
)
async def test_a_person_who_does_not_accept_leaves_the_caller_with_the_agent(
    tmp_path: Path, ann: SimulatedPerson, why: str, words: str
) -> None:
    async with with_account(tmp_path, WARM, {ANN: ann}) as h:
        wait = ScenarioStep.model_validate({"wait_for_agent": {"quiet_ms": 600}})
        report = await h.call(
            GREET, ASK, ScenarioStep(wait=9), wait, ScenarioStep.model_validate("hang_up")
        )
        await h.until_ended()
        assert h.endings() == ["caller_hung_up"]
        (session,) = h.sessions
        events = h.events()
    told = [m.content for m in session.received if isinstance(m, InjectUserMessage)]
    assert told == [
        f"(The transfer to ann did not work: {words}. Tell the caller, and go on helping.)"
    ]
    assert [e.why for e in events if isinstance(e, TransferFailed)] == [why]
    assert [e for e in events if isinstance(e, Dialled)] == [Dialled("warm-transfer", "ann", ANN)]
    assert len(h.ledger.rung) == 1
    assert not h.ledger.joined
    assert not [e for e in events if isinstance(e, CallerLeft)]
    assert len(report.streams) == 1


async def test_a_caller_who_gives_up_does_not_leave_a_telephone_ringing(tmp_path: Path) -> None:
    async with with_account(tmp_path, WARM, {ANN: SimulatedPerson(after_s=60)}) as h:
        await h.call(GREET, ASK, ScenarioStep(wait=2), ScenarioStep.model_validate("hang_up"))
        await h.until_ended()
        await until(lambda: all(rung.ended_at is not None for rung in h.ledger.rung))
    assert len(h.ledger.rung) == 1
    assert len(h.ledger.hang_ups) == 1


@pytest.mark.long
async def test_a_person_who_has_accepted_does_not_wait_for_a_caller_who_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.call.farewell.LAST_WORD_S", 20.0)  # before the caller leaves
    ann = SimulatedPerson(after_s=0.5, keys=("1",), talks_s=None)
    async with with_account(tmp_path, WARM, {ANN: ann}) as h, asyncio.TaskGroup() as group:
        calling = group.create_task(h.call(GREET, ASK, ScenarioStep(wait=50)))
        await until(lambda: bool(h.ledger.rung))
        await until(lambda: bool(h.ledger.joined))
        calling.cancel()  # The caller hangs up.
        await h.until_ended()
        await until(lambda: len(h.ledger.hang_ups) == 1)
        assert h.endings() == ["caller_hung_up"]


async def test_a_summary_of_any_length_and_any_letters_ends_no_call(tmp_path: Path) -> None:
    """1,872 letters, said twice, are more TwiML than Twilio takes; so are 400 ampersands."""
    hostile = ("x" * 1872, "&" * 400, "half of a \ud83d", "\x00" * 2000)
    async with (
        with_account(tmp_path, QUICK, {ANN: SimulatedPerson("no-answer")}) as h,
        asyncio.TaskGroup() as group,
    ):
        for _ in hostile:
            group.create_task(h.call(GREET, STAY, STAY, ScenarioStep.model_validate("hang_up")))
        live = h.server.calls.registry.live
        await until(lambda: sum(e.has_stream for e in live.values()) == len(hostile))
        for call_sid, summary in zip(list(live), hostile, strict=True):
            assert (await live[call_sid].control.perform(StartTransfer("ann", summary))).startswith(
                "It rings at ann"
            )
        await h.until_ended(len(hostile))
        assert h.endings() == ["caller_hung_up"] * len(hostile)
        assert not h.stopped.is_set()
