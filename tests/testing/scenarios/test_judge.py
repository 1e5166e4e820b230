"""Whether a call went as expected: a real caller on a telephone, then the judge."""

from typing import Any

import pytest
from tests.testing.telephone import Telephone, Words, near

from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.expectation import ExpectCall, ExpectTurn
from offhook.testing.scenarios.hearing import SeenFunctionCall
from offhook.testing.scenarios.judge import Judge, ServersEnding, longest_silence, unreached
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.twilio.call_report import LineSpan
from offhook.testing.simulator.twilio.calls.ledger import EndRequest, NetworkLedger, Rung

HOURS = "We are open from nine to six."
CLOSED = "On Sundays we are closed."
BOOKED = SeenFunctionCall(2.0, "book_table", {"day": "friday", "people": 2})


def meant(text: str) -> set[str]:
    return {"hours"} if "open" in text else set()


def steps(*given: Any) -> list[ScenarioStep]:
    return [ScenarioStep.model_validate(one) for one in given]


def answered(*texts: str | None, functions: tuple[SeenFunctionCall, ...] = ()) -> Telephone:
    """Asked from 0.1 to 0.4 s; answered at 1 s, and again at 3 s if there is a second text."""
    telephone = Telephone(
        *steps({"say": "question"}, {"wait": 9}), hearing=Words(*texts, functions=functions)
    )
    bursts = [(1.0 + 2 * index, 2.0 + 2 * index) for index in range(len(texts))]
    telephone.run(bursts, 6.0)
    return telephone


def judged(telephone: Telephone, **expected: Any) -> list[str]:
    """What is wrong with the answer to the last thing that the caller said."""
    exchange = telephone.caller.exchanges[-1]
    expectation = ExpectTurn.model_validate(expected)
    return Judge(meant).turn(expectation, telephone.caller, exchange)


@pytest.mark.parametrize(
    "expected",
    [
        {"says": "open from nine"},
        {"says": ["we are OPEN!", "9 to 6", "Sundays"]},
        {"says": "six on Sundays"},  # across a pause
        {"matches": [r"from (nine|ten)", "CLOSED"]},
        {"means": "hours"},
        {"absent": ["ten", "six from"]},
        {"says": "open", "within_ms": 601},
        {"says": "closed", "within_ms": 2601},
        {"matches": "closed", "within_ms": 2601},
        {"absent": "ten", "within_ms": 601},
    ],
)
def test_what_is_as_expected(expected: dict[str, Any]) -> None:
    assert judged(answered(HOURS, CLOSED), **expected) == []


@pytest.mark.parametrize(
    ("expected", "failure"),
    [
        ({"says": "open from ten"}, '"open from ten" was not heard: heard was "We are open'),
        ({"says": "pen from nine"}, "was not heard"),
        ({"says": ["six", "nine"]}, '"nine" was heard too early'),
        ({"matches": "^nine"}, '"^nine" matches nothing'),
        ({"means": "goodbye"}, "goodbye was not meant, but hours"),
        ({"absent": "closed"}, '"closed" was heard'),
        ({"says": "open", "within_ms": 599}, "it came after 600 ms, not within 599 ms"),
        ({"says": "closed", "within_ms": 2599}, "it came after 2600 ms"),
        ({"matches": "closed", "within_ms": 2599}, "it came after 2600 ms"),
        ({"absent": "ten", "within_ms": 599}, "it came after 600 ms"),
    ],
)
def test_what_is_not(expected: dict[str, Any], failure: str) -> None:
    (found,) = judged(answered(HOURS, CLOSED), **expected)
    assert failure in found


def test_silence_is_no_answer() -> None:
    (said,) = judged(answered(), says="open")
    assert said == '"open" was not heard: nothing was'
    assert judged(answered(), absent="open") == ["the agent said nothing"]
    assert judged(answered(), within_ms=900) == ["nothing of it within 900 ms"]


def test_words_that_are_not_known_are_no_words() -> None:
    unknown = answered(HOURS, None)
    for expected in ({"says": "open"}, {"absent": "ten"}, {"means": "hours"}):
        assert judged(unknown, **expected) == ["what was heard is not known in words"]
    assert judged(unknown, within_ms=900) == []


@pytest.mark.parametrize(
    "called",
    [
        "book_table",
        {"function": "book_table", "arguments": {"people": 2}},
        {"function": "book_table", "exactly": {"people": 2, "day": "friday"}},
        ["book_table", "order_status"],
    ],
)
def test_functions_that_were_called(called: Any) -> None:
    status = SeenFunctionCall(3.0, "order_status", {})
    assert judged(answered(HOURS, functions=(BOOKED, status)), called=called) == []


