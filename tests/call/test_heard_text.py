"""Which words were heard: audio laid along texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.call import heard_text
from offhook.call.heard_text import BYTES_PER_LETTER, SpeechRate, TextPiece, heard_words

LETTER = int(BYTES_PER_LETTER)

PASSAGES = st.lists(
    st.builds(TextPiece, st.text(max_size=60) | st.just("Some words, 12."), st.integers(0, 40_000)),
    max_size=5,
).map(lambda passages: sorted(passages, key=lambda passage: passage.came_at))


def heard(texts: list[tuple[str, int]], size: int, until: int, *, complete: bool = True) -> str:
    """By the usual pace; sizes in letters."""
    passages = [TextPiece(text, at * LETTER) for text, at in texts]
    return heard_words(passages, size * LETTER, until * LETTER, LETTER, complete=complete)


@pytest.mark.parametrize(
    ("until", "words"),
    [(0, ""), (1, ""), (2, "four"), (4, "four"), (5, "four"), (6, "four more"), (9, "four more")],
)
def test_a_word_is_heard_when_half_of_it_was(until: int, words: str) -> None:
    assert heard([("four more words", 0)], 13, until) == words


def test_a_word_takes_as_long_as_its_letters_and_a_digit_as_long_as_its_name() -> None:
    assert heard([("unfortunately it is", 0)], 17, 6) == ""
    assert heard([("unfortunately it is", 0)], 17, 7) == "unfortunately"
    assert heard([("number 12 is", 0)], 18, 10) == "number"
    assert heard([("number 12 is", 0)], 18, 11) == "number 12"


@pytest.mark.parametrize("end", [".", "!", "?", '."', ".\u201d", ","])
def test_a_pause_is_no_word(end: str) -> None:
    pause = 4 if end == "," else 6
    text = f"left{end} right"
    for until in range(4, 4 + pause + 2):
        assert heard([(text, 0)], 9 + pause, until) == f"left{end}"
    assert heard([(text, 0)], 9 + pause, 4 + pause + 3) == text


def test_of_an_unfinished_utterance_the_rest_is_expected_at_its_rate() -> None:
    text = [("four more words here", 0)]
    assert heard(text, 8, 8, complete=True) == "four more words here"
    assert heard(text, 8, 8, complete=False) == "four more"
    # It has taken longer already: then all of its words may have been heard.
    assert heard(text, 30, 30, complete=False) == "four more words here"


def test_where_a_text_comes_as_its_audio_begins_the_two_are_held_together() -> None:
    first, second = "Said rather slowly.", "Then very much faster than that."
    for until in range(19):
        assert "Then" not in heard([(first, 0), (second, 20)], 50, until)
    assert heard([(first, 0), (second, 20)], 50, 20) == first
    assert heard([(first, 0), (second, 20)], 50, 23) == f"{first} Then"
    assert heard([(f"{first} {second}", 0)], 50, 23) == first, "a pause is thought to be there"


@pytest.mark.parametrize("at", [0, 2, 20, 40, 60])
def test_a_text_that_comes_at_an_unlikely_place_holds_nothing(at: int) -> None:
    """Texts may come all at once, or while other audio is still on its way."""
    apart = [("One sentence of thirty letters.", 0), ("Another one of thirty letters.", at)]
    whole = [("One sentence of thirty letters. Another one of thirty letters.", 0)]
    for until in range(0, 62, 3):
        assert heard(apart, 62, until) == heard(whole, 62, until)


def test_texts_that_come_after_their_audio() -> None:
    texts = [("Said rather slowly.", 19), ("Then very much faster.", 40)]
    assert heard(texts, 40, 18) == "Said rather slowly."
    assert heard(texts, 40, 22) == "Said rather slowly. Then"
    # What is heard beyond the last text has no words yet.
    assert heard(texts[:1], 35, 35, complete=False) == "Said rather slowly."
    assert heard([], 35, 35, complete=False) == ""


def test_the_pace_is_the_usual_one_until_the_agent_has_shown_its_own() -> None:
    pace = SpeechRate()
    assert pace.bytes_per_letter == BYTES_PER_LETTER
    pace.learn([], 8000)
    pace.learn([TextPiece("", 0), TextPiece("  ", 0)], 8000)
    assert pace.bytes_per_letter == BYTES_PER_LETTER
    pace.learn([TextPiece("Yes.", 0)], 8000)  # a second, for three letters
    assert pace.bytes_per_letter < 1.5 * BYTES_PER_LETTER
    for _ in range(50):
        pace.learn([TextPiece("a quite usual sentence", 0)], 19 * 600)
    assert pace.bytes_per_letter == pytest.approx(600, rel=0.05)


@given(PASSAGES, st.integers(0, 60_000), st.booleans(), st.floats(100, 2000))
def test_what_is_heard_is_a_beginning_and_only_grows(
    passages: list[TextPiece], size: int, complete: bool, pace: float
) -> None:
    intended = " ".join(" ".join(passage.text for passage in passages).split())
    before = ""
    for part in range(5):
        words = heard_words(passages, size, size * part // 4, pace, complete=complete)
        assert intended.startswith(words)
        assert words.startswith(before)
        before = words


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("at", [0, 40])
def test_the_work_grows_with_the_words_and_no_faster(
    monkeypatch: pytest.MonkeyPatch, at: int, complete: bool
) -> None:
    """Of 300 sentences whose texts hold nothing together, each word is weighed a few times."""
    weighed = 0
    letters = heard_text._letters

    def counted(word: str) -> int:
        nonlocal weighed
        weighed += 1
        return letters(word)

    monkeypatch.setattr(heard_text, "_letters", counted)
    passages = [TextPiece("Four words, and more.", at * number) for number in range(300)]
    heard_words(passages, 800_000, 700_000, BYTES_PER_LETTER, complete=complete)
    assert weighed <= 4 * 4 * 300
