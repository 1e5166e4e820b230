"""What is taken out of texts, and above all what is not."""

import dataclasses
import json
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.whole_server import ASK, GREET, HANG_UP, HOURS, configured, texts, whole_server

from offhook.config import RedactionSettings
from offhook.events.types import (
    AgentAnnounced,
    AgentSaid,
    AgentTold,
    AgentWarned,
    Answered,
    CallBegan,
    CallEnded,
    CallerSaid,
    CallEvent,
    Dialled,
    DialRefused,
    DoNotCall,
    Event,
    FunctionAnswered,
    FunctionCalled,
    KeyPressed,
    KeysEntered,
    MessageTaken,
    OperatorActed,
    OperatorHandedBack,
    UtteranceRedacted,
)
from offhook.redaction.patterns import merged
from offhook.redaction.redactor import (
    JSON_MAX,
    LEAD_MS,
    TEXT_MAX,
    Redaction,
    Redactor,
    masked,
)
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.text.user_pattern import WORK_MAX, Found, FoundInTexts, UserPattern

EVERYTHING = RedactionSettings(cards=True, phone_numbers=True, emails=True, audio=True)
WORDS = dict(
    enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
)

ORDINARY = [
    "A table for 4 at 7:30 on Friday the 6th, please.",
    "That is $1,234.50, or 1.234,50 euros with 20 percent off.",
    "On 2026-03-06 at 19:30, or on 12/25/2026, or on 31.12.2026 at 08:00.",
    "Between 9:00 and 17:30, from Monday to Friday, 365 days a year.",
    "One, two or three people? Five. Six at most, zero children.",
    "Oh, one moment. Oh, two of them are for nine o'clock.",
    "My order number is 4711, placed in 2025, and the street is 221 Baker Street, NW1 6XE.",
    "It took from 2019 to 2024, and cost 100 000 000 euros.",
    "2026-03-06 19:30:00 and 2026-03-06T19:30:00.123456Z",
    "You find us at example.com, or look at example dot com.",
    "We are at home. It is at ten dot five.",
    "Version 3.11.9, room 1204, row 12, seat 7.",
    "Double the amount, please, and triple checked.",
    "",
]


def luhn(digits: str) -> str:
    """The digit that makes these a card's number."""
    total = sum(
        sum(divmod(int(digit) * (2 if place % 2 == 0 else 1), 10))
        for place, digit in enumerate(reversed(digits))
    )
    return str(-total % 10)


@st.composite
def cards(draw: st.DrawFn) -> str:
    length = draw(st.integers(13, 19))
    begin = draw(st.sampled_from(["4", "51", "55", "2221", "34", "37", "36", "6011", "65"]))
    rest = length - len(begin) - 1
    digits = begin + "".join(
        draw(st.lists(st.sampled_from("0123456789"), min_size=rest, max_size=rest))
    )
    return digits + luhn(digits)


@st.composite
def written(draw: st.DrawFn, digits: str) -> str:
    """Digits in groups of any size, with any usual separator; some of them as words."""
    parts = []
    at = 0
    while at < len(digits):
        size = draw(st.integers(1, 6))
        group = digits[at : at + size]
        if draw(st.booleans()) and draw(st.booleans()):
            group = " ".join(WORDS[int(digit)] for digit in group)
        parts.append(group)
        at += size
    gap = draw(st.sampled_from([" ", "-", " - ", ", ", ".", "\u2013", "\u00a0", ". "]))
    return gap.join(parts)


def left(text: str) -> str:
    """The digits in a text, however they are written."""
    words = {word: str(digit) for digit, word in WORDS.items()}
    tokens = re.findall(r"\d|" + "|".join(words), text.lower())
    return "".join(words.get(token, token) for token in tokens)


@given(st.data())
def test_no_card_is_left_however_it_is_written(data: st.DataObject) -> None:
    card = data.draw(cards())
    before = data.draw(st.sampled_from(["", "My card is ", "Yes: ", "Sure! It's ", "(", "No. "]))
    after = data.draw(st.sampled_from(["", ".", ", thanks.", " and it is for 4 people", ")"]))
    text = before + data.draw(written(card)) + after
    redacted = Redactor(RedactionSettings(cards=True)).text(text)
    assert "[card]" in redacted
    assert card not in left(redacted)
    assert len(left(redacted)) <= 3
    assert redacted.startswith(before)


