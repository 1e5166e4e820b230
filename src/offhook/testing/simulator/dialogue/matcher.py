"""Matching of a sentence to its meaning: the intent with the nearest phrase, and slot values.

A sentence that is not SURE by its phrases means the intent whose keywords it has, if there is one.

Words that are values are replaced by the name of their slot ("for $people at $time"). Phrases are
compared by the cosine of their words and pairs of words, weighted by rarity (tf-idf; the
replacement matters more than the measure). A number can be a time, people or a digit: each reading
is tried, and the one nearest to a phrase is used.
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
"""Cosine below which a sentence has no known meaning."""

SURE: Final = 0.75
"""Cosine from which keywords are not looked at."""

MARGIN: Final = 0.04
"""Least difference in cosine between the nearest intent and the next."""

_EXPECTED: Final = 0.15
"""Bonus for a reading with a slot that was asked for."""

_IN_PLACE: Final = 0.05
"""Bonus for each slot that some phrase has after the same word; else a penalty."""

_SAME_SLOTS: Final = 0.1
"""Bonus for a phrase with exactly the slots of the sentence."""

_READINGS: Final = 200
"""Readings of one sentence that are tried at most."""

_WORDS: Final = 60
"""Words of one sentence that are used; the rest is ignored."""

_POLITE: Final = frozenset(
    ["please", "um", "uh", "er", "well", "okay", "hello", "hi", "hey", "and", "so", "just"]
)
_POLITE_SHARE: Final = 0.3
"""Share of their weight that words in _POLITE keep, because they mean little beside others."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Meaning of a sentence. `intent` is None if no phrase is near, or two are equally near."""

    intent: str | None
    slots: Mapping[str, Value] = field(default_factory=dict)
    """Values by slot; these may be found without an intent."""
    score: float = 0.0
    """Cosine of the nearest phrase, from 0 to 1; of any phrase, if keywords gave the intent."""


@dataclass(frozen=True, slots=True)
class _Reading:
    tokens: tuple[str, ...]
    slots: Mapping[str, Value]


class Matcher:
    """Matcher of sentences to the phrases of intents, which may contain slots.

    An entry of `keywords` is one or more words or slots, which a sentence must have in any order.
    Of several entries that fit, the one with the most words counts, then the first.
    """

    def __init__(
        self,
        intents: Mapping[str, Sequence[str]],
        kinds: Mapping[str, SlotKind] | None = None,
        keywords: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._kinds: Final = dict(kinds or {})
        self._keywords: Final = sorted(
            (
                (frozenset(words(entry)), intent)
                for intent, entries in (keywords or {}).items()
                for entry in entries
            ),
            key=lambda entry: -len(entry[0]),
        )
        """Words of each entry, and its intent; the most words first."""
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
        """Weight of a word that is in no phrase."""
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
        """Phrases that contain each term, with the term's share of the length of their vector."""
        for number, (_, terms) in enumerate(phrases):
            length = math.sqrt(sum(self._weights[term] ** 2 for term in terms))
            for term in terms:
                entry = (number, self._weights[term] / length)
                self._index.setdefault(term, []).append(entry)

    def meaning(self, text: str, expected: Collection[str] = ()) -> Meaning:
        """Return the meaning of `text`, preferring readings with a slot that is `expected`."""
        best = Meaning(None)
        best_rank = -1.0
        for reading in self._readings(words(text)[:_WORDS]):
            meaning = self._nearest(reading)
            rank = meaning.score + _EXPECTED * any(slot in expected for slot in reading.slots)
            rank += sum(
                _IN_PLACE if pair in self._places else -_IN_PLACE
                for pair in _places(reading.tokens)
            )
            # Of two equally near readings, the one with more words in values is preferred.
            rank -= 1e-4 * len(reading.tokens)
            if rank > best_rank:
                best, best_rank = meaning, rank
        if best.intent is None or best.score < SURE:
            found = self._by_keywords(words(text)[:_WORDS], best.slots)
            if found is not None:
                return Meaning(found, best.slots, best.score)
        return best

    def _by_keywords(self, tokens: list[str], slots: Mapping[str, Value]) -> str | None:
        """Return the intent of the entry with the most words that are all there."""
        here = {*tokens, *(f"${slot}" for slot in slots)}
        return next((intent for entry, intent in self._keywords if entry <= here), None)

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
        """Return the weight of a word or pair; one that no phrase has lowers the cosine.

        An unknown pair of known words has no weight, because people may use another order.
        """
        known = self._weights.get(term)
        if known is not None:
            return known
        if all(word in self._weights for word in term.split()):
            return 0.0
        return _share(term) * self._unknown

    def _readings(self, tokens: list[str]) -> Iterator[_Reading]:
        """Yield all ways to read words as values; readings of the first kinds come first."""
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
    """Return each word and each pair of neighbouring words, once."""
    pairs = (f"{first} {second}" for first, second in itertools.pairwise(tokens))
    return list(dict.fromkeys((*tokens, *pairs)))


def _share(term: str) -> float:
    return _POLITE_SHARE if any(word in _POLITE for word in term.split()) else 1.0


def _places(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each slot after the word before it ("" at the beginning)."""
    before = ""
    for token in tokens:
        if token.startswith("$"):
            yield before, token
        before = token
