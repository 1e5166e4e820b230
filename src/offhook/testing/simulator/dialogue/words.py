"""Conversion of text to words as a recogniser returns them: lower case, numbers spelt out."""

import re
from collections.abc import Sequence
from typing import Final

_UNITS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBERS: Final = {word: value for value, word in enumerate(_UNITS)}
_BY_TEN: Final = {word: 10 * value for value, word in enumerate(_TENS, 2)}

_TOKEN: Final = re.compile(
    r"(?P<slot>\$[a-z_][a-z0-9_]*)"
    r"|(?P<clock>\b([01]?\d|2[0-3]):[0-5]\d\b)"
    r"|(?P<half>\b(?:[ap]\.m\b\.?|[ap]m\b))"
    r"|(?P<number>\d+)"
    r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)"
)


def words(text: str) -> list[str]:
    """Split text into words: "Table for 2, at 7:30 p.m.?" is table for two at seven thirty pm.

    A word that begins with `$` stands for a slot and stays as it is.
    """
    found: list[str] = []
    for token in _TOKEN.finditer(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")):
        kind, said = token.lastgroup, token[0]
        if kind == "clock":
            found += _clock(said)
        elif kind == "half":
            found.append(said.replace(".", ""))
        elif kind == "number":
            found += spelt(int(said)) if len(said) <= 2 else one_by_one(said)
        else:
            found.append(said)
    return found


def spelt(number: int) -> list[str]:
    """Spell a whole number from 0 to 99."""
    if number < 20:
        return [_UNITS[number]]
    tens, unit = divmod(number, 10)
    return [_TENS[tens - 2], *([_UNITS[unit]] if unit else [])]


def one_by_one(digits: str) -> list[str]:
    """Return each digit as a word."""
    return [_UNITS[int(digit)] for digit in digits]


def number(tokens: Sequence[str], start: int) -> tuple[int, int] | None:
    """Parse a number from 0 to 99 at `start`: return it and its end; None without a number."""
    if start >= len(tokens):
        return None
    word = tokens[start]
    if word in _NUMBERS:
        return _NUMBERS[word], start + 1
    if word not in _BY_TEN:
        return None
    unit = _NUMBERS.get(tokens[start + 1], 0) if start + 1 < len(tokens) else 0
    if 1 <= unit <= 9:
        return _BY_TEN[word] + unit, start + 2
    return _BY_TEN[word], start + 1


def _clock(said: str) -> list[str]:
    """Return "19:30" as the words "seven thirty pm", and "7:30" without am or pm."""
    hour, minute = map(int, said.split(":"))
    half = []
    if hour > 12 or hour == 0 or said.startswith("0"):
        half = ["pm" if hour >= 12 else "am"]
        hour = hour % 12 or 12
    if minute == 0:
        return [*spelt(hour), *(half or ["o'clock"])]
    if minute < 10:
        return [*spelt(hour), "oh", *spelt(minute), *half]
    return [*spelt(hour), *spelt(minute), *half]