@given(cards(), st.integers(0, 15), st.integers(1, 9))
def test_a_number_of_which_a_digit_is_wrong_is_no_card(card: str, place: int, by: int) -> None:
    place %= len(card)
    wrong = card[:place] + str((int(card[place]) + by) % 10) + card[place + 1 :]
    assert Redactor(RedactionSettings(cards=True)).text(f"It is {wrong}.") == f"It is {wrong}."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4111 1111 1111 1111, 12 25, 123", "[card], 12 25, 123"),
        ("four one one one one one one one one one one one one one one one", "[card]"),
        ("Four, triple one, double one double one, 1111 1111.", "[card]."),
        ("Amex 3782 822463 10005 ok", "Amex [card] ok"),
        ("\u0664111 1111 1111 111\u0661", "[card]"),
        ("I have 4 cards: 4111-1111-1111-1111 and 5555-5555-5555-4444.",
         "I have 4 cards: [card] and [card]."),
    ],
)  # fmt: skip
def test_cards(text: str, expected: str) -> None:
    assert Redactor(RedactionSettings(cards=True)).text(text) == expected


@pytest.mark.parametrize(
    "number",
    [
        "+12025550142",
        "+1 202 555 0142",
        "+1 (202) 555-0142",
        "(202) 555-0142",
        "202-555-0142",
        "202.555.0142",
        "2025550142",
        "555-0142",
        "020 7946 0018",
        "+49 30 12.34.56",
        "0171/5551234",
        "01 23 45 67 89",
        "0049 30 901820",
        "2 0 2 5 5 5 0 1 4 2",
        "five five five zero one four two",
        "two oh two, five five five, oh one four two",
        "two zero two triple five zero one four two",
    ],
)
def test_phone_numbers(number: str) -> None:
    redactor = Redactor(RedactionSettings(phone_numbers=True))
    for before, after in (("", ""), ("Call me at ", "."), ("At 7:30 it is ", ", for 4 people.")):
        assert redactor.text(before + number + after) == f"{before}[phone number]{after}"


@given(st.integers(1, 9), st.text("0123456789", min_size=6, max_size=14))
def test_every_number_in_international_form_is_found(first: int, rest: str) -> None:
    text = Redactor(RedactionSettings(phone_numbers=True)).text(f"It is +{first}{rest}, thanks.")
    assert text == "It is [phone number], thanks."


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com",
        "Ada.Lovelace+phone@mail.example.co.uk",
        "ada at example dot com",
        "ada dot lovelace at gmail dot com",
        "ada underscore 1815 at mail dot example dot org",
        "a d a at gmail.com",
        "jürgen@müller.de",
    ],
)
def test_addresses(address: str) -> None:
    redactor = Redactor(RedactionSettings(emails=True))
    assert redactor.text(address) == "[email]"
    assert redactor.text(f"Write to: {address}, please.") == "Write to: [email], please."


@pytest.mark.parametrize("text", ORDINARY)
def test_what_is_ordinary_stays(text: str) -> None:
    assert Redactor(EVERYTHING).text(text) == text


@given(st.text(st.characters(exclude_categories=["Nd"]), max_size=300))
def test_texts_without_digits_or_words_for_them_stay(text: str) -> None:
    if not re.search(
        r"zero|oh|one|two|three|four|five|six|seven|eight|nine|\bo\b|@|dot", text, re.IGNORECASE
    ):
        assert Redactor(RedactionSettings(cards=True, phone_numbers=True)).text(text) == text


@given(st.text(max_size=400))
def test_any_text_can_be_looked_at_and_then_has_nothing_more(text: str) -> None:
    redactor = Redactor(EVERYTHING)
    spans = redactor.spans(text)
    assert spans == merged(spans)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    once = redactor.text(text)
    assert redactor.text(once).count("[card]") >= once.count("[card]")


