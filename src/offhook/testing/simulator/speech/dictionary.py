"""Dictionary of the recogniser: known words and their pronunciations."""

import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from offhook.errors import UserError
from offhook.testing.simulator.speech.vocabulary import Vocabulary
from offhook.text.extras import install_command
from offhook.yamlfile import Finding, InvalidFileError

Spoken: TypeAlias = tuple[str, ...]
"""Pronunciation of a word, in phones of CMU's dictionary."""

_NEAR: Final = 3


def model() -> Path:
    """Return the folder of the English model. Raises UserError E-EAR-03 without a recogniser."""
    try:
        import pocketsphinx
    except ImportError:
        raise UserError(
            "E-EAR-03",
            "There is no recogniser here: pocketsphinx is not installed.",
            f"Install it: {install_command('local')}",
        ) from None
    return Path(pocketsphinx.get_model_path()) / "en-us"


@functools.cache
def _known() -> Mapping[str, tuple[Spoken, ...]]:
    """Return every word of the dictionary, with its pronunciations."""
    known: dict[str, tuple[Spoken, ...]] = {}
    with (model() / "cmudict-en-us.dict").open(encoding="utf-8") as lines:
        for line in lines:
            entry, *phones = line.split()
            word = entry.partition("(")[0]
            known[word] = (*known.get(word, ()), tuple(phones))
    return known


@functools.cache
def phones() -> frozenset[str]:
    """Return every phone that the model knows."""
    return frozenset(phone for ways in _known().values() for way in ways for phone in way)


def words_of(vocabulary: Vocabulary) -> Iterator[tuple[list[str], int]]:
    """Yield each phrase as words in lower case, with its weight."""
    for phrase in vocabulary.phrases:
        spoken = phrase.text.lower().split()
        if spoken:
            yield spoken, phrase.weight


def _own(vocabulary: Vocabulary) -> dict[str, str]:
    return {word.lower(): spoken for word, spoken in vocabulary.pronunciations.items()}


def check(vocabulary: Vocabulary) -> list[Finding]:
    """List each unknown word once, with its place, and each invalid pronunciation.

    Raises UserError E-EAR-03 where there is no recogniser.
    """
    findings = []
    told: set[str] = set()
    own = _own(vocabulary)
    for word, spoken in own.items():
        wrong = [phone for phone in spoken.split() if phone not in phones()]
        if wrong or not spoken.split():
            what = f"{wrong[0]}, which is no phone of CMU's" if wrong else "no phones"
            fix = f"Write them as the dictionary does: {' '.join(sorted(phones()))}."
            findings.append(Finding("error", f'The pronunciation of "{word}" has {what}.', fix))
    for phrase in vocabulary.phrases:
        for word in phrase.text.lower().split():
            if word in told or word in own or word in _known():
                continue
            told.add(word)
            near = difflib.get_close_matches(word, _known(), n=_NEAR)
            fix = f"Add it to pronunciations, in CMU's phones, such as {word}: HH AH L OW"
            fix += f"; or use one of: {', '.join(near)}." if near else "."
            text = f'The recogniser does not know the word "{word}".'
            findings.append(Finding("error", text, fix, phrase.place))
    return findings


def lines(vocabulary: Vocabulary) -> Iterable[str]:
    """Yield the dictionary of a vocabulary line by line. Raises InvalidFileError E-EAR-01."""
    findings = check(vocabulary)
    if findings:
        raise InvalidFileError("E-EAR-01", findings)
    needed = dict.fromkeys(word for spoken, _ in words_of(vocabulary) for word in spoken)
    own = _own(vocabulary)
    for word in needed:
        ways = [tuple(own[word].split())] if word in own else _known()[word]
        for count, way in enumerate(ways, 1):
            entry = word if count == 1 else f"{word}({count})"
            yield f"{entry} {' '.join(way)}"