@pytest.mark.parametrize(
    ("called", "failure"),
    [
        (
            "order_status",
            "order_status was not called; called was book_table(day='friday', people=2)",
        ),
        ({"function": "book_table", "arguments": {"people": "2"}}, "book_table(people='2', …)"),
        ({"function": "book_table", "arguments": {"time": "19:00"}}, "was not called"),
        ({"function": "book_table", "exactly": {"people": 2}}, "book_table(people=2) was not"),
        (["book_table", "book_table"], "was not called"),
    ],
)
def test_functions_that_were_not(called: Any, failure: str) -> None:
    (found,) = judged(answered(HOURS, functions=(BOOKED,)), called=called)
    assert failure in found


def test_functions_that_must_not_be_called() -> None:
    telephone = answered(HOURS, functions=(BOOKED,))
    assert judged(telephone, not_called="order_status") == []
    assert "book_table was called" in judged(telephone, not_called=["a", "book_table"])[0]


def test_a_function_belongs_to_the_turn_in_which_it_was_called() -> None:
    early = SeenFunctionCall(0.2, "early", {})  # while the caller still spoke: it is about that
    before = SeenFunctionCall(0.05, "before", {})
    telephone = answered(HOURS, functions=(before, early))
    assert judged(telephone, called="early", not_called="before") == []


def test_an_interruption_is_measured_at_the_ear() -> None:
    telephone = Telephone(
        *steps({"barge_in": {"after_ms": 500, "say": "question"}}), hearing=Words(HOURS, CLOSED)
    )
    telephone.run([(1.0, 1.75), (2.9, 3.5)], 4.0)
    assert judged(telephone, says="closed", interrupted_within_ms=131) == []
    (late,) = judged(telephone, interrupted_within_ms=129)
    assert late == "the agent was silent 130 ms after the caller's first sound, not 129 ms"
    (spoke,) = judged(telephone, says="open")
    assert "not heard" in spoke  # that was before the interruption


def test_an_agent_that_goes_on_speaking_was_not_interrupted() -> None:
    telephone = Telephone(*steps({"barge_in": {"after_ms": 500, "say": "question"}}))
    telephone.run([(1.0, 3.9)], 4.0)
    (late,) = judged(telephone, interrupted_within_ms=1000)
    assert "silent 2280 ms after" in late


def test_nobody_to_interrupt() -> None:
    telephone = answered(HOURS)
    assert judged(telephone, interrupted_within_ms=100) == [
        "the agent was not speaking when the caller barged in"
    ]


# --- The whole call ---


def report(telephone: Telephone, *, until: float = 6.0) -> CallReport:
    made = CallReport("AC", "CA", telephone.caller, answered_at=0.0, ended_at=until)
    made.ending = "caller_hung_up"
    return made


def judged_whole(
    telephone: Telephone, server: ServersEnding | None = None, **expected: Any
) -> list[str]:
    return Judge(meant).call(ExpectCall.model_validate(expected), report(telephone), server)


@pytest.mark.parametrize(
    ("expected", "failure"),
    [
        ({"says": ["open", "closed"]}, None),
        ({"absent": "closed"}, "was heard"),
        ({"called": "book_table"}, None),
        ({"not_called": "book_table"}, "book_table was called"),
        ({"ending": "caller_hung_up"}, None),
        ({"ending": "hangup_verb"}, "the call ended as caller_hung_up, not hangup_verb"),
        ({"ending": {"slug": "agent_lost", "doing": "agent"}}, None),
        ({"ending": "time_limit"}, "the call ended as agent_lost, not time_limit"),
        ({"ending": {"slug": "agent_lost", "doing": "caller"}}, "doing of agent, not caller"),
        ({"duration_s": {"at_most": 6}}, None),
        ({"duration_s": {"at_least": 6.1}}, "lasted 6.0 s, not at least 6.1 s"),
        ({"duration_s": {"at_least": 1, "at_most": 5}}, "lasted 6.0 s, not 1 to 5 s"),
        ({"turns": 1}, None),
        ({"turns": 2}, "the agent spoke 1 times, not 2"),
    ],
)
def test_the_whole_call(expected: dict[str, Any], failure: str | None) -> None:
    telephone = answered(HOURS, CLOSED, functions=(BOOKED,))
    found = judged_whole(telephone, ServersEnding("agent_lost", "agent"), **expected)
    if failure is None:
        assert found == []
    else:
        assert failure in found[0]


OFF = SeenFunctionCall(2.0, "look", {}, called_off=True)
OFF_AND_ANSWERED = SeenFunctionCall(2.0, "look", {}, called_off=True, answered=True)


