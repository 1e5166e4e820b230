"""Estimate of the words that were heard of an utterance when it was cut.

Deepgram gives no times of words. Known of an utterance are its texts, how much audio had come
before each text, and how much was heard. So the audio is spread over the texts in proportion to the
effort of speaking each word. Where a text came at the beginning or end of its audio, by the agent's
usual rate, text and audio are aligned: an error does not grow beyond that point.

Sizes are bytes of audio, from the beginning of the utterance; efforts are in letters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

# Measured on eSpeak NG at 170 words a minute, by bench/word_times.py.
BYTES_PER_LETTER: Final = 480.0
"""Bytes of audio per letter (60 ms), until the agent's own utterances show its rate."""

_DIGIT: Final = 5
_CLAUSE: Final = 4
_SENTENCE: Final = 6
"""Letters that could be spoken in the pause after a sentence."""

_CLAUSE_ENDS: Final = (",", ";", ":")
_SENTENCE_ENDS: Final = (".", "!", "?")
_QUOTES: Final = "\"')]\u201d\u2019"

_TRUSTED: Final = 40
"""Letters, about a sentence, to be heard of an agent before its own rate is used."""

_PLAUSIBLE: Final = (0.8, 1.25)
"""Bounds of plausible audio of a text, as multiples of its expected length.

Texts may also come all at once, or while the audio of the one before is still coming.
"""


class TextPiece(NamedTuple):
    """A piece of text, and the bytes of the utterance's audio that had come before it."""

    text: str
    came_at: int


class SpeechRate:
    """Speed at which an agent speaks, learnt from its utterances so far."""

    def __init__(self) -> None:
        self._size = _TRUSTED * BYTES_PER_LETTER
        self._effort = float(_TRUSTED)

    def learn(self, pieces: Sequence[TextPiece], size: int) -> None:
        """Learn from a whole utterance of `size` bytes of audio."""
        effort = _effort(_words(pieces))
        if effort:
            self._size += size
            self._effort += effort

    @property
    def bytes_per_letter(self) -> float:
        """Bytes of audio that one letter of speech takes."""
        return self._size / self._effort

    def falls_short(self, pieces: Sequence[TextPiece], size: int) -> bool:
        """Return whether `size` bytes of audio are too few for all of the words."""
        expected = _effort(_words(pieces)) * self.bytes_per_letter
        return size < _PLAUSIBLE[0] * expected


@dataclass(slots=True)
class _Stretch:
    """Audio from `begins` to `ends` in which these words are spoken."""

    words: list[str]
    effort: int
    begins: int
    ends: float


def heard_words(
    pieces: Sequence[TextPiece], size: int, heard: int, rate: float, *, complete: bool
) -> str:
    """Return the first words of the texts, up to `heard` of the `size` bytes that came.

    A word counts as heard when more than half of it was. `rate` is in bytes per letter.
    """
    words: list[str] = []
    for stretch in _stretches(pieces, size, rate, complete=complete):
        if heard <= stretch.begins:
            break
        share = (heard - stretch.begins) / max(stretch.ends - stretch.begins, 1)
        reached = share * stretch.effort
        for word in stretch.words:
            spoken = _letters(word)
            if reached < spoken / 2:
                break
            words.append(word)
            reached -= spoken + _pause(word)
    return " ".join(words)


def _stretches(
    pieces: Sequence[TextPiece], size: int, rate: float, *, complete: bool
) -> Iterator[_Stretch]:
    """Yield stretches of the utterance whose words and audio are both known."""
    if not pieces:
        return
    first = pieces[0]
    if complete:
        rate = size / max(1, _effort(_words(pieces)))
    # Each text comes either at the beginning of its audio or at the end.
    afterwards = first.came_at > _effort(first.text.split()) * rate / 2
    words: list[str] = []
    effort = pause = begins = 0  # `effort` with the pause after the last word
    for number, piece in enumerate(pieces):
        for word in piece.text.split():
            words.append(word)
            pause = _pause(word)
            effort += _letters(word) + pause
        if afterwards:
            ends = piece.came_at
        elif number + 1 < len(pieces):
            ends = pieces[number + 1].came_at
        else:
            break
        expected = (effort - pause) * rate
        if _PLAUSIBLE[0] * expected <= ends - begins <= _PLAUSIBLE[1] * expected:
            yield _Stretch(words, effort - pause, begins, ends)
            words, effort, pause, begins = [], 0, 0, ends
    if words:
        rest = float(size - begins)
        if not complete:
            rest = max(rest, (effort - pause) * rate)
        yield _Stretch(words, effort - pause, begins, begins + rest)


def _words(pieces: Sequence[TextPiece]) -> list[str]:
    return [word for piece in pieces for word in piece.text.split()]


def _effort(words: list[str]) -> int:
    """Return the effort of speaking the words, in letters, without the pause after the last."""
    return sum(map(_letters, words)) + sum(map(_pause, words[:-1]))


def _letters(word: str) -> int:
    return max(1, sum(_DIGIT if c.isdigit() else c.isalpha() for c in word))


def _pause(word: str) -> int:
    ending = word.rstrip(_QUOTES)[-1:]
    if ending in _SENTENCE_ENDS:
        return _SENTENCE
    return _CLAUSE if ending in _CLAUSE_ENDS else 0
