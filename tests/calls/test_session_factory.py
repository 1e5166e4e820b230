"""Creation of sessions: the branches that decide what a new call, or one taken over, gets."""

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.calls.fake_session import SID
from tests.whole_server import ACCOUNT, configured

from offhook.call.ending import Ending, Slug
from offhook.call.handoff import UNASKED_S
from offhook.call.handoff_actions import Dial, SendDigits
from offhook.call.inputs import ProcessDied
from offhook.call.phrases import Phrases
from offhook.call.resumed import OpenFunction, ResumedCall
from offhook.calls import session_factory
from offhook.calls.call_entry import CalledPerson, CallEntry
from offhook.calls.call_limits import CallLimits, LagGuard
from offhook.calls.call_updates import CallUpdates
from offhook.calls.live_facts import LiveFacts, decoded
from offhook.calls.pause_gate import PauseGate
from offhook.calls.registry import CallRegistry
from offhook.calls.session import Session
from offhook.calls.session_factory import DAY_S, SessionFactory
from offhook.capture.tap import NewCall
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import Agent
from offhook.config.current_agents import CurrentAgents
from offhook.deepgram.session_budget import SessionBudget
from offhook.deepgram.settings import Settings
from offhook.events.types import (
    CallBegan,
    CallEvent,
    CallStarted,
    CameBy,
    FunctionAnswered,
    FunctionCalled,
    FunctionOutcome,
    RecordingFailed,
)
from offhook.policy.inbound_policy import InboundPolicy, InboundRules
from offhook.testing.virtual_clock import VirtualClock
from offhook.tools import tool
from offhook.tools.declare import Call

ADA, OURS = "+12025550142", "+12025550100"
LIMIT_S = 90.0
RECORDINGS: Any = object()


class NotedSession:
    """A session that notes what it was made with, and how it went on."""

    def __init__(self, call_sid: str, agent: Any, **given: Any) -> None:
        self.call_sid = call_sid
        self.agent = agent
        self.given = given
        self.events: list[Any] = []
        self.died: list[ProcessDied] = []
        self.ending: Ending | None = None

    def note(self, event: Any) -> None:
        self.events.append(event)

    def take_over(self, died: ProcessDied) -> None:
        self.died.append(died)


class Limited(InboundPolicy):
    """A policy that lets every inbound call last LIMIT_S."""

    def call_limit_s(self, rate: object) -> float | None:
        return LIMIT_S


class Beside:
    """Transfers that note which calls are over, let go, or go on with a person."""

    def __init__(self) -> None:
        self.over: list[tuple[str, bool]] = []
        self.gone: list[str] = []
        self.resumed: list[tuple[str, CalledPerson]] = []

    def let_go(self, call_sid: str) -> None:
        self.gone.append(call_sid)

    def resume(self, entry: CallEntry, person: CalledPerson) -> None:
        self.resumed.append((entry.call_sid, person))

    def call_over(self, call_sid: str, *, caller_is_gone: bool) -> None:
        self.over.append((call_sid, caller_is_gone))


