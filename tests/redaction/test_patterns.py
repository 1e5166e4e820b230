"""Patterns of personal data by themselves: what each finds in a text, and where it stands."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.redaction.patterns import (
    CARD,
    EMAIL,
    PHONE,
    Group,
    Span,
    Speaker,
    cards,
    digits_in,
    emails,
    merged,
    phones,
)


def found(spans: "list[Span]", text: str) -> list[str]:
    return [text[span.start : span.end] for span in spans]


def cards_of(text: str) -> list[str]:
    return found(list(cards(text, digits_in(text))), text)


def phones_of(text: str) -> list[str]:
    groups = digits_in(text)
    return found(list(phones(text, groups, merged(list(cards(text, groups))))), text)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("", []),
        ("at 12", [Group(3, 5, "12", said=False)]),
        ("one", [Group(0, 3, "1", said=True)]),
        ("double 0", [Group(7, 8, "0", said=False)]),
        ("double four", [Group(0, 11, "44", said=True)]),
        ("triple oh", [Group(0, 9, "000", said=True)]),
        ("someone", []),
        ("\u0664", [Group(0, 1, "4", said=False)]),
    ],
)
def test_digits_are_written_or_said(text: str, groups: list[Group]) -> None:
    assert digits_in(text) == groups


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "four one one one one one one one one one one one one one one one",
    ],
)
def test_a_card_is_found_by_its_beginning_and_its_sum(number: str) -> None:
    assert cards_of(f"It is {number}, thanks.") == [number]


@pytest.mark.parametrize(
    "text", ["4111 1111 1111 1112", "1111 1111 1111 1117", "4111 1111", "4111 1111 and 1111 1111"]
)
def test_other_digits_are_not_a_card(text: str) -> None:
    assert cards_of(text) == []


@pytest.mark.parametrize(
    "number", ["+1 202 555 0142", "(202) 555-0142", "555-0142", "+44 (0)20 7946 0000", "2025550142"]
)
def test_a_phone_number_is_found_in_its_spellings(number: str) -> None:
    text = f"Call {number} please"
    assert phones_of(text) == [number]


@pytest.mark.parametrize(
    "text",
    ["at 10:30", "on 2026-11-30", "30.11.2026", "$1,234,567", "1 234 567 people", "room 2042"],
)
def test_times_dates_and_amounts_are_not_phone_numbers(text: str) -> None:
    assert phones_of(text) == []


def test_a_card_is_not_a_phone_number_too() -> None:
    assert phones_of("4111 1111 1111 1111") == []


@pytest.mark.parametrize(
    "address",
    ["ada@example.com", "ada.b+c@mail.example.co.uk", "ada at example dot com", "a d a at x.org"],
)
def test_an_address_is_found_written_and_said(address: str) -> None:
    text = f"It's {address}"
    (span,) = emails(text)
    assert text[: span.end].endswith(address)
    assert span.instead == EMAIL


@pytest.mark.parametrize("text", ["find us at example dot com", "meet at nine", "@home"])
def test_a_place_is_not_an_address(text: str) -> None:
    assert list(emails(text)) == []


def test_spans_that_overlap_are_one() -> None:
    spans = [Span(5, 9, PHONE), Span(0, 3, CARD), Span(8, 12, EMAIL), Span(12, 13, CARD)]
    assert merged(spans) == [Span(0, 3, CARD), Span(5, 12, PHONE), Span(12, 13, CARD)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20))))
def test_merged_spans_cover_the_same_and_do_not_overlap(pairs: list[tuple[int, int]]) -> None:
    spans = [Span(start, start + length, CARD) for start, length in pairs]
    whole = merged(spans)
    assert all(one.end <= other.start for one, other in pairwise(whole))
    covered = {at for span in spans for at in range(span.start, span.end)}
    assert {at for span in whole for at in range(span.start, span.end)} == covered


def test_a_card_goes_on_in_the_next_utterance() -> None:
    speaker = Speaker()
    assert speaker.goes_on("It's 4111 1111", [], (0, 900)) == ([], ())
    spans, before = speaker.goes_on("1111 1111, thanks", [], (1000, 1900))
    assert (spans, before) == ([Span(0, 9, CARD)], ((0, 900),))


def test_words_in_between_end_a_number() -> None:
    speaker = Speaker()
    speaker.goes_on("4111 1111", [], (0, 900))
    assert speaker.goes_on("Wait a moment.", [], (1000, 1900)) == ([], ())
    assert speaker.goes_on("1111 1111", [], (2000, 2900)) == ([], ())
