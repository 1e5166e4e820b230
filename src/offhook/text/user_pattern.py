"""Regular expressions of users, run by RE2: their time grows linearly with the text.

Python's own engine backtracks. A pattern such as (a+)+$ takes it hours on a text that a caller can
say, and it holds the interpreter meanwhile: all calls would stand still, whatever thread it is in.
RE2 lets other threads run. It has no lookaround and no backreferences, so that its time is linear.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

SIZE_MAX: Final = 4000
"""Instructions of a compiled pattern. `\\d{13,19}` has 30, a word 10, `\\p{L}` 500."""

WORK_MAX: Final = 4_000_000
"""Instructions times characters that all patterns together may take in one text.

With a pattern that keeps RE2 from its fast way that is the time of two frames of audio, 40 ms; with
ordinary ones below a tenth of it.
"""

SEARCH_WORK: Final = 300
"""Work that each search adds: Python takes 2 µs for it, even if nothing is found."""

FIND_WORK: Final = 1200
"""Work that each find adds: Python takes 10 µs for it."""

PIECE_MAX: Final = 1000
"""Characters of one text that are given to a pattern at once."""

JOINED_MAX: Final = 250
"""Characters of short texts that are searched together: longer, and each find costs more."""

_BETWEEN: Final = "\n"
"""Separator of short texts: with the flag `m`, `^` and `$` are beside it, `\\b` as at an end."""

_OF_WHOLE: Final = re.compile(r"\\[Az]|\(\?[^:)]*-")
"""Parts that may tell a text's end from a line's although `(?m)` comes first."""

_HALF: Final = re.compile("[\ud800-\udfff]")


class PatternError(ValueError):
    """Error: a text is not a usable expression. Its message says why."""


class Found(NamedTuple):
    """Matches of a pattern in a text, in order, and the work that they took.

    With `lacks_work` the last one is what was not searched.
    """

    spans: list[tuple[int, int]]
    work: int
    lacks_work: bool = False


class FoundInTexts(NamedTuple):
    """Matches of a pattern in each of several texts, and the work that they took together.

    With `lacks_work` some texts, or ends of texts, were not searched, and each is one match.
    """

    spans: list[list[tuple[int, int]]]
    work: int
    lacks_work: bool


class UserPattern:
    """A regular expression of a user. Raises PatternError."""

    __slots__ = ("_compiled", "_cost", "_of_lines", "text")

    def __init__(self, text: str) -> None:
        import re2  # only a configuration with patterns needs it

        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        try:
            self._compiled = re2.compile(text, options)
        except re2.error as error:
            (why,) = error.args
            raise PatternError(why.decode() if isinstance(why, bytes) else str(why)) from None
        except UnicodeEncodeError:
            raise PatternError("half of a character") from None
        self.text: Final = text
        self._of_lines = self._compiled
        """Finds something in joined texts wherever the pattern does in one; None: it is not known.

        It may find more, such as a match that goes on in the next text.
        """
        if _OF_WHOLE.search(text):
            self._of_lines = None
        elif "^" in text or "$" in text:
            self._of_lines = re2.compile(f"(?m){text}", options)
        self._cost = int(self._compiled.programsize)
        if self._cost > SIZE_MAX:
            raise PatternError(f"it is too large: {self._cost} steps, and {SIZE_MAX} are allowed")

    def finds_nothing_at_all(self) -> bool:
        """Return whether it finds the empty text, which is everywhere."""
        return self._compiled.search("") is not None

    def work_without_finds(self, texts: Sequence[str]) -> int:
        """Return the work of reading texts in which nothing is found."""
        work = FIND_WORK  # each search is begun only if there is enough for a find
        for group in _groups(texts):
            if len(group) == 1 or self._of_lines is None:
                searches = sum(math.ceil(len(text) / PIECE_MAX) for text in group)
                work += self._cost * sum(map(len, group)) + SEARCH_WORK * searches
            else:
                work += self._cost * (sum(map(len, group)) + len(group) - 1) + SEARCH_WORK
        return work

    def find_in(self, texts: Sequence[str], work_max: int = WORK_MAX) -> FoundInTexts:
        """Return the matches in each of several texts, as `find` finds them in it alone.

        Short texts are searched together first, and alone only where that finds something.
        """
        spans: list[list[tuple[int, int]]] = []
        work, lacks_work = 0, False
        least = self._cost * JOINED_MAX + SEARCH_WORK + FIND_WORK
        for group in _groups(texts):
            if lacks_work and work + least > work_max:
                break
            touched: Sequence[bool] = [True]
            if len(group) > 1:
                touched, took = self._touched(group, work_max - work)
                work += took
            for text, is_touched in zip(group, touched, strict=True):
                found = self.find(text, work_max - work) if is_touched else Found([], 0)
                spans.append(found.spans)
                work += found.work
                lacks_work = lacks_work or found.lacks_work
        spans += ([(0, len(text))] if text else [] for text in texts[len(spans) :])
        return FoundInTexts(spans, work, lacks_work)

    def _touched(self, group: Sequence[str], work_max: int) -> tuple[Sequence[bool], int]:
        """Return for each text whether it must be searched alone, and the work of finding out."""
        if self._of_lines is None:
            return [True] * len(group), 0
        joined = _HALF.sub("\ufffd", _BETWEEN.join(group))
        touched = [False] * len(group)
        matches, at, work = self._of_lines.finditer(joined), 0, 0
        index = begin = 0
        while True:
            search = self._cost * (len(joined) - at) + SEARCH_WORK
            if work + search + FIND_WORK > work_max:
                start, at = at, len(joined)
                is_over = True
            else:
                work += search
                match = next(matches, None)
                if match is None:
                    return touched, work
                work += FIND_WORK
                start, at = match.span()
                is_over = False
            # Also a text that it ends or begins beside: an empty match may be of either.
            while index < len(group) and begin + len(group[index]) < start:
                begin += len(group[index]) + 1
                index += 1
            last, last_begin = index, begin
            while last < len(group) and last_begin <= at:
                touched[last] = True
                last_begin += len(group[last]) + 1
                last += 1
            if is_over:
                return touched, work

    def find(self, text: str, work_max: int = WORK_MAX) -> Found:
        """Return the matches in a text. If they took too much work, the rest of it is one span.

        What begins in one piece of PIECE_MAX characters and ends in the next is not found; pieces
        end at a space where there is one.
        """
        text = _HALF.sub("\ufffd", text)  # RE2 reads UTF-8, which has no halves of characters
        found: list[tuple[int, int]] = []
        work = start = 0
        while start < len(text):
            end = len(text)
            if end - start > PIECE_MAX:
                end = text.rfind(" ", start + 1, start + PIECE_MAX) + 1 or start + PIECE_MAX
            matches, at = self._compiled.finditer(text, start, end), start
            while True:
                # Counted before the search, which cannot be stopped, and as if it read all of the
                # piece: a pattern may look ahead as far as that for each of its matches.
                search = self._cost * (end - at) + SEARCH_WORK
                if work + search + FIND_WORK > work_max:
                    return Found([*found, (at, len(text))], work, lacks_work=True)
                work += search
                match = next(matches, None)
                if match is None:
                    break
                work += FIND_WORK
                at = match.end()
                if match.end() > match.start():
                    found.append((match.start(), match.end()))
            start = end
        return Found(found, work)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserPattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"UserPattern({self.text!r})"


def _groups(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield texts, as many together as fit into JOINED_MAX characters, at least one."""
    group: list[str] = []
    size = 0
    for text in texts:
        if group and size + len(text) > JOINED_MAX:
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text) + 1
    if group:
        yield group
