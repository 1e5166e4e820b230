"""Trigram language model of given sentences, in the ARPA format.

The model is interpolated (Jelinek and Mercer): the probability of a word after two words is mixed
with its probability after one word, its probability among all words, and a uniform probability.
So every order of words is possible, and the given sentences are likely. Back-off weights represent
the mixture exactly.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

Gram: TypeAlias = tuple[str, ...]

SHARES: Final = (0.9, 0.8, 0.7)
"""Weights of the counts of words, pairs and triples; the rest goes to the shorter n-gram."""

_START: Final = "<s>"
_END: Final = "</s>"
_NEVER: Final = -99.0
"""Logarithm of the probability of `<s>`, which never follows a word."""


def arpa(sentences: Iterable[tuple[Sequence[str], int]]) -> str:
    """Return the text of an ARPA file that models sentences with weights (1 or more)."""
    counts: tuple[Counter[Gram], ...] = (Counter(), Counter(), Counter())
    for words, weight in sentences:
        line = (_START, *words, _END)
        for length, counted in enumerate(counts, 1):
            for start in range(len(line) - length + 1):
                counted[line[start : start + length]] += weight
    del counts[0][(_START,)]  # it is never predicted
    return "\n".join(_lines(counts))


def _lines(counts: tuple[Counter[Gram], ...]) -> Iterator[str]:
    chances = _chances(counts)
    yield "\\data\\"
    for length, of_length in enumerate(chances, 1):
        yield f"ngram {length}={len(of_length)}"
    for length, of_length in enumerate(chances, 1):
        yield f"\n\\{length}-grams:"
        # Back-off weight of a context after which some word was seen.
        contexts = {gram[:-1] for gram in counts[length]} if length < len(counts) else set()
        rest = math.log10(1 - SHARES[length]) if length < len(counts) else 0.0
        for gram, chance in sorted(of_length.items()):
            words = " ".join(gram)
            if gram in contexts:
                yield f"{chance:.4f}\t{words}\t{rest:.4f}"
            else:
                yield f"{chance:.4f}\t{words}"
    yield "\n\\end\\"


def _chances(counts: tuple[Counter[Gram], ...]) -> list[dict[Gram, float]]:
    """Return the base-10 logarithm of the probability of each n-gram's last word."""
    words = counts[0]
    likely: dict[Gram, float] = {
        gram: SHARES[0] * count / words.total() + (1 - SHARES[0]) / len(words)
        for gram, count in words.items()
    }
    found = [{(_START,): _NEVER} | {gram: math.log10(p) for gram, p in likely.items()}]
    for share, counted in zip(SHARES[1:], counts[1:], strict=True):
        contexts: defaultdict[Gram, int] = defaultdict(int)
        for gram, count in counted.items():
            contexts[gram[:-1]] += count
        likely = {
            gram: share * count / contexts[gram[:-1]] + (1 - share) * likely[gram[1:]]
            for gram, count in counted.items()
        }
        found.append({gram: math.log10(p) for gram, p in likely.items()})
    return found