@pytest.mark.parametrize(
    ("function", "expected", "failure"),
    [
        (OFF, {"called_off": "look", "not_called": "look"}, None),
        (OFF, {"called": "look"}, "look was not called"),
        (OFF_AND_ANSWERED, {"called_off": "look"}, "called off, and answered all the same"),
        (BOOKED, {"called_off": "book_table"}, "book_table was not called off"),
    ],
)
def test_functions_that_are_called_off(
    function: SeenFunctionCall, expected: dict[str, Any], failure: str | None
) -> None:
    found = judged_whole(answered(HOURS, functions=(function,)), **expected)
    assert (found == []) if failure is None else (failure in found[0])


@pytest.mark.parametrize(
    ("ending", "asked", "by"),
    [
        ("ended_by_rest", [True], "rest"),
        ("ended_by_rest", [True, False], None),
        ("ended_by_rest", [True, True], None),
        ("caller_hung_up", [False], None),
        ("hangup_verb", [], "twiml"),
        ("hangup_verb", [False], None),
        ("caller_hung_up", [], None),
    ],
)
def test_who_hung_up_and_how_often(ending: Any, asked: list[bool], by: str | None) -> None:
    made = report(answered(HOURS))
    made.ending = ending
    ledger = NetworkLedger(hang_ups=[EndRequest(made.call_sid, 1.0, one) for one in asked])
    ledger.hang_ups.append(EndRequest("CA another", 1.0, in_time=True))
    right = []
    for way in ("rest", "twiml"):
        expected = ExpectCall.model_validate({"hung_up_by": way})
        if not Judge().call(expected, made, None, ledger):
            right.append(way)
    assert right == ([by] if by else [])


def test_who_is_rung_in_which_order() -> None:
    made = report(answered(HOURS))
    ledger = NetworkLedger(
        rung=[Rung("CA1", to, "+1", 1.0, "dial", 5) for to in ("+1202", "+1203")]
    )

    def wrong(*numbers: str) -> list[str]:
        return Judge().call(ExpectCall(rung=numbers), made, None, ledger)

    assert wrong("+1202", "+1203") == []
    assert wrong("+1203", "+1202") == ["rung was +1202, +1203, not +1203, +1202"]
    assert wrong() == ["rung was +1202, +1203, not nobody"]


def test_a_telephone_that_rings_is_heard() -> None:
    telephone = Telephone(*steps({"say": "question"}, {"press": "1"}))
    telephone.run([(1.0, 2.0), (5.0, 5.5)], 6.0)
    made = report(telephone)
    made.line += [LineSpan("stream", 0.0, 6.0), LineSpan("ringing", 2.2, 4.0)]
    assert longest_silence(made) == (near(1.0), near(4.0))


def test_a_server_that_says_nothing_of_the_ending() -> None:
    (found,) = judged_whole(answered(HOURS), ending="agent_lost")
    assert found == "the server has not said how the call ended"


def test_dead_air_is_time_in_which_nobody_is_heard() -> None:
    telephone = Telephone(*steps({"say": "question"}, {"press": "1"}))
    telephone.run([(1.0, 2.0), (5.0, 5.5)], 6.0)
    # The key is pressed at 0.6 s, when the recording is over.
    assert longest_silence(report(telephone)) == (near(3.0), near(2.0))
    assert judged_whole(telephone, dead_air_ms=3001) == []
    (found,) = judged_whole(telephone, dead_air_ms=2999)
    assert found == "nobody was heard for 3000 ms from 2.0 s on, not 2999 ms at most"


def test_a_caller_who_means_to_be_silent_makes_no_dead_air() -> None:
    telephone = Telephone(*steps({"say": "question"}, {"stay_silent": 4}))
    telephone.run([(4.8, 5.5)], 6.0)
    assert longest_silence(report(telephone))[0] < 0.6


@pytest.mark.parametrize(("until", "missed"), [(0.3, 0), (0.8, 1), (2.9, 3), (3.3, 3), (4.5, None)])
def test_what_a_call_was_too_short_for(until: float, missed: int | None) -> None:
    given = steps(
        {"say": "question"},  # until 0.6 s
        {"press": "1"},  # until 0.8 s
        "wait_for_agent",  # until 2.6 s
        {"say": "odd"},  # until 2.64 s
        {"wait": 1},
        "hang_up",
    )
    if missed == 3:
        given[3] = ScenarioStep(say="question")  # until 3.2 s
        until = min(until, 3.1)
    telephone = Telephone(*given)
    telephone.run([(1.0, 2.0)], until)
    assert unreached(given, telephone.caller) == missed


def test_an_expectation_that_the_call_was_over_for_is_judged_if_it_had_begun() -> None:
    given = steps({"say": "question"}, {"expect": "open"}, {"expect": "closed"}, "hang_up")
    telephone = Telephone(*given, hearing=Words(HOURS))
    telephone.run([(1.0, 2.0)], 2.1)
    assert unreached(given, telephone.caller) == 2
    assert list(telephone.caller.expected) == [1]
