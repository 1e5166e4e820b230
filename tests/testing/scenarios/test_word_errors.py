"""Words got wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.testing.scenarios.word_errors import word_errors

SENTENCES = st.lists(st.sampled_from("abc"), max_size=8)


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("", "", 0),
        ("yes", "", 1),
        ("", "yes please", 2),
        ("a table for two", "a table for two", 0),
        ("a table for two", "a table for three", 1),
        ("a table for two", "table for two", 1),
        ("a table for two", "a table for for two", 1),
        ("at half past six", "a half past six please", 2),
        ("one two three", "three one two", 2),
    ],
)
def test_words_put_in_taken_out_and_exchanged(said: str, heard: str, errors: int) -> None:
    assert word_errors(said.split(), heard.split()) == errors


@given(SENTENCES, SENTENCES, SENTENCES)
def test_it_is_a_distance(a: list[str], b: list[str], c: list[str]) -> None:
    assert (word_errors(a, b) == 0) == (a == b)
    assert word_errors(a, b) == word_errors(b, a)
    assert abs(len(a) - len(b)) <= word_errors(a, b) <= max(len(a), len(b))
    assert word_errors(a, c) <= word_errors(a, b) + word_errors(b, c)
