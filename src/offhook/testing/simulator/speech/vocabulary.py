"""The sentences that a recogniser is to expect, and where each was written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from offhook.yamlfile import Place


@dataclass(frozen=True, slots=True)
class Phrase:
    """One sentence that may be said, in words: numbers are spelt out, case does not matter.

    Of two phrases the one with the greater `weight` is expected more often.
    """

    text: str
    place: Place | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All that may be said. `pronunciations` are of words that the dictionary lacks.

    They are written in the phones of CMU's dictionary: `offhook: "AO F HH UH K"`.
    """

    phrases: tuple[Phrase, ...]
    pronunciations: Mapping[str, str] = field(default_factory=dict)
