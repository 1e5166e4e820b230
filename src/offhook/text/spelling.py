"""Likely misspellings: which known word a written one was probably meant to be.

A name that is merely unknown must not be taken for a misspelling: vendors add models and voices
faster than any list follows, and theirs differ by as little as a letter (`gpt-5.1`, `gpt-5.2`;
`kit`, `kim`). So only what fingers do counts: two letters in the wrong order, a letter twice, and,
in a word of some length whose first letter is right, one letter that is missing, added or another.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

_Slip: TypeAlias = Literal["order", "twice", "letter"]

_RUNS: Final = re.compile(r"[a-z]+|[0-9]+")
_ALIKE: Final = str.maketrans({"o": "0", "l": "1"})

KEY_MIN: Final = 4
"""Letters of a key, at least, of which one may be wrong."""

KEY_LONG: Final = 8
"""Letters of a key, at least, of which two may be wrong."""

NAME_MIN: Final = 6
"""Letters of a proper name, at least, of which one may be wrong: shorter ones have too many
neighbours that are names as well."""


def folded(text: str) -> str:
    """Return a text without case and punctuation, and with look-alikes (`o0`, `l1`) made equal."""
    return re.sub(r"[^a-z0-9]", "", text.lower()).translate(_ALIKE)


def meant_key(written: str, known: Iterable[str]) -> str | None:
    """Return the known key that `written` is probably a misspelling of; None: it is another key."""
    known = sorted(known)
    for key in known:
        if folded(key) == folded(written):
            return key
    for key in known:
        if len(key) >= KEY_MIN and _slip(written, key) is not None:
            return key
    for key in known:
        is_near = len(key) >= KEY_LONG and abs(len(written) - len(key)) <= 2
        if is_near and _edits(written, key) <= 2:
            return key
    return None


def meant_name(
    written: str, known: Iterable[str], is_proper: Callable[[list[str], int], bool]
) -> str | None:
    """Return the known name of a model that `written` is probably a misspelling of, if any.

    Names are compared in runs of letters and of digits, of which one may differ. `is_proper` tells
    of a run, by its index, whether it is a proper name, which has neighbours that are names too.
    """
    known = sorted(known)
    for name in known:
        if folded(name) == folded(written):
            return name
    runs = _RUNS.findall(written.lower())
    for name in known:
        of_name = _RUNS.findall(name.lower())
        differ = [i for i, pair in enumerate(zip(runs, of_name, strict=False)) if len({*pair}) > 1]
        if len(runs) != len(of_name) or len(differ) != 1:
            continue
        at = differ[0]
        if _is_slip(runs[at], of_name[at], proper=is_proper(of_name, at)):
            return name
    return None


def _is_slip(written: str, meant: str, *, proper: bool) -> bool:
    slip = _slip(written, meant)
    if meant.isdigit() or written.isdigit():
        # Another number is another version; the same digit twice is not.
        return slip == "twice" and meant.isdigit() and written.isdigit()
    if slip == "letter":
        return written[0] == meant[0] and len(meant) >= (NAME_MIN if proper else KEY_MIN)
    return slip is not None and len(meant) > 2


def _slip(written: str, meant: str) -> _Slip | None:
    """Return what the fingers did to `meant`, if they did one thing."""
    if written == meant:
        return None
    begin = 0
    while begin < min(len(written), len(meant)) and written[begin] == meant[begin]:
        begin += 1
    end = 0
    rest = min(len(written), len(meant)) - begin
    while end < rest and written[-1 - end] == meant[-1 - end]:
        end += 1
    one, other = written[begin : len(written) - end], meant[begin : len(meant) - end]
    if len(one) == len(other) == 2 and one == other[::-1]:
        return "order"
    if len(one) + len(other) == 1:
        return "twice" if begin and (one or other) == meant[begin - 1] else "letter"
    return "letter" if len(one) == len(other) == 1 else None


def _edits(one: str, other: str) -> int:
    """Return how many letters must be added, removed, replaced or swapped with the next."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, of_other in enumerate(other, 1):
            cost = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (letter != of_other))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == of_other:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