def test_patterns_of_ones_own() -> None:
    wanted = RedactionSettings.model_validate(
        {"patterns": [r"\bCASE-\d+\b", r"(?i)my secret is \w+"]}
    )
    text = "CASE-123 and My secret is tulip; no CASE here"
    assert Redactor(wanted).text(text) == "[redacted] and [redacted]; no CASE here"
    long = "word " * 1500 + "CASE-123 " + "word " * 300
    assert Redactor(wanted).text(long) == long.replace("CASE-123", "[redacted]")


CATASTROPHIC = [
    *("(a+)+$", "(a|aa)+$", "(a|a?)+b!", "(x+x+)+y", "(.*a){12}$", "([a-zA-Z]+)*c"),
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    *("(a?){300}a{300}", "a(?:.{0,300}z)?", "(?:[ab]*a[ab]{500}c)?[ab]", "a.*z|a", r"\w+\d|\w"),
]
"""What makes an engine that backtracks stand still, and what makes others slow."""


@pytest.mark.parametrize("pattern", CATASTROPHIC)
@pytest.mark.parametrize("unit", ["a", "ab", "aaaa ", "b" * 40 + " a"])
def test_no_pattern_stalls_the_calls(pattern: str, unit: str) -> None:
    """Each takes some ms, and Python's own engine hours for some: the bound is far from both."""
    text = (unit * TEXT_MAX)[: TEXT_MAX - 1] + "!"
    redactor = Redactor(RedactionSettings.model_validate({"patterns": [pattern]}))
    began = time.process_time()
    redactor.text(text)
    redactor.json(json.dumps({"a": [text[:9000]] * 6}))
    assert time.process_time() - began < 30


