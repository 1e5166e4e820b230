"""Whole calls in which the agent hangs up and puts callers through, with a simulated account."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.house import ACCOUNT, ASK, GREET, HOURS, TOKEN, House, house, until

from offhook.config import Config, load
from offhook.events import AgentTold
from offhook.rehearsal.report import CallReport
from offhook.rehearsal.scenario import Step
from offhook.rehearsal.script import FunctionCall, Script, Turn
from offhook.rehearsal.switchboard import executing
from offhook.rehearsal.switchboard.people import Person

BOB = "+12025550111"
STAY = Step(stay_silent=60)
NOTICED_S = 2.5
"""Of nothing on the line: longer than a server is asked what comes next."""

AGENT = """
settings:
  listen: {provider: {type: deepgram, version: v2, model: flux-general-en}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}, prompt: Be brief.}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
  greeting: Hello! How can I help you today?
tools: [hang_up, transfer_call]
transfer:
  destinations:
    bob: {to: "+12025550111", timeout_seconds: 5}
    bob_first: {to: "+12025550111", warm: true, timeout_seconds: 5, caller_id: "+12025550100"}
"""


@pytest.fixture(autouse=True)
def speak_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a whisper is over soon."""
    monkeypatch.setattr(executing, "SAY_S", 0.005)


def config(folder: Path) -> Config:
    (folder / "agent.yaml").write_text(AGENT)
    (folder / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    env = {"DEEPGRAM_API_KEY": "a-key", "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN}
    return load(folder / "offhook.yaml", env)


def asks(name: str, **arguments: Any) -> Script:
    call = FunctionCall(name=name, arguments=arguments)
    turn = Turn(hear=HOURS, function_calls=[call], say=["Of course, what else?"])
    return Script(turns=[turn], silence_ms=300, reply_ms=50)


@asynccontextmanager
async def office(
    folder: Path, script: Script, people: Mapping[str, Person]
) -> AsyncIterator[House]:
    async with house(script, config=config(folder), people=people) as made:
        yield made


def sounds(report: CallReport) -> list[str]:
    return [span.sound for span in report.line]


async def test_a_goodbye_is_heard_and_twilio_is_asked_once_to_hang_up(tmp_path: Path) -> None:
    script = asks("hang_up", farewell="Goodbye, and thank you for calling!")
    async with office(tmp_path, script, {}) as h:
        report = await h.call(GREET, ASK, STAY)
        await h.until_ended()
        assert h.endings() == ["agent_hung_up"]
    (asked,) = h.ledger.hang_ups
    assert (asked.call_sid, asked.in_time) == (report.call_sid, True)
    assert report.ending == "ended_by_rest"
    (stream,) = report.streams
    assert stream.ended_by == "twilio"
    assert stream.bursts[-1].cut_by is None  # nothing of the goodbye was thrown away
    assert report.faults == []


@pytest.mark.parametrize("does", ["busy", "no-answer", "failed"])
async def test_who_cannot_be_put_through_comes_back(tmp_path: Path, does: Any) -> None:
    script = asks("transfer_call", destination="bob", summary="The hours.")
    async with office(tmp_path, script, {BOB: Person(does, after_s=1.0)}) as h:
        report = await until_told(h)
    rung = h.ledger.rung[0]
    assert (rung.to, rung.answered_at) == (BOB, None)
    assert sounds(report)[:3] == ["stream", "ringing", "stream"]
    assert report.silences(NOTICED_S) == []
    assert h.endings() == ["caller_hung_up"]


async def test_a_caller_is_put_through(tmp_path: Path) -> None:
    script = asks("transfer_call", destination="bob", summary="The hours.")
    async with office(tmp_path, script, {BOB: Person(after_s=1.0, talks_s=2.0)}) as h:
        report = await h.call(GREET, ASK, STAY)
    (met,) = h.ledger.joined
    assert met.call_sid == h.ledger.rung[0].call_sid
    assert sounds(report) == ["stream", "ringing", "together"]
    assert report.silences(NOTICED_S) == []
    assert report.faults == []


async def test_a_person_accepts_a_caller_who_meanwhile_stays_with_the_agent(
    tmp_path: Path,
) -> None:
    script = asks("transfer_call", destination="bob_first", summary="The hours.")
    people = {BOB: Person(after_s=1.0, keys=("1",), talks_s=2.0)}
    async with office(tmp_path, script, people) as h:
        report = await h.call(GREET, ASK, STAY)
        await until(lambda: h.ledger.rung[0].ended_at is not None)
    (rung,) = h.ledger.rung
    assert (rung.by, rung.from_) == ("api", "+12025550100")
    assert {met.call_sid for met in h.ledger.joined} == {report.call_sid, rung.call_sid}
    assert sounds(report)[0] == "stream"
    assert "together" in sounds(report)
    assert report.silences(NOTICED_S) == []
    assert "The hours." in h.ledger.reports[rung.call_sid].documents[0].body


@pytest.mark.parametrize(
    "person",
    [Person(after_s=0.5, keys=("2",)), Person("busy", after_s=0.5), Person("no-answer")],
)
async def test_a_person_who_does_not_accept_leaves_the_caller_with_the_agent(
    tmp_path: Path, person: Person
) -> None:
    script = asks("transfer_call", destination="bob_first", summary="The hours.")
    async with office(tmp_path, script, {BOB: person}) as h:
        report = await until_told(h)
    assert sounds(report) == ["stream"]
    assert h.ledger.joined == []
    assert len(h.sessions) == 1


async def until_told(h: House) -> CallReport:
    """A call that its caller ends when the agent has been told that nothing came of it."""
    async with asyncio.TaskGroup() as group:
        calling = group.create_task(h.call(GREET, ASK, STAY))
        await until(lambda: any(isinstance(event, AgentTold) for event in h.events()))
        (told,) = {event.text for event in h.events() if isinstance(event, AgentTold)}
        assert "did not work" in told
        assert h.account is not None
        (leg,) = (leg for leg in h.account.board.legs.values() if leg.direction == "inbound")
        assert leg.end("caller_hung_up")
        report = await calling
        await h.until_ended()
    return report
