"""What bench/fault_verdicts.py makes of a call: faults of the server, and of the try itself."""

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

from bench.agent_faults import (
    ANSWERS,
    APPROACHING,
    MISBEHAVES,
    QUESTIONS,
    Case,
    Noted,
    Outcome,
)
from bench.call_records import KeptCall

from bench import fault_verdicts as verdicts
from bench import reliability
from offhook.deepgram.messages import InjectUserMessage
from offhook.events.types import (
    AgentLost,
    AgentRolledOver,
    AgentWarned,
    CallerSpeechBegan,
    FunctionAnswered,
    FunctionCalled,
)
from offhook.testing.faults.armed import Happened
from offhook.testing.faults.fault import read
from offhook.testing.scenarios.caller import Said
from offhook.testing.scenarios.hearing import Stretch

WARNED = AgentWarned("MAXIMUM_SESSION_LENGTH_APPROACHING", "", fatal=False)
NOTED = [
    Noted(5.0, CallerSpeechBegan()),
    Noted(15.0, CallerSpeechBegan()),
    Noted(18.0, FunctionCalled("fc_1", "ring_colleague", "{}")),
    Noted(19.5, FunctionAnswered("fc_1", "ring_colleague", "answered", "", 1500)),
    Noted(25.0, CallerSpeechBegan()),
]
KEPT = KeptCall(
    "caller_hung_up",
    tuple(type(one.event).__name__ for one in NOTED),
    QUESTIONS,
    ANSWERS,
)


def outcome(case: Case | None = None, *events: Noted, **changed: Any) -> Outcome:
    """A call in which all went well, but for what is given: its caller asks at 5, 15 and 25 s."""
    case = case or Case("", "no exchange")
    said = [Said(text, False, 5 + 10 * n, 7 + 10 * n) for n, text in enumerate(QUESTIONS)]
    stretches = [Stretch(8 + 10 * n, 10 + 10 * n) for n in range(3)]
    made = {
        "case": case,
        "ending": "caller_hung_up",
        "noted": sorted([*NOTED, *events], key=lambda one: one.at),
        "report": SimpleNamespace(
            caller=SimpleNamespace(faults=[], said=said, stretches=stretches), line=[]
        ),
        "heard": SimpleNamespace(taken_for=[SimpleNamespace(text=text) for text in QUESTIONS]),
        "happened": [Happened(read(spec), 6.0) for spec in case.spec.split()],
        "sessions": [],
        "rung": 1,
        "kept": KEPT,
    }
    call = SimpleNamespace(**made | changed)
    call.events = [one.event for one in call.noted]
    return cast("Outcome", call)


def test_a_fault_that_never_struck_is_wrong_in_every_row() -> None:
    case = Case("agent:stall agent:flood=600", MISBEHAVES)
    stalled = [Happened(read("agent:stall"), 6.0)]
    missing = ["agent:flood=600 did not happen"]
    assert verdicts.unstruck(outcome(case)) == []
    assert verdicts.unstruck(outcome(case, happened=stalled)) == missing
    assert reliability.misbehaved_badly(outcome(case, happened=stalled)) == missing
    assert reliability.misbehaved_badly(outcome(case, ending="internal_error"))
    assert missing[0] in verdicts.problems_of(outcome(case, happened=stalled))


def test_what_the_agent_was_doing_is_told_by_the_caller_and_by_its_functions() -> None:
    call = outcome()
    states = [verdicts.doing(call, at) for at in (6.0, 7.5, 9.0, 18.5, 19.6)]
    assert states == ["listening", "waiting", "talking", "in a function", "talking"]


