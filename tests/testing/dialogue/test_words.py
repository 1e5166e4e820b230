"""Text as words."""

import pytest

from offhook.testing.simulator.dialogue.words import number, spelt, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What are your opening hours?", "what are your opening hours"),
        ("A table for 2, please.", "a table for two please"),
        ("Order 4217", "order four two one seven"),
        ("at 19:30", "at seven thirty pm"),
        ("at 7:30 p.m.", "at seven thirty pm"),
        ("at 7:05", "at seven oh five"),
        ("at 7:00", "at seven o'clock"),
        ("07:00 on Friday", "seven am on friday"),
        ("I\u2019d like $people on $day!", "i'd like $people on $day"),
        ("$1 and $x_2", "one and $x_2"),
        ("Caf\u00e9 \u2014 d\u00e9j\u00e0 vu", "caf\u00e9 d\u00e9j\u00e0 vu"),
        ("...", ""),
    ],
)
def test_words_are_small_letters_and_numbers_are_spelt(text: str, expected: str) -> None:
    assert " ".join(words(text)) == expected


def test_a_number_is_read_as_it_is_spelt() -> None:
    for value in range(100):
        said = spelt(value)
        assert number(["x", *said, "past"], 1) == (value, 1 + len(said))


def test_what_is_no_number() -> None:
    assert number([], 0) is None
    assert number(["friday"], 0) is None
    assert number(["twenty", "twenty"], 0) == (20, 1)
