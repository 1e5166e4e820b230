"""What sentences are taken for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.front_desk import DESK

from offhook.testing.simulator.dialogue.matcher import MARGIN, NEAR, Matcher, Meaning
from offhook.testing.simulator.dialogue.slots import builtin


@pytest.mark.parametrize(
    ("text", "intent", "slots"),
    [
        ("What are your opening hours?", "hours", {}),
        ("what time do you open on sundays", "hours_on", {"day": "sunday"}),
        ("tell me your hours on friday", "hours_on", {"day": "friday"}),
        ("book a table for two at eight on friday", "book",
         {"people": 2, "time": "20:00", "day": "friday"}),
        ("Can I book a table for Friday at 7 p.m.?", "book", {"day": "friday", "time": "19:00"}),
        ("a table for four tomorrow at half past six please", "book",
         {"people": 4, "day": "tomorrow", "time": "18:30"}),
        ("could you book a table for me", "book", {}),
        ("for four", "details", {"people": 4}),
        ("at four", "details", {"time": "16:00"}),
        ("no, for three people", "details", {"people": 3}),
        ("friday", "details", {"day": "friday"}),
        ("four two one seven", "number", {"digits": "4217"}),
        ("is order 4217 ready", "order", {"digits": "4217"}),
        ("one more thing", "more", {}),
        ("okay thanks goodbye", "goodbye", {}),
        ("no thanks", "no", {}),
    ],
)  # fmt: skip
def test_paraphrases_are_understood(text: str, intent: str, slots: dict[str, object]) -> None:
    meaning = DESK.meaning(text)
    assert (meaning.intent, dict(meaning.slots)) == (intent, slots)
    assert NEAR <= meaning.score <= 1


@pytest.mark.parametrize(
    "text",
    [
        "what is the capital of france", "i want to buy a car", "my dog ate my homework",
        "where is the train station", "how much is the fish", "who won the game last night",
        "do you have vegetarian food", "tell me a joke", "is there parking near you",
        "what is the weather like in paris", "please book me a flight to london", "", "?!",
    ],
)  # fmt: skip
def test_what_is_off_the_topic_means_nothing(text: str) -> None:
    assert DESK.meaning(text).intent is None


def test_every_phrase_of_the_front_desk_means_its_intent() -> None:
    wrong = [
        (intent, phrase.text, DESK.meaning(phrase.text).intent)
        for intent, phrases in DESK.content.intents.items()
        for phrase in _sampled(phrases)
        if DESK.meaning(phrase.text).intent != intent
    ]
    assert wrong == []


def _sampled(phrases: list[str]):  # type: ignore[no-untyped-def]
    from offhook.testing.simulator.dialogue.sampling import caller_phrases

    for phrase in phrases:
        yield from list(caller_phrases(phrase, DESK.kinds, None))[::40]


def test_a_bare_number_is_what_was_asked_for() -> None:
    assert DESK.meaning("seven", ["time"]).slots == {"time": "19:00"}
    assert DESK.meaning("seven", ["people"]).slots == {"people": 7}
    assert DESK.meaning("um seven please", ["time"]).slots == {"time": "19:00"}


def test_two_intents_that_are_equally_near_are_none() -> None:
    matcher = Matcher({"left": ["go left now"], "right": ["go right now"]})
    meaning = matcher.meaning("go now")
    assert meaning.intent is None
    assert meaning.score > 0
    assert matcher.meaning("go left").intent == "left"


def test_values_are_found_even_where_the_intent_is_not() -> None:
    meaning = DESK.meaning("the big party wants it all on friday with balloons")
    assert meaning.intent is None
    assert meaning.slots["day"] == "friday"


@pytest.mark.parametrize(
    ("text", "intent", "slots"),
    [
        ("Hi there, I was wondering how late you stay open.", "hours", {}),
        ("My wife wants to know if you are open on Saturday.", "hours_on", {"day": "saturday"}),
        ("Could we come for dinner on Saturday, there will be six of us?", "book",
         {"day": "saturday", "people": 6}),
        ("Could you see if order four two one seven is finished?", "order", {"digits": "4217"}),
        ("I do not want to talk to a machine.", "person", {}),
        ("I want to cancel my reservation", "person", {}),
        ("No, that's not correct.", "no", {}),
    ],
)  # fmt: skip
def test_free_wording_is_understood_by_its_keywords(
    text: str, intent: str, slots: dict[str, object]
) -> None:
    meaning = DESK.meaning(text)
    assert (meaning.intent, dict(meaning.slots)) == (intent, slots)


def test_of_keywords_the_most_words_count_then_the_first_and_phrases_before_both() -> None:
    matcher = Matcher(
        {"left": ["go left now"], "right": ["go right now"], "far": ["far away $day"]},
        builtin(),
        {"left": ["way"], "right": ["way"], "far": ["way $day"]},
    )
    assert matcher.meaning("which way should somebody take").intent == "left"
    assert matcher.meaning("which way should somebody take on friday").intent == "far"
    assert matcher.meaning("go right now").intent == "right"
    assert matcher.meaning("whichever").intent is None


def test_no_phrases_mean_nothing() -> None:
    assert Matcher({}).meaning("hello") == Meaning(None)
    assert Matcher({}, builtin()).meaning("").slots == {}


@given(st.text(max_size=400))
def test_any_text_has_a_meaning_in_bounds(text: str) -> None:
    meaning = DESK.meaning(text)
    assert 0 <= meaning.score <= 1
    by_keyword = meaning.intent in DESK.content.keywords  # of any score
    assert meaning.intent is None or by_keyword or meaning.score >= NEAR


WORDS = sorted({w for p in DESK.content.intents.values() for phrase in p for w in phrase.split()})


@given(st.lists(st.sampled_from([*WORDS, "seven", "two", "friday", "oh", "half"]), max_size=80))
def test_any_words_of_the_domain_are_judged_in_time(chosen: list[str]) -> None:
    meaning = DESK.meaning(" ".join(chosen))
    assert meaning.intent is None or meaning.intent in DESK.content.intents


def test_the_margin_is_less_than_the_threshold() -> None:
    assert 0 < MARGIN < NEAR < 1
