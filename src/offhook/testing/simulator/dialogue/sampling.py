"""Generation of sentences from patterns, with sample values for slots and fields."""

import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from offhook.testing.simulator.dialogue.slots import SlotKind, spoken_samples
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech.vocabulary import Phrase
from offhook.yamlfile import Place

FIELD: Final = re.compile(r"\{([^{}]*)\}")
"""Pattern of a slot or field that is filled in in a text of the agent: `{day}`."""

HEARD: Final = "heard"
"""Field of `off_topic` that is the caller's own words."""

_SLOT: Final = re.compile(r"\$([a-z_][a-z0-9_]*)")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")

MOST: Final = 200
"""Sentences that are generated from one pattern at most."""

EACH: Final = 120
"""Total weight of a pattern's sentences, whatever their number."""


def whole(text: str, place: Place | None) -> Phrase:
    """Return a sentence without slots as a phrase."""
    return Phrase(" ".join(words(text)), place, EACH)


def caller_phrases(
    text: str, kinds: Mapping[str, SlotKind], place: Place | None
) -> Iterator[Phrase]:
    """Yield a phrase of an intent with sample values for its slots."""
    text = text.lower()
    names = _SLOT.findall(text)
    if not names:
        yield whole(text, place)
        return
    said = {name: kinds[name].samples() for name in names if name in kinds}
    yield from _made(text, _SLOT, said, place)


def agent_phrases(
    text: str,
    kinds: Mapping[str, SlotKind],
    examples: Mapping[str, Sequence[Any]],
    functions: Iterable[str],
    place: Place | None,
) -> Iterator[Phrase]:
    """Yield the sentences of an agent's text, with sample values for slots and fields.

    A sentence with the caller's own words is left out, for nobody knows them before.
    """
    for sentence in _SENTENCE_END.split(text.strip()):
        names = FIELD.findall(sentence)
        if HEARD in names:
            continue
        said: dict[str, list[str]] = {}
        for name in names:
            if name in kinds:
                said[name] = _values(kinds[name])
            elif name == "function":
                said[name] = [function.replace("_", " ") for function in functions] or ["none"]
            else:
                values = examples.get(name, ())
                said[name] = [way for value in values for way in spoken_samples(value)] or [""]
        if said:
            yield from _made(sentence, FIELD, said, place)
        elif words(sentence):
            yield whole(sentence, place)


def _values(kind: SlotKind) -> list[str]:
    """Return the sample values of a kind, as an agent says them."""
    parsed = (kind.parse(words(sample), 0) for sample in kind.samples())
    return list(dict.fromkeys(kind.say(found[0]) for found in parsed if found))


def _made(
    pattern: str, slot: re.Pattern[str], said: Mapping[str, Sequence[str]], place: Place | None
) -> Iterator[Phrase]:
    names = list(said)
    made: Counter[str] = Counter()
    for ways in _chosen([said[name] for name in names], pattern):
        filled = dict(zip(names, ways, strict=True))
        text = slot.sub(lambda found, f=filled: f.get(found[1], found[0]), pattern)  # type: ignore[misc]
        made[" ".join(words(text))] += 1
    share = EACH / made.total()
    for text, count in made.items():
        yield Phrase(text, place, max(1, round(share * count)))


def _chosen(said: Sequence[Sequence[str]], seed: str) -> Iterator[tuple[str, ...]]:
    """Yield sample values for the slots: all combinations, or at most MOST shuffled ones."""
    if math.prod(map(len, said)) <= MOST:
        yield from itertools.product(*said)
        return
    random_ = random.Random(seed)  # the same for the same pattern, in every run
    turns = zip(*(_shuffled(ways, random_) for ways in said), strict=True)
    yield from itertools.islice(turns, MOST)


def _shuffled(ways: Sequence[str], random_: random.Random) -> Iterator[str]:
    """Yield all ways in a random order, again and again without end."""
    while True:
        yield from random_.sample(ways, len(ways))
