"""Values and the words for them, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.testing.simulator.dialogue.slots import (
    ChoiceSlot,
    DaySlot,
    DigitsSlot,
    PeopleSlot,
    SlotKind,
    TimeSlot,
    builtin,
    spoken,
    spoken_samples,
)
from offhook.testing.simulator.dialogue.words import words

DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
BEGINS = st.integers(0, 23).map(lambda hour: f"{hour:02}:00")


def said(kind: SlotKind, value: str | int) -> tuple[str | int, str]:
    """What comes back of a value that is said, and what is left of the words."""
    tokens = words(kind.say(value))
    parsed = kind.parse(tokens, 0)
    assert parsed is not None
    return parsed[0], " ".join(tokens[parsed[1] :])


@pytest.mark.parametrize("begins", ["00:00", "08:00", "12:00", "17:00"])
def test_a_time_is_heard_as_it_is_said(begins: str) -> None:
    for minutes in range(1440):
        value = f"{minutes // 60:02}:{minutes % 60:02}"
        assert said(TimeSlot(begins), value) == (value, "")


@given(st.text("0123456789", min_size=2, max_size=32))
def test_digits_are_heard_as_they_are_said(value: str) -> None:
    assert said(DigitsSlot(), value) == (value, "")


@pytest.mark.parametrize("value", range(1, 31))
def test_a_number_of_people_is_heard_as_it_is_said(value: int) -> None:
    assert said(PeopleSlot(), value) == (value, "")


@pytest.mark.parametrize("value", [*DAYS, "today", "tomorrow"])
def test_a_day_is_heard_as_it_is_said(value: str) -> None:
    assert said(DaySlot(), value) == (value, "")


@given(
    st.dictionaries(
        st.text("abcdefg ", min_size=1).filter(str.strip), st.just([]), min_size=1, max_size=5
    )
)
def test_one_of_a_list_is_heard_as_it_is_said(names: dict[str, list[str]]) -> None:
    kind = ChoiceSlot(names)
    for name in names:
        value, rest = said(kind, name)
        assert rest == ""
        assert words(str(value)) == words(name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seven", "19:00"),
        ("twelve", "12:00"),
        ("eleven", "23:00"),
        ("seven o'clock", "19:00"),
        ("seven in the morning", "07:00"),
        ("seven am", "07:00"),
        ("seven p m", "19:00"),
        ("seven this evening", "19:00"),
        ("half past six", "18:30"),
        ("a quarter past six", "18:15"),
        ("quarter to six", "17:45"),
        ("quarter to twelve", "23:45"),
        ("quarter to one", "12:45"),
        ("ten to eight", "19:50"),
        ("twenty past six in the evening", "18:20"),
        ("five minutes past two", "14:05"),
        ("seven thirty", "19:30"),
        ("seven oh five", "19:05"),
        ("nineteen thirty", "19:30"),
        ("eleven at night", "23:00"),
        ("two at night", "02:00"),
        ("twelve at night", "00:00"),
        ("noon", "12:00"),
        ("midnight", "00:00"),
    ],
)
def test_times_as_callers_say_them(text: str, value: str) -> None:
    tokens = words(text)
    assert TimeSlot("12:00").parse(tokens, 0) == (value, len(tokens))


def test_the_restaurant_says_which_half_of_the_day_is_meant() -> None:
    assert TimeSlot("08:00").parse(["seven"], 0) == ("19:00", 1)
    assert TimeSlot("08:00").parse(["eight"], 0) == ("08:00", 1)
    assert TimeSlot("00:00").parse(["seven"], 0) == ("07:00", 1)


@given(BEGINS, st.integers(1, 12))
def test_a_time_without_a_half_is_the_first_from_there_on(begins: str, hour: int) -> None:
    parsed = TimeSlot(begins).parse(words(str(hour)), 0)
    assert parsed is not None
    at, first = int(str(parsed[0])[:2]), int(begins[:2])
    assert at % 12 == hour % 12
    assert at >= first or at + 12 >= 24


def test_tonight_is_a_day_and_the_half_of_a_time() -> None:
    assert DaySlot().parse(["tonight"], 0) == ("today", 1)
    assert TimeSlot("08:00").parse(["eight", "tonight"], 0) == ("20:00", 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("four two one seven", "4217"),
        ("double four oh one", "4401"),
        ("triple nine", "999"),
        ("triple nine two", "9992"),
        ("forty two seventeen", "4217"),
        ("ninety nine", "99"),
        ("four", None),
        ("double", None),
        ("double twelve", None),
    ],
)
def test_digits_as_callers_say_them(text: str, value: str | None) -> None:
    tokens = words(text)
    parsed = DigitsSlot().parse(tokens, 0)
    assert parsed == (None if value is None else (value, len(tokens)))


@pytest.mark.parametrize(
    ("text", "value", "end"),
    [("four people", 4, 2), ("two of us", 2, 3), ("just me", 1, 2), ("six", 6, 1)],
)
def test_people_as_callers_count_them(text: str, value: int, end: int) -> None:
    assert PeopleSlot().parse(text.split(), 0) == (value, end)
    assert PeopleSlot().parse(["zero"], 0) is None


def test_a_list_may_have_several_words_for_one_thing() -> None:
    kind = ChoiceSlot({"large": ["big", "very big"], "small": []})
    assert kind.parse(["very", "big"], 0) == ("large", 2)
    assert kind.parse(["small"], 0) == ("small", 1)
    assert kind.parse(["medium"], 0) is None
    assert set(kind.samples()) == {"big", "very big", "small"}


@pytest.mark.parametrize(("name", "kind"), builtin().items())
def test_every_sample_is_a_value(name: str, kind: SlotKind) -> None:
    for sample in kind.samples():
        tokens = words(sample)
        parsed = kind.parse(tokens, 0)
        assert parsed is not None, sample
        assert parsed[1] == len(tokens), sample


@given(st.lists(st.sampled_from(words("half past quarter to a minutes o'clock oh two twelve fifty"
    " noon in the morning at night double triple zero people of us just me monday tonight x")),
    min_size=1, max_size=8))  # fmt: skip
def test_whatever_is_said_ends_within_it(tokens: list[str]) -> None:
    for kind in builtin().values():
        for start in range(len(tokens)):
            parsed = kind.parse(tokens, start)
            if parsed is not None:
                assert start < parsed[1] <= len(tokens)
                kind.say(parsed[0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4, "four"),
        (True, "yes"),
        ("20:00", "eight in the evening"),
        ("friday", "Friday"),
        ("4217", "four two one seven"),
        ("being prepared", "being prepared"),
        (4711, "four seven one one"),
        (2.5, "2.5"),
        (-3, "-3"),
        (None, "None"),
        ("\u0664", "\u0664"),
    ],
)
def test_fields_of_answers_as_they_are_spoken(value: object, text: str) -> None:
    assert spoken(value) == text
    assert text in set(spoken_samples(value))
