"""Twilio's stream errors in words."""

from itertools import product

import pytest
from tests.cases import check_each

from offhook.twilio.stream_errors import STREAM_ERRORS, explain

CODES = {
    *range(31900, 31905),
    31910,
    *range(31920, 31925),
    31930,
    31931,
    31940,
    31941,
    31942,
    31950,
    31951,
    31952,
    31960,
}
"""The table of twilio.md §1.9."""


def test_every_code_of_twilio_is_explained() -> None:
    assert {int(code) for code in STREAM_ERRORS} == CODES


_FORMS = ("{}", "Error {}: it broke", "{} - Stream - it broke")


def test_the_code_is_found_wherever_it_stands() -> None:
    check_each(_check_found, product(STREAM_ERRORS, _FORMS))


def _check_found(code: str, form: str) -> None:
    assert explain(form.format(code)) == (code, STREAM_ERRORS[code])


def test_a_new_code_is_told_without_words() -> None:
    assert explain("31999 something new") == ("31999", "A stream error that is not in our list.")


@pytest.mark.parametrize("text", ["", "it broke", "11200", "131920", "319201"])
def test_a_text_without_a_code_stands_for_itself(text: str) -> None:
    assert explain(text) == ("", text)


def test_a_long_text_is_cut() -> None:
    assert explain("x" * 10_000) == ("", "x" * 200)