@pytest.mark.parametrize("count", [1, 3, 30])
def test_what_all_patterns_together_do_in_a_text_has_one_bound(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one text as of a JSON with many: counted before each search, as it cannot be stopped."""
    done = 0
    find_in = UserPattern.find_in

    def counted(self: UserPattern, texts: Sequence[str], work_max: int = WORK_MAX) -> FoundInTexts:
        nonlocal done
        found = find_in(self, texts, work_max)
        done += found.work
        return found

    monkeypatch.setattr(UserPattern, "find_in", counted)
    patterns = ["a(?:.{0,300}z)?", "(a?){300}a{300}", r"\w"] * 10
    redactor = Redactor(RedactionSettings.model_validate({"patterns": patterns[:count]}))
    text = "ab " * (TEXT_MAX // 3)
    assert redactor.text(text).endswith("[redacted]")
    assert done <= WORK_MAX
    done = 0
    assert "ab" not in redactor.json(json.dumps({"b": [text[:5000]] * 10}))
    assert 0 < done <= WORK_MAX
    done = 0
    rows = [{f"a{index % 9}": f"{index} ab"} for index in range(1500)]
    assert '"ab"' not in redactor.json(json.dumps([*rows, "ab"]))
    assert 0 < done <= WORK_MAX


def test_a_pattern_that_takes_too_much_leaves_the_others_their_share() -> None:
    patterns = ["a(?:.{0,300}z)?", r"\bCASE-\d+\b", "(a?){300}a{300}"]
    text = "CASE-123 and the rest. " + "a" * 1500
    for tried in (patterns, patterns[::-1]):
        wanted = RedactionSettings.model_validate({"patterns": tried})
        assert "CASE-123" not in Redactor(wanted).text(text)
        assert Found([(0, 8)], UserPattern(r"\bCASE-\d+\b").find(text).work) == UserPattern(
            r"\bCASE-\d+\b"
        ).find(text, WORK_MAX // 3)


def test_ordinary_patterns_reach_no_bound() -> None:
    """Ten of them, in a function's long answer with a hundred finds."""
    patterns = [rf"\b(CASE|ORDER|BILL)-{number}\d{{3,8}}\b" for number in range(10)]
    redactor = Redactor(RedactionSettings.model_validate({"patterns": patterns}))
    text = ("the order BILL-4123 is on its way. " * TEXT_MAX)[:3540]
    assert redactor.text(text).count("[redacted]") == text.count("BILL-4123") == 101


@pytest.mark.parametrize(("count", "rows"), [(1, 500), (3, 500), (10, 300)])
def test_ordinary_patterns_leave_rows_of_short_fields_whole(count: int, rows: int) -> None:
    """Neither a value nor a name is lost to the bound on work, and what is to be found is."""
    patterns = [rf"\b(CASE|ORDER|BILL)-{number}\d{{3,8}}\b" for number in range(count)]
    redactor = Redactor(RedactionSettings.model_validate({"patterns": patterns}))
    answer: list[dict[str, object]] = [
        {"slot": f"mon {row}", "doctor": f"Dr {row:x}", "room": "blue", "free": True, "at": row}
        for row in range(rows)
    ]
    text = json.dumps(answer)
    assert redactor.json(text) == text
    answer[-1]["doctor"] = "ask for BILL-0123"
    redacted = json.loads(redactor.json(json.dumps(answer)))
    assert redacted == [*answer[:-1], {**answer[-1], "doctor": "ask for [redacted]"}]


def test_names_that_are_too_much_work_take_all_with_them() -> None:
    """None is kept without a search, and none becomes one with another one."""
    wanted = RedactionSettings.model_validate({"patterns": ["(a?){300}a{300}"] * 3})
    names = {f"name {index} of many": "b" for index in range(600)}
    assert Redactor(wanted).json(json.dumps(names)) == '"[redacted]"'


JOINED = [
    *(r"^\d+$", r"\bCASE\b", r"^a|b$", r"\Aa", r"a\z", r"(?-m:^a)", r"[^x]{2,5}", r"(?s)a.*b"),
    *(r"\s\d", r"\w+\B", r"^|a+", r"(?m)^b", r"\b|a", "(?i)CASE$"),
]
"""Patterns that see the ends of a text, and such as would go on into the next one."""


@given(
    st.lists(st.text(alphabet="ab1 x\n-é\ud800") | st.sampled_from(["CASE", "12", "case 1"])),
    st.sampled_from(JOINED),
)
def test_texts_together_are_searched_as_each_alone(texts: list[str], pattern: str) -> None:
    searched = UserPattern(pattern)
    assert searched.find_in(texts).spans == [searched.find(text).spans for text in texts]


def test_what_takes_too_long_is_taken_out() -> None:
    wanted = RedactionSettings.model_validate({"patterns": ["a(?:.{0,100}z)?"]})
    text = "secret z " * 2 + "a" * 9000 + " the rest"
    redacted = Redactor(wanted).text(text)
    assert redacted.startswith("secret z secret z [redacted]")
    assert redacted.endswith("[redacted]")
    assert "rest" not in redacted


@given(
    st.text(),
    st.sampled_from([r"\d+", "[^a]", r"\bCASE\b", "(?i)é", "日+", r"(foo|ba+r)", r"\PL"]),
)
def test_what_is_found_is_where_it_is(text: str, pattern: str) -> None:
    """Also behind letters of several bytes, and halves of characters."""
    spans = UserPattern(pattern).find(text).spans
    assert spans == sorted(spans)
    for start, end in spans:
        assert 0 <= start < end <= len(text)
        if pattern == r"\d+":
            assert text[start:end].isascii()
            assert text[start:end].isdigit()
        if pattern == "[^a]":
            assert "a" not in text[start:end]
    if pattern == "[^a]":
        assert len(spans) == sum(letter != "a" for letter in text)


def test_half_a_character_hides_nothing() -> None:
    redactor = Redactor(RedactionSettings.model_validate({"patterns": [r"CASE-\d+"]}))
    assert redactor.text("\ud800 CASE-123 \udfff") == "\ud800 [redacted] \udfff"
    assert json.loads(redactor.json('["\\ud800 CASE-1"]')) == ["\ud800 [redacted]"]


def test_of_a_long_text_nothing_is_left_that_was_not_looked_at() -> None:
    card = "4111 1111 1111 1111"
    text = "x " * (TEXT_MAX // 2 - 4) + card + " y" * TEXT_MAX + card
    redacted = Redactor(EVERYTHING).text(text)
    assert redacted.endswith("[redacted]")
    assert "1" not in redacted
    assert len(redacted) < TEXT_MAX


@pytest.mark.parametrize(
    "text",
    [
        "1 " * (TEXT_MAX // 2),
        "1" * TEXT_MAX,
        "4, " * (TEXT_MAX // 3),
        "one " * (TEXT_MAX // 4),
        "double " * (TEXT_MAX // 7),
        "a" * TEXT_MAX,
        "a@" * (TEXT_MAX // 2),
        "a." * (TEXT_MAX // 2) + "@",
        "a " * (TEXT_MAX // 2) + "at b dot com",
        "at a.a.a.a.a " * (TEXT_MAX // 13),
        "x dot " * (TEXT_MAX // 6) + "at gmail dot com",
        "$1 " * (TEXT_MAX // 3),
        "12-12-" * (TEXT_MAX // 6),
        "+(" * (TEXT_MAX // 2),
        " " * TEXT_MAX,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """A hundred times of what these take; a pattern that backtracks takes hours."""
    began = time.process_time()
    Redactor(EVERYTHING).text(text)
    assert time.process_time() - began < 5


# --- JSON --------------------------------------------------------------------------------------


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | cards(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=12,
)


@given(JSON)
def test_json_stays_json_and_what_has_nothing_in_it_stays_as_it_was(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False)):
        redacted = Redactor(EVERYTHING).json(text)
        json.loads(redacted)
        if "[" not in redacted.replace("[redacted]", "") or redacted == text:
            continue
        assert "[card]" in redacted or "[phone number]" in redacted or "[email]" in redacted


@given(cards())
def test_cards_in_json_are_found_wherever_they_are(card: str) -> None:
    for value in ({"card": card}, {card: 1}, [int(card)], {"a": [{"b": f"it is {card}"}]}):
        redacted = Redactor(RedactionSettings(cards=True)).json(json.dumps(value))
        json.loads(redacted)
        assert "[card]" in redacted
        assert card not in redacted
    escaped = '{"card": "' + "".join(f"\\u{ord(digit):04x}" for digit in card) + '"}'
    assert json.loads(Redactor(RedactionSettings(cards=True)).json(escaped)) == {"card": "[card]"}


def test_what_is_no_json_is_text() -> None:
    redactor = Redactor(RedactionSettings(cards=True))
    assert redactor.json('{"card": 4111111111111111') == '{"card": [card]'
    assert redactor.json("[" * 20_000).startswith("[")
    assert redactor.json("It is 4111 1111 1111 1111.") == "It is [card]."
    assert redactor.json("x" * (JSON_MAX + 1)) == '"[redacted]"'


# --- a call ------------------------------------------------------------------------------------


class Told:
    """What comes out of a redaction."""

    def __init__(self, wanted: RedactionSettings = EVERYTHING) -> None:
        self.redaction = Redaction(wanted)
        self.happened: list[CallEvent] = []

    def tell(self, event: Event, at_ms: int = 0, call_sid: str = "CA1") -> list[Event]:
        """What comes out for it."""
        happened = self.redaction.redacted(CallEvent(call_sid, at_ms, event))
        assert all((h.call_sid, h.at_ms) == (call_sid, at_ms) for h in happened)
        self.happened += happened
        return [h.event for h in happened]


CARD = "4111 1111 1111 1111"


def test_without_a_wish_nothing_lies_between() -> None:
    assert not RedactionSettings().takes_any
    assert not RedactionSettings(audio=True).takes_any
    assert RedactionSettings(emails=True).takes_any


def test_what_is_private_in_events_is_redacted() -> None:
    told = Told()
    assert told.tell(FunctionCalled("1", "pay", f'{{"card": "{CARD}"}}', "signature")) == [
        FunctionCalled("1", "pay", '{"card": "[card]"}')
    ]
    assert told.tell(FunctionAnswered("1", "pay", "answered", f"paid with {CARD}", 5)) == [
        FunctionAnswered("1", "pay", "answered", "paid with [card]", 5)
    ]
    assert told.tell(AgentWarned("X", f"bad: {CARD}", fatal=False)) == [
        AgentWarned("X", "bad: [card]", fatal=False)
    ]
    assert told.tell(CallEnded("agent", "agent_lost", "lost", f"{CARD}!", 5)) == [
        CallEnded("agent", "agent_lost", "lost", "[card]!", 5)
    ]
    assert told.tell(MessageTaken("Ada", "+12025550142", f"Card {CARD}")) == [
        MessageTaken("Ada", "[phone number]", "Card [card]")
    ]
    assert told.tell(Dialled("transfer", "desk", "+12025550143")) == [
        Dialled("transfer", "desk", "+12*******43")
    ]
    assert told.tell(DialRefused("text", "country", "+18095551234")) == [
        DialRefused("text", "country", "+18*******34")
    ]
    assert told.tell(DoNotCall("+12025550142")) == [DoNotCall("+12025550142")], "or it is no use"
    assert told.tell(Answered(1, 2)) == [Answered(1, 2)]


def test_numbers_of_the_call_itself_are_masked_when_that_is_wanted() -> None:
    variables = json.dumps({"caller": "+12025550142", "mail": "ada@example.com", "name": "Ada"})
    began = CallBegan(
        "AC1", "desk", "standard", "inbound", "webhook", "+12025550142", "+12025550100", variables
    )
    (kept,) = Told().tell(began)
    assert isinstance(kept, CallBegan)
    assert (kept.from_, kept.to) == (began.from_, began.to)
    assert json.loads(kept.variables) == {
        "caller": "[phone number]",
        "mail": "[email]",
        "name": "Ada",
    }
    (own,) = Told(RedactionSettings(caller_id=True)).tell(began)
    assert isinstance(own, CallBegan)
    assert (own.from_, own.to) == ("+12*******42", "+12*******00")
    assert json.loads(own.variables)["caller"] == "+12*******42"
    assert masked("") == ""


def test_an_utterance_with_something_in_it_tells_its_stretch() -> None:
    told = Told()
    assert told.tell(CallerSaid("Hello", 500), 1000) == [CallerSaid("Hello", 500)]
    assert told.tell(CallerSaid(f"It is {CARD}", 5000), 9000) == [
        CallerSaid("It is [card]", 5000),
        UtteranceRedacted("caller", 5000 - LEAD_MS, 9000),
    ]
    assert told.tell(CallerSaid(CARD, None), 12_000)[1] == UtteranceRedacted("caller", 9000, 12_000)
    assert told.tell(CallerSaid(CARD, 12_100), 13_000)[1] == UtteranceRedacted(
        "caller", 12_000, 13_000
    )
    said = AgentSaid(f"So {CARD}.", f"So {CARD}.", 3000, False, 14_000)
    assert told.tell(said, 17_000) == [
        AgentSaid("So [card].", "So [card].", 3000, False, 14_000),
        UtteranceRedacted("agent", 14_000, 17_000),
    ]
    unheard = AgentSaid("", CARD, 0, True, None)
    assert told.tell(unheard, 18_000) == [AgentSaid("", "[card]", 0, True, None)]


def test_audio_is_left_alone_unless_it_is_wanted() -> None:
    told = Told(RedactionSettings(cards=True))
    assert told.tell(CallerSaid(CARD, 0), 900) == [CallerSaid("[card]", 0)]


@pytest.mark.parametrize(("heard", "expected"), [
    ("Your card is 4111 1111 11", "Your card is [card]"),
    ("Your card is", "Your card is"),
    ("Your", "Your"),
    ("", ""),
])  # fmt: skip
def test_of_a_cut_utterance_half_a_card_is_no_longer_there(heard: str, expected: str) -> None:
    intended = f"Your card  is {CARD}, right?"
    (said, *_) = Told().tell(AgentSaid(heard, intended, 900, True, 100), 1000)
    assert said == AgentSaid(expected, "Your card  is [card], right?", 900, True, 100)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (["4111 1111", "1111 1111"], ["4111 1111", "[card]"]),
        (["It's 4111 1111.", "And 1111 1111, okay?"], ["It's 4111 1111.", "And [card], okay?"]),
        (["4111", "1111", "1111", "1111"], ["4111", "1111", "[card]", "[card]"]),
        (["4111 1111", "I mean", "1111 1111"], ["4111 1111", "I mean", "1111 1111"]),
        (["four one one one one one one one", "1111 1111 1225"],
         ["four one one one one one one one", "[card] 1225"]),
        (["For 4", "at 7 30 please", "12 people"], ["For 4", "at 7 30 please", "12 people"]),
        (["202 555", "0142"], ["202 555", "0142"]),
    ],
)  # fmt: skip
def test_a_card_in_several_utterances(said: list[str], kept: list[str]) -> None:
    told = Told(RedactionSettings(cards=True, audio=True))
    for number, text in enumerate(said):
        told.tell(CallerSaid(text, number * 1000), number * 1000 + 900)
        told.tell(AgentSaid("Mhm.", "Mhm.", 50, False, number * 1000 + 950), number * 1000 + 999)
        told.tell(CallerSaid("5555 5555", None), number * 1000 + 999, call_sid=f"CA-other-{number}")
    texts = [
        h.event.text
        for h in told.happened
        if isinstance(h.event, CallerSaid) and h.call_sid == "CA1"
    ]
    assert texts == kept
    silent = [h.event for h in told.happened if isinstance(h.event, UtteranceRedacted)]
    assert (0 in {each.start_ms for each in silent}) == ("[card]" in " ".join(kept))


def test_pressed_digits_are_not_kept_with_cards() -> None:
    told = Told(RedactionSettings(cards=True, audio=True))
    assert told.tell(KeyPressed("4"), 3000) == [
        KeyPressed("?"),
        UtteranceRedacted("caller", 2000, 3000),
    ]
    assert told.tell(KeyPressed("#"), 3100) == [KeyPressed("#")]
    assert Told(RedactionSettings(emails=True)).tell(KeyPressed("4")) == [KeyPressed("4")]
    assert told.tell(KeysEntered("4*2"), 5000) == [KeysEntered("?*?")]
    assert Told(RedactionSettings(emails=True)).tell(KeysEntered("42")) == [KeysEntered("42")]


def test_what_an_agent_is_told_is_redacted_too() -> None:
    told = Told(RedactionSettings(emails=True))
    assert told.tell(OperatorActed("Ann", "say", "refused", "Write to ada@example.com.")) == [
        OperatorActed("Ann", "say", "refused", "Write to [email].")
    ]
    assert told.tell(OperatorHandedBack("Ann", "Write to ada@example.com.", 9, "asked")) == [
        OperatorHandedBack("Ann", "Write to [email].", 9, "asked")
    ]
    assert told.tell(AgentTold("(Write to ada@example.com.)")) == [AgentTold("(Write to [email].)")]


async def test_everybody_but_the_watchers_is_told_what_is_left() -> None:
    made = configured("ws://127.0.0.1:1/")
    wanted = RedactionSettings.model_validate({"cards": True, "patterns": ["(?i)opening hours"]})
    records = made.records.model_copy(update={"redact": wanted})
    made = dataclasses.replace(made, records=records)
    watched: list[CallEvent] = []
    async with whole_server(config=made, watchers=[watched.append]) as h:
        await h.call(GREET, ASK, GREET, ScenarioStep(press="4"), HANG_UP)
        assert texts(h.events(), CallerSaid) == ["What are your [redacted]?"]
        assert texts([w.event for w in watched], CallerSaid) == [HOURS]
        assert [e.digit for e in h.events() if isinstance(e, KeyPressed)] == ["?"]
        assert [w.at_ms for w in watched] == [told.at_ms for told in h.happened]


def test_nothing_is_remembered_of_a_call_that_is_over() -> None:
    told = Told()
    told.tell(CallerSaid("4111 1111", 0), 900)
    told.tell(CallEnded("nobody", "caller_hung_up", "the caller hung up", "", 900), 900)
    assert told.redaction._speakers == {}
    assert told.tell(CallerSaid("1111 1111", 0), 900) == [CallerSaid("1111 1111", 0)]


def test_an_announced_piece_keeps_no_digit_whose_number_may_go_on() -> None:
    told = Told(RedactionSettings(cards=True))
    assert told.tell(AgentAnnounced(1, "Your card is 4242 4242.")) == [
        AgentAnnounced(1, "Your card is ???? ????."),
    ]
    assert told.tell(AgentAnnounced(1, "4242 4242. Is that right?"), 5) == [
        AgentAnnounced(1, "???? ????. Is that right?"),
    ]
