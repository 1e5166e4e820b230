"""What cannot come true, and what cannot be seen, is said before any call."""

from pathlib import Path

import pytest

from offhook import yamlfile
from offhook.testing.scenarios import validation
from offhook.testing.scenarios.scenario import Loaded, Scenario
from offhook.testing.scenarios.validation import Sight
from offhook.testing.scenarios.word_matching import AgentVocabulary
from offhook.testing.simulator.dialogue.file import Dialogue
from offhook.yamlfile import InvalidFileError

PATH = Path("a.yaml")
ALL = Sight("from the wire", words=True, inside=True)
BY_SPEECH = Sight("by speech", words=True, inside=False)
NOTHING = Sight("no reason", words=False, inside=False)
DIALOGUE = """\
intents:
  book: [book a table]
  "yes": ["yes"]
  "no": ["no"]
replies: {thanks: Thank you for calling.}
functions: {book_table: {example: {table: 4}}}
states:
  booking:
    needs: {people: For how many people?}
    confirm: Is that right?
    call: book_table
    then: {say: ["Your table is number {table}.", thanks]}
anywhere:
  book: {to: booking}
  "yes": thanks
  "no": thanks
slots: {}
"""


@pytest.fixture
def known() -> AgentVocabulary:
    text = DIALOGUE.replace('"yes": ["yes"]', 'number: [for $people]\n  "yes": ["yes"]')
    return AgentVocabulary(Dialogue(yamlfile.parse(text, Path("d.yaml"))), ["Are you still there?"])


def check(text: str, known: AgentVocabulary | None, sight: Sight = ALL) -> None:
    document = yamlfile.parse(text, PATH)
    validation.check(Loaded(yamlfile.validate(Scenario, document), document), known, sight)


@pytest.mark.parametrize(
    "text",
    [
        "steps: [wait_for_agent, {say: x}, {expect: how many people}, hang_up]",
        # The greeting is the server's: any words will do until the caller has spoken.
        "steps: [{expect: Good afternoon at Corner Table}, hang_up]",
        "steps: [{say: x}, {expect: still there}, hang_up]",
        "steps: [{say: x}, {expect: Your table is number four}, hang_up]",
        "steps: [{say: x}, {expect: {means: [thanks, book]}}, hang_up]",
        "steps: [{barge_in: {after: thank you, say: x}}, {expect: {interrupted_within_ms: 9}}]",
        "steps: [{barge_in: {after_ms: 9, say: x}}, {wait: 1}, {barge_in: {after_ms: 9, say: x}}]",
        "steps: [{say: x}, {expect: {called: book_table, absent: sorry}}, hang_up]",
        "steps: [{stay_silent: 9}, hang_up]\nexpect: {ending: caller_hung_up, duration_s: 9}",
    ],
)
def test_what_is_possible(text: str, known: AgentVocabulary) -> None:
    check(text, known)


