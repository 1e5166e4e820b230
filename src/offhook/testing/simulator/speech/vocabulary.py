"""Sentences that a recogniser must expect, with their places in a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from offhook.yamlfile import Place


@dataclass(frozen=True, slots=True)
class Phrase:
    """Sentence that may be said. Numbers must be spelt out in words; case does not matter.

    A phrase with a greater `weight` is expected more often.
    """

    text: str
    place: Place | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Sentences that may be said, and pronunciations of words that the dictionary lacks.

    Pronunciations are in the phones of CMU's dictionary: `offhook: "AO F HH UH K"`.
    """

    phrases: tuple[Phrase, ...]
    pronunciations: Mapping[str, str] = field(default_factory=dict)
