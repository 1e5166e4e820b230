"""Regular expressions of users, run by RE2: their time grows linearly with the text.

Python's own engine backtracks. A pattern such as (a+)+$ takes it hours on a text that a caller can
say, and the event loop, on which all calls are, would stand still. RE2 has no lookaround and no
backreferences, which is why its time is linear.
"""

import re
from collections.abc import Iterator
from typing import Final

SIZE_MAX: Final = 4000
"""Instructions of a compiled pattern. `\\d{13,19}` has 30, a word 10, `\\p{L}` 500."""

WORK_MAX: Final = 20_000_000
"""Instructions times characters that one text may take: some 0.1 s in the worst case."""

MATCH_WORK: Final = 40_000
"""Work that a match adds: 500 matches use up WORK_MAX of one text."""

PIECE_MAX: Final = 2000
"""Characters that are given to a pattern at once."""

_HALF: Final = re.compile("[\ud800-\udfff]")


class PatternError(ValueError):
    """Error: a text is not a usable expression. Its message says why."""


class UserPattern:
    """A regular expression of a user. Raises PatternError."""

    __slots__ = ("_compiled", "_cost", "text")

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
        self._cost = int(self._compiled.programsize)
        if self._cost > SIZE_MAX:
            raise PatternError(f"it is too large: {self._cost} steps, and {SIZE_MAX} are allowed")

    def finds_nothing_at_all(self) -> bool:
        """Return whether it finds the empty text, which is everywhere."""
        return self._compiled.search("") is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the matches in a text. If they took too long, the rest of the text is one span.

        What begins in one piece of PIECE_MAX characters and ends in the next is not found; pieces
        end at a space where there is one.
        """
        text = _HALF.sub("\ufffd", text)  # RE2 reads UTF-8, which has no halves of characters
        work = start = 0
        while start < len(text):
            end = len(text)
            if end - start > PIECE_MAX:
                end = text.rfind(" ", start + 1, start + PIECE_MAX) + 1 or start + PIECE_MAX
            at = start
            for match in self._compiled.finditer(text, start, end):
                work += self._cost * (end - at) + MATCH_WORK
                at = match.end()
                if work > WORK_MAX:
                    yield match.start(), len(text)
                    return
                if match.end() > match.start():
                    yield match.start(), match.end()
            work += self._cost * (end - at)
            start = end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserPattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"UserPattern({self.text!r})"