@pytest.mark.parametrize(
    ("text", "place", "says", "fix"),
    [
        ("[hang_up, {expect: yes}]", "1:18", "After hang_up", "expect of the whole call"),
        ("[hang_up, {say: x}]", "1:18", "After hang_up", "before hang_up"),
        (
            "[{say: x}, wait_for_agent, {barge_in: {after_ms: 1, say: x}}]",
            "1:35",
            "quiet",
            "Exchange the two",
        ),
        (
            "[{say: x}, {expect: people}, {barge_in: {after: for, say: x}}]",
            "1:37",
            "quiet",
            "Exchange the two",
        ),
        (
            "[{say: x}, {expect: {interrupted_within_ms: 9}}]",
            "1:52",
            "no barge_in",
            "instead of say",
        ),
        ("[{expect: {interrupted_within_ms: 9}}]", "1:42", "no barge_in", "instead of say"),
        ("[{say: x}, {expect: For how many pepole}]", "1:28", '"pepole"', '"people"?'),
        ("[{say: x}, {expect: [Is that, Xylophone]}]", "1:38", '"xylophone"', "Correct the phrase"),
        ("[{say: x}, {barge_in: {after: rihgt, say: x}}]", "1:38", '"rihgt"', '"right"?'),
        ("[{say: x}, {expect: {means: [thank]}}]", "1:37", 'reply "thank"', '"thanks"?'),
        ("[{say: x}, {expect: {called: bok_table}}]", "1:37", '"bok_table"', '"book_table"?'),
        ("[{say: x}, {expect: {not_called: [cancel]}}]", "1:42", '"cancel"', "Known: book_table"),
        ("[{say: x}]\nexpect: {ending: caller_hung_up}", "2:18", "never hangs up", "Add the step"),
        (
            "[{wait: 9}, hang_up]\nexpect: {duration_s: {at_most: 8}}",
            "2:22",
            "9 s",
            "raise duration_s",
        ),
        ("[{stay_silent: 99}]\ntime_limit_s: 60", "1:8", "may last 60 s", "raise time_limit_s"),
        ("[hang_up]\nexpect: {says: unheard}", "2:16", '"unheard"', "Correct the phrase"),
    ],
)
def test_what_is_not(known: AgentVocabulary, text: str, place: str, says: str, fix: str) -> None:
    with pytest.raises(InvalidFileError) as problem:
        check(f"steps: {text}", known)
    assert problem.value.code == "E-SCENARIO-01"
    (finding,) = problem.value.findings
    assert str(finding.place) == f"{PATH}:{place}"
    assert says in finding.text
    assert fix in finding.fix


def test_every_mistake_is_named_in_the_order_of_the_file(known: AgentVocabulary) -> None:
    text = """\
callers:
  ann:
    steps: [{say: x}, {expect: peeple}, hang_up]
    expect: {called: nothing}
  bob: {steps: [hang_up, {say: x}]}
"""
    with pytest.raises(InvalidFileError) as problem:
        check(text, known)
    assert [f.place and f.place.line for f in problem.value.findings] == [3, 4, 5]


def test_meanings_take_a_dialogue() -> None:
    with pytest.raises(InvalidFileError, match="names none"):
        check("steps: [{say: x}, {expect: {means: thanks}}]", None)
    check("steps: [{say: x}, {expect: {says: anything, called: whatever}}]", None)


@pytest.mark.parametrize(
    ("expected", "sight", "says"),
    [
        ("{says: yes}", NOTHING, "cannot be made into words here: no reason"),
        ("{absent: yes}", NOTHING, "cannot be made into words here"),
        ("{matches: yes}", NOTHING, "cannot be made into words here"),
        ("{called: f}", BY_SPEECH, "functions that an agent calls"),
        ("{not_called: f}", BY_SPEECH, "functions that an agent calls"),
    ],
)
def test_what_cannot_be_seen_is_refused(expected: str, sight: Sight, says: str) -> None:
    for text in (
        f"steps: [{{say: x}}, {{expect: {expected}}}, hang_up]",
        f"steps: [{{say: x}}, hang_up]\nexpect: {expected}",
    ):
        check(text, None)
        with pytest.raises(InvalidFileError) as problem:
            check(text, None, sight)
        assert problem.value.code == "E-SCENARIO-02"
        assert says in problem.value.what
        assert "--config" in problem.value.fix


def test_endings_that_only_a_server_knows() -> None:
    for ending in ("agent_lost", "{slug: caller_hung_up, doing: nobody}"):
        text = f"steps: [{{say: x}}, hang_up]\nexpect: {{ending: {ending}}}"
        check(text, None)
        with pytest.raises(InvalidFileError, match="not seen from outside"):
            check(text, None, BY_SPEECH)
    check("steps: [hang_up]\nexpect: {ending: caller_hung_up, turns: 0}", None, NOTHING)


def test_a_phrase_to_barge_in_on_must_be_heard() -> None:
    text = "steps: [{barge_in: {after: hello, say: x}}]"
    check(text, None, BY_SPEECH)
    with pytest.raises(InvalidFileError, match=r"a\.yaml:1:28"):
        check(text, None, NOTHING)
