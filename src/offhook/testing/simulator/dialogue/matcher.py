"""What a sentence means: the intent whose phrases are nearest to it, and the values in it.

Words that are values are replaced by the name of their slot ("for $people at $time"), and phrases
are compared by the cosine of their words and pairs of words, weighted by how rare these are
(tf-idf; the replacing, not the measure, does the work). A number can be a time,
people or a digit: each reading is tried, and the one that is nearest to a phrase is taken.
"""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from offhook.testing.simulator.dialogue.slots import SlotKind, Value
from offhook.testing.simulator.dialogue.words import words

NEAR: Final = 0.5
"""The cosine below which a sentence means nothing that is known."""

MARGIN: Final = 0.04
"""By how much the nearest intent must be nearer than the next."""

_EXPECTED: Final = 0.15
"""What a reading gains that has a slot which was asked for."""

_IN_PLACE: Final = 0.05
"""What it gains for each slot that some phrase has after the same word, and else loses."""

_SAME_SLOTS: Final = 0.1
"""What a phrase gains that has just the slots of the sentence."""

_READINGS: Final = 200
"""Of one sentence, at most; and WORDS of it are looked at."""

_WORDS: Final = 60

_POLITE: Final = frozenset(
    ["please", "um", "uh", "er", "well", "okay", "hello", "hi", "hey", "and", "so", "just"]
)
_POLITE_SHARE: Final = 0.3
"""Words that say little beside others, and their part of the weight that they would have."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What was meant. `intent` is None when no phrase is near enough, or two are equally near."""

    intent: str | None
    slots: Mapping[str, Value] = field(default_factory=dict)
    """Values by slot; also found where the intent was not."""
    score: float = 0.0
    """The cosine, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class _Reading:
    tokens: tuple[str, ...]
    slots: Mapping[str, Value]


class Matcher:
    """The phrases of every intent, and the kinds of slot that they may hold."""

    def __init__(
        self, intents: Mapping[str, Sequence[str]], kinds: Mapping[str, SlotKind] | None = None
    ) -> None:
        self._kinds: Final = dict(kinds or {})
        phrases = [
            (intent, _terms(words(phrase)))
            for intent, phrases in intents.items()
            for phrase in phrases
        ]
        documents = Counter(term for _, terms in phrases for term in terms)
        total = len(phrases)
        self._weights: Final = {
            term: _share(term) * (1 + math.log((1 + total) / (1 + count)))
            for term, count in documents.items()
        }
        self._unknown: Final = 1 + math.log(1 + total)
        """The weight of a word that is in no phrase."""
        self._places: Final = {
            pair
            for intent_phrases in intents.values()
            for phrase in intent_phrases
            for pair in _places(words(phrase))
        }
        self._intents: Final = [intent for intent, _ in phrases]
        self._slots: Final = [
            frozenset(term for term in terms if term.startswith("$") and " " not in term)
            for _, terms in phrases
        ]
        self._index: Final[dict[str, list[tuple[int, float]]]] = {}
        """For each term, the phrases that have it, and its part in their length."""
        for number, (_, terms) in enumerate(phrases):
            length = math.sqrt(sum(self._weights[term] ** 2 for term in terms))
            for term in terms:
                entry = (number, self._weights[term] / length)
                self._index.setdefault(term, []).append(entry)

    def meaning(self, text: str, expected: Collection[str] = ()) -> Meaning:
        """Return what `text` means: of equal readings, that with a slot which is `expected`."""
        best = Meaning(None)
        best_rank = -1.0
        for reading in self._readings(words(text)[:_WORDS]):
            meaning = self._nearest(reading)
            rank = meaning.score + _EXPECTED * any(slot in expected for slot in reading.slots)
            rank += sum(
                _IN_PLACE if pair in self._places else -_IN_PLACE
                for pair in _places(reading.tokens)
            )
            # Of two that are equally near, the one that takes more words for values.
            rank -= 1e-4 * len(reading.tokens)
            if rank > best_rank:
                best, best_rank = meaning, rank
        return best

    def _nearest(self, reading: _Reading) -> Meaning:
        terms = _terms(reading.tokens)
        weights = {term: self._weight(term) for term in terms}
        length = math.sqrt(sum(weight**2 for weight in weights.values()))
        if not length:
            return Meaning(None, reading.slots)
        scores: dict[int, float] = {}
        for term, weight in weights.items():
            for number, part in self._index.get(term, ()):
                scores[number] = scores.get(number, 0.0) + weight * part / length
        slots = frozenset(f"${slot}" for slot in reading.slots)
        by_intent: dict[str, float] = {}
        for number, score in scores.items():
            intent = self._intents[number]
            gained = _SAME_SLOTS if slots and self._slots[number] == slots else 0.0
            by_intent[intent] = max(by_intent.get(intent, 0.0), score + gained)
        ranked = sorted(by_intent.items(), key=lambda entry: (-entry[1], entry[0]))
        if not ranked:
            return Meaning(None, reading.slots)
        intent, score = ranked[0]
        next_score = ranked[1][1] if len(ranked) > 1 else 0.0
        clear = score >= NEAR and score - next_score >= MARGIN
        return Meaning(intent if clear else None, reading.slots, min(score, 1.0))

    def _weight(self, term: str) -> float:
        """Of a word or pair in a sentence: what no phrase has counts against the sentence.

        But not a pair of words that are known: people put them in another order.
        """
        known = self._weights.get(term)
        if known is not None:
            return known
        if all(word in self._weights for word in term.split()):
            return 0.0
        return _share(term) * self._unknown

    def _readings(self, tokens: list[str]) -> Iterator[_Reading]:
        """Every way to take some of the words for values; those of the first kinds come first."""
        left = _READINGS
        stack: list[tuple[int, tuple[str, ...], dict[str, Value]]] = [(0, (), {})]
        while stack and left:
            at, read, slots = stack.pop()
            if at == len(tokens):
                left -= 1
                yield _Reading(read, slots)
                continue
            stack.append((at + 1, (*read, tokens[at]), slots))
            for slot, kind in reversed(self._kinds.items()):
                if slot in slots:
                    continue
                parsed = kind.parse(tokens, at)
                if parsed is not None:
                    value, end = parsed
                    stack.append((end, (*read, f"${slot}"), {**slots, slot: value}))


def _terms(tokens: Sequence[str]) -> list[str]:
    """Each word and each pair of neighbours, once."""
    pairs = (f"{first} {second}" for first, second in itertools.pairwise(tokens))
    return list(dict.fromkeys((*tokens, *pairs)))


def _share(term: str) -> float:
    return _POLITE_SHARE if any(word in _POLITE for word in term.split()) else 1.0


def _places(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each slot, and the word before it ("" at the beginning)."""
    before = ""
    for token in tokens:
        if token.startswith("$"):
            yield before, token
        before = token