class Rig:
    """A factory of noted sessions; `kept` are the facts that it kept, by CallSid."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, records: bool = True, pulse: Any = None
    ) -> None:
        monkeypatch.setattr(session_factory, "Session", NotedSession)
        self.clock = VirtualClock(1000.0)
        self.events: list[CallEvent] = []
        self.kept: list[LiveFacts] = []
        self.over: list[CallEntry] = []
        self.transfers = Beside()
        limits = CallLimits(9, SessionBudget(9, self.clock.now), LagGuard(0))
        self.registry = CallRegistry(limits, self.clock, self.events.append)
        self.config = configured("ws://127.0.0.1:1/")
        unused: Any = None
        self.factory = SessionFactory(
            CurrentAgents(self.config),
            self.registry,
            cast("Any", self.transfers),
            unused,
            CallUpdates(None, ServerTasks(asyncio.TaskGroup())),
            Limited(InboundRules(), self.clock, lambda ms, tier: 0),
            clock=self.clock,
            dial=unused,
            dial_spare=unused,
            tools=lambda toolbox, call: cast("Any", (toolbox, call)),
            make_tap=None,
            recordings=RECORDINGS if records else None,
            origin="https://phone.example",
            webhook_path="/twilio",
            session_s=3600,
            keep=lambda sid, line: self.kept.append(decoded(line)),
            pulse=pulse,
            dials_ahead=True,
            next_token=lambda sid: f"next of {sid}",
            spare_settled=lambda sid: None,
        )
        self.factory.ended = self.over.append

    def agent(self, still_there: str = "Hello?", **parts: Any) -> Agent:
        agent = self.config.lines["default"]
        phrases = type(agent.phrases)(still_there=still_there)
        return agent.model_copy(update={"phrases": phrases, **parts})

    def make(self, by: CameBy, agent: Agent, given: Mapping[str, str] | None = None) -> CallEntry:
        control = self.factory.control(NewCall(SID, agent.name, by, ADA, OURS))
        return self.factory.make(control, agent, ACCOUNT, "a token", given or {})

    def facts(self, **changes: Any) -> LiveFacts:
        call = NewCall(SID, "default", "webhook", ADA, OURS)
        return dataclasses.replace(
            self.factory.facts(call, ACCOUNT, {"name": "Ada"}, "a token"), **changes
        )


def noted(entry: CallEntry) -> NotedSession:
    return cast("NotedSession", entry.session)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


# --- a new call ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "recorded", "is_told", "direction", "ours", "limit_s"),
    [
        ("webhook", True, False, "inbound", OURS, LIMIT_S),
        ("bin", False, True, "inbound", OURS, LIMIT_S),
        ("browser", True, False, "inbound", OURS, LIMIT_S),
        ("api", True, False, "outbound", ADA, None),
    ],
)
def test_what_a_new_call_gets_depends_on_the_way_in_which_it_came(
    rig: Rig,
    by: CameBy,
    recorded: bool,
    is_told: bool,
    direction: str,
    ours: str,
    limit_s: float | None,
) -> None:
    entry = rig.make(by, rig.agent(recording=True))
    session = noted(entry)
    assert (session.given["recordings"] is RECORDINGS) == recorded
    assert any(isinstance(each, RecordingFailed) for each in session.events) == is_told
    (began,) = [each for each in session.events if isinstance(each, CallBegan)]
    assert (began.direction, began.by) == (direction, by)
    assert entry.our_number == ours
    assert session.agent.call_settings.spend_s == limit_s
    assert rig.registry.live == {SID: entry}


@pytest.mark.parametrize(("records", "recording"), [(False, True), (True, False)])
def test_a_call_is_not_recorded_without_a_folder_or_unless_the_agent_says_so(
    monkeypatch: pytest.MonkeyPatch, records: bool, recording: bool
) -> None:
    made = Rig(monkeypatch, records=records)
    session = noted(made.make("bin", made.agent(recording=recording)))
    assert session.given["recordings"] is None
    assert not [each for each in session.events if isinstance(each, RecordingFailed)]


def test_an_agents_phrases_and_functions_have_the_calls_variables(rig: Rig) -> None:
    agent = rig.agent(still_there="Hello {{name}}?")
    entry = rig.make("webhook", agent, {"name": "Ada"})
    assert entry.agent.phrases.still_there == "Hello Ada?"
    assert entry.values["name"] == "Ada"
    _, handed = noted(entry).agent.tools
    assert (handed.caller, handed.called, handed.variables["name"]) == (ADA, OURS, "Ada")


def test_a_user_of_the_console_has_no_number_for_functions(rig: Rig) -> None:
    _, handed = noted(rig.make("browser", rig.agent())).agent.tools
    assert handed.caller is None


def test_deepgram_is_sent_the_agents_settings_with_the_calls_variables(rig: Rig) -> None:
    agent = rig.agent(settings=Settings({"greeting": "Hello {{name}}!"}))
    made = noted(rig.make("webhook", agent, {"name": "Ada"})).agent
    sent = msgspec.json.decode(made.settings(True, (), ()))
    assert sent["agent"]["greeting"] == "Hello Ada!"
    silent = msgspec.json.decode(made.settings(False, (), ()))
    assert "greeting" not in silent["agent"]


def test_only_a_node_of_a_fleet_has_a_gate(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    assert noted(rig.make("webhook", rig.agent())).given["gate"] is None
    node = Rig(monkeypatch, pulse=object())
    assert isinstance(noted(node.make("webhook", node.agent())).given["gate"], PauseGate)


def test_a_call_switches_to_an_agent_with_its_own_variables(rig: Rig) -> None:
    entry = rig.make("webhook", rig.agent(), {"name": "Ada"})
    other = rig.agent(name="other", still_there="Still here, {{name}}?")
    rig.factory._agents.use(dataclasses.replace(rig.config, agents={Path("other.yaml"): other}))
    switched = noted(entry).given["switch_agent"]("other")
    assert switched.call_settings.phrases.still_there == "Still here, Ada?"
    assert entry.agent.name == "other"
    with pytest.raises(KeyError):
        noted(entry).given["switch_agent"]("nobody")


# --- a call that another process had -------------------------------------------------------------


def died(started_ms: int | None = 0, last_ms: int = 0) -> ResumedCall:
    resumed = ResumedCall()
    if started_ms is not None:
        resumed.take(CallStarted(), started_ms)
    resumed.last_ms = last_ms
    return resumed


KEYS = SendDigits("1w2")


@pytest.mark.parametrize(
    ("action", "is_returning", "started_ms", "token", "interrupted", "after_due", "next_token"),
    [
        (None, False, 0, None, True, True, f"next of {SID}"),
        (None, False, 0, "of a stream", True, True, "of a stream"),
        (None, False, None, None, True, False, "a token"),
        (None, True, 0, None, True, False, "a token"),
        (KEYS, False, 0, None, False, False, "a token"),
        (KEYS, True, 0, None, True, False, "a token"),
    ],
)
def test_what_a_call_waits_for_depends_on_where_its_process_died(
    rig: Rig,
    action: SendDigits | Dial | None,
    is_returning: bool,
    started_ms: int | None,
    token: str | None,
    interrupted: bool,
    after_due: bool,
    next_token: str,
) -> None:
    kept = None if action is None else {"SendDigits": msgspec.to_builtins(action)}
    facts = rig.facts(action=kept, is_returning=is_returning)
    entry = rig.factory.take_over(SID, rig.agent(), facts, died(started_ms), token=token)
    assert entry.is_interrupted == interrupted
    assert entry.is_after_due == after_due
    assert entry.token == next_token
    assert entry.expected_until == (rig.clock.now() + UNASKED_S if interrupted else 0.0)
    (told,) = noted(entry).died
    assert told.action == (None if is_returning else action)
    assert rig.kept[-1].token == next_token, "the next process knows it, too"


def test_a_call_that_is_taken_over_keeps_its_facts(rig: Rig) -> None:
    facts = rig.facts(origin="https://other.example", streams=3)
    entry = rig.factory.take_over(SID, rig.agent(), facts, died(), epoch=7, node="b")
    assert (entry.origin, entry.values, entry.handoff.count) == (facts.origin, facts.values, 4)
    (told,) = noted(entry).died
    assert (told.epoch, told.node) == (7, "b")
    assert not [each for each in noted(entry).events if isinstance(each, CallBegan)]
    without = rig.factory.take_over("CA" + "2" * 32, rig.agent(), rig.facts(), died())
    assert without.origin == "https://phone.example"


def test_a_person_who_was_called_for_the_caller_goes_on_with_the_call(rig: Rig) -> None:
    person = CalledPerson("an id", "CA" + "3" * 32)
    rig.factory.take_over(SID, rig.agent(), rig.facts(), died())
    assert rig.transfers.resumed == []
    rig.factory.take_over(SID, rig.agent(), rig.facts(person=person), died())
    assert rig.transfers.resumed == [(SID, person)]


@pytest.mark.parametrize(
    ("began_s", "last_ms", "expected"),
    [
        (940.0, 50_000, 940.0),
        (940.0, 60_000, 940.0),
        (940.0, 61_000, 939.0),  # Shorter than its events: the clock began again since.
        (5000.0, 10_000, 990.0),  # In the future: a clock of another boot.
        (1000.0 - DAY_S - 11, 10_000, 990.0),  # No call lasts a day.
    ],
)
def test_when_a_call_began_by_this_processs_clock(
    rig: Rig, began_s: float, last_ms: int, expected: float
) -> None:
    facts = rig.facts(began_s=began_s)
    entry = rig.factory.take_over(SID, rig.agent(), facts, died(0, last_ms))
    assert entry.began == noted(entry).given["began"] == expected


# --- results of functions that have run before ---------------------------------------------------


@tool(irreversible=True)
def pay(amount: int) -> str:
    """Pay."""
    return str(amount)


@tool(irreversible=True, repeatable=True)
def ring(amount: int) -> str:
    """Ring."""
    return str(amount)


@tool
def look(amount: int) -> str:
    """Look."""
    return str(amount)


TOOLBOX = {each.name: each for each in (pay, ring, look)}
UNKNOWN = Phrases().outcome_unknown


@pytest.mark.parametrize(
    ("name", "arguments", "outcome", "kept"),
    [
        ("pay", '{"amount": 5}', "answered", ("done", "answered")),
        ("pay", '{"amount": 5}', "outcome_unknown", ("done", "outcome_unknown")),
        ("pay", '{"amount": 5}', None, (UNKNOWN, "outcome_unknown")),
        ("pay", '{"amount": 5}', "failed", None),
        ("pay", '{"amount": "much"}', "answered", None),
        ("ring", '{"amount": 5}', "answered", None),
        ("look", '{"amount": 5}', "answered", None),
        ("gone", "{}", "answered", None),
    ],
)
async def test_an_irreversible_function_has_its_first_result_in_the_next_process(
    name: str,
    arguments: str,
    outcome: FunctionOutcome | None,
    kept: tuple[str, FunctionOutcome] | None,
) -> None:
    resumed = ResumedCall()
    called = FunctionCalled("1", name, arguments)
    if outcome is None:
        resumed.open["1"] = OpenFunction(called, 0)
    else:
        resumed.answered.append((called, FunctionAnswered("1", name, outcome, "done", 1)))
    once = session_factory._once(TOOLBOX, resumed, Call(SID, "default", None, None))
    assert [future.result() for future in once.values()] == ([] if kept is None else [kept])


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "is_gone"),
    [
        (Slug.CALLER_HUNG_UP, True),
        (Slug.OPERATOR_HUNG_UP, True),
        (Slug.TRANSFERRED, False),
        (Slug.AGENT_LOST, False),
    ],
)
def test_people_who_ring_for_a_caller_are_hung_up_on_only_if_the_caller_is_gone(
    rig: Rig, how: Slug, is_gone: bool
) -> None:
    entry = rig.make("webhook", rig.agent())
    noted(entry).ending = Ending(how)
    noted(entry).given["ended"](cast("Session", entry.session))
    assert rig.transfers.over == [(SID, is_gone)]
    assert rig.over == [entry]
    assert rig.registry.live == {}


def test_a_call_that_another_process_has_now_ends_here_without_an_ending(rig: Rig) -> None:
    entry = rig.make("webhook", rig.agent())
    noted(entry).given["ended"](cast("Session", entry.session))
    assert (rig.over, rig.transfers.over) == ([], [])
    assert rig.transfers.gone == [SID]
    assert rig.registry.find(SID) is None
