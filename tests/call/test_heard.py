"""Heard text against what a simulated Twilio really played: the short form of bench/heard.py."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import pytest
from bench.heard import (
    MEDIAN_MAX,
    P95_MAX,
    TEXTS,
    Conversation,
    Figures,
    Manner,
    Texts,
    Turn,
    Word,
    described,
    measure,
    replies,
)

PLAIN = Manner(
    stretch=1.0,
    unevenness=0.2,
    pauses=1.0,
    margin_ms=100,
    speed=4.0,
    chunk=1280,
    lead_s=0.6,
    texts="before",
    twilio_s=0.05,
    deepgram_s=0.03,
)


@pytest.fixture(scope="module")
def known() -> list[list[list[Word]]]:
    return replies()


@pytest.fixture(scope="module")
def figures() -> Figures:
    return measure(200, seed=1)


def test_200_interruptions_at_random_moments(figures: Figures) -> None:
    print("\n".join(described(figures)))
    assert len(figures.cut) == 200
    assert figures.error(0.5) <= MEDIAN_MAX
    assert figures.error(0.95) <= P95_MAX


def test_what_was_heard_out_is_on_record_word_for_word(figures: Figures) -> None:
    assert len(figures.heard_out) > 20
    for _, turn in figures.heard_out:
        assert [said.text for said in turn.said] == [said.intended for said in turn.said]
        assert turn.error == turn.unannounced == 0


def test_the_rig_sees_an_error(figures: Figures) -> None:
    """With a word left out of each record, or five more in it, the figures are worse."""
    for change in (lambda text: text.rpartition(" ")[0], lambda text: f"{text} x x x x x"):
        changed = [
            (manner, replace(turn, said=[replace(s, text=change(s.text)) for s in turn.said]))
            for manner, turn in figures.cut
        ]
        assert sum(t.error for _, t in changed) > 1.2 * sum(t.error for _, t in figures.cut)


def long_ones(known: list[list[list[Word]]]) -> Iterator[list[list[Word]]]:
    """Replies of several sentences, one after the other."""
    several = [reply for reply in known if len(reply) > 2]
    random.Random(1).shuffle(several)
    return cycle(several)


def turns_of(manner: Manner, known: list[list[list[Word]]], *moments: float) -> list[Turn]:
    """Long replies that are interrupted, each at such a part of its time."""
    conversation = Conversation(known, manner, seed=1)
    for reply, moment in zip(long_ones(known), moments, strict=False):
        conversation.say([reply], moment)
    return conversation.hang_up()


def test_before_the_first_word(known: list[list[list[Word]]]) -> None:
    for turn in turns_of(PLAIN, known, *[0.0] * 5):
        assert turn.played == [0]
        for said in turn.said:  # or nothing had come of it
            assert (said.text, said.heard_ms, said.start_ms) == ("", 0, None)


def test_at_the_very_end(known: list[list[list[Word]]]) -> None:
    """The last sound has been played, but the mark behind it has not come back."""
    turns = turns_of(PLAIN, known, *[0.995] * 5)
    assert any(said.interrupted for turn in turns for said in turn.said)
    for turn in turns:
        assert turn.played == [len(turn.utterances[0].words)]
        assert turn.error <= 1


@pytest.mark.parametrize("texts", TEXTS)
def test_one_that_waits_behind_another(known: list[list[list[Word]]], texts: Texts) -> None:
    """Both came at once and whole."""
    manner = replace(PLAIN, texts=texts, lead_s=3600, speed=20)
    conversation = Conversation(known, manner, seed=1)
    some = long_ones(known)
    for moment in (0.2, 0.3, 0.7, 0.8):
        conversation.say([next(some), next(some)], moment)
    turns = conversation.hang_up()
    for turn in turns[:2]:
        first, second = turn.said
        assert first.interrupted
        assert turn.played[1] == 0
        assert (second.text, second.heard_ms, second.interrupted) == ("", 0, True)
    for turn in turns[2:]:
        first, second = turn.said
        assert (first.text, first.interrupted) == (first.intended, False)
        assert 0 < turn.played[1] < len(turn.utterances[1].words)
        assert second.interrupted
    assert sum(turn.error for turn in turns) <= 2 * len(turns)


def test_a_text_that_comes_after_its_audio(known: list[list[list[Word]]]) -> None:
    """What was announced is right; what was not, nobody could have known."""
    slow = replace(PLAIN, texts="after", speed=1.2)
    turns = turns_of(slow, known, 0.1, 0.3, 0.5, 0.6, 0.7, 0.8)
    assert turns[0].said[0].intended == ""
    assert turns[0].unannounced > 0
    for turn in turns:
        assert turn.error <= P95_MAX