def test_an_exchange_must_happen_and_each_state_must_have_been_tried() -> None:
    over = AgentRolledOver(100, 0)
    case = Case(APPROACHING, "listening")
    listening = outcome(case, Noted(6.0, WARNED), Noted(12.0, over))
    talking = outcome(case, Noted(9.0, WARNED), Noted(12.0, over))
    function = outcome(case, Noted(18.5, WARNED), Noted(22.0, over))
    assert verdicts.noticed(listening) == []
    assert verdicts.never_due_while([listening, talking]) == ["in a function"]
    assert verdicts.never_due_while([listening, talking, function]) == []
    assert verdicts.noticed(outcome(case, Noted(6.0, WARNED))) == ["no session was exchanged"]
    lost = outcome(case, Noted(6.0, AgentLost("closed", "")), Noted(12.0, over))
    assert verdicts.noticed(lost) == ["the agent was lost"]


def test_added_silence_is_that_of_the_same_answer_and_a_gap_within_one_counts() -> None:
    usual = outcome()
    gap = [Stretch(8, 9), Stretch(11.5, 12.5), Stretch(18, 20), Stretch(28, 30)]
    late = dataclasses.replace(usual.report.caller.said[0])
    caller = SimpleNamespace(faults=[], said=[late, *usual.report.caller.said[1:]], stretches=gap)
    call = outcome(report=SimpleNamespace(caller=caller, line=[]))
    assert verdicts.answered_s(usual) == [3.0, 3.0, 3.0]
    assert verdicts.added_silence_s([usual], [usual]) == 0.0
    assert verdicts.added_silence_s([usual, call], [usual]) == 2.5
    caller.stretches = gap[:2]
    assert verdicts.wrong_without_exchange(usual) == []
    assert verdicts.wrong_without_exchange(call) == ["2 questions were not answered"]
    assert verdicts.added_silence_s([usual], [call]) == float("inf"), "nothing to compare with"
    assert verdicts.added_silence_s([call], [usual, call]) == float("inf")
    assert verdicts.added_silence_s([call], [usual]) == float("inf"), "it was not answered"


def test_a_function_that_cannot_be_taken_back_is_done_once() -> None:
    assert verdicts.problems_of(outcome(Case("agent:status=503", "dialling"))) == []
    twice = outcome(Case("agent:status=503", "dialling"), rung=2)
    assert verdicts.problems_of(twice) == ["a colleague was asked for 1 times, and rung 2 times"]


def test_a_line_is_lost_that_the_record_lacks_whatever_the_server_told() -> None:
    assert verdicts.lost_lines(outcome()) == []
    lacks = dataclasses.replace(KEPT, caller=QUESTIONS[:2])
    assert verdicts.lost_lines(outcome(kept=lacks)) == [QUESTIONS[2]]
    lacks = dataclasses.replace(KEPT, agent=ANSWERS[1:])
    assert verdicts.lost_lines(outcome(kept=lacks)) == [ANSWERS[0]]
    lacks = dataclasses.replace(KEPT, events=KEPT.events[:-1])
    assert verdicts.lost_lines(outcome(kept=lacks)) == ["events: 5 told, 4 kept"]
    lacks = dataclasses.replace(KEPT, ending="none")
    assert verdicts.lost_lines(outcome(kept=lacks)) == ["its end: kept is none"]
    twice = dataclasses.replace(KEPT, caller=(*QUESTIONS, QUESTIONS[0]))
    assert verdicts.lost_lines(outcome(kept=twice)) == [f"twice: {QUESTIONS[0]}"]


def test_what_the_server_itself_told_the_next_agent_is_no_line_of_the_callers() -> None:
    heard = SimpleNamespace(
        taken_for=[SimpleNamespace(text=text) for text in (*QUESTIONS, "(go on)", QUESTIONS[0])]
    )
    received = [InjectUserMessage(content="(go on)"), InjectUserMessage(content=QUESTIONS[0])]
    told = [SimpleNamespace(received=received)]
    assert verdicts.lost_lines(outcome(heard=heard, sessions=told)) == []
    assert verdicts.lost_lines(outcome(heard=heard)) == [QUESTIONS[0], "(go on)"]
