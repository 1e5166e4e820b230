"""Regular expressions of users, run by RE2: their time grows linearly with the text.

Python's own engine backtracks. A pattern such as (a+)+$ takes it hours on a text that a caller can
say, and the event loop, on which all calls are, would stand still. RE2 has no lookaround and no
backreferences, which is why its time is linear.
"""

import math
import re
from typing import Final, NamedTuple

SIZE_MAX: Final = 4000
"""Instructions of a compiled pattern. `\\d{13,19}` has 30, a word 10, `\\p{L}` 500."""

WORK_MAX: Final = 4_000_000
"""Instructions times characters that all patterns together may take in one text.

With a pattern that keeps RE2 from its fast way that is the time of two frames of audio, 40 ms; with
ordinary ones below a tenth of it.
"""

MATCH_WORK: Final = 1500
"""Work that a search adds, whatever it finds: Python takes as long for it."""

PIECE_MAX: Final = 1000
"""Characters that are given to a pattern at once."""

_HALF: Final = re.compile("[\ud800-\udfff]")


class PatternError(ValueError):
    """Error: a text is not a usable expression. Its message says why."""


class Found(NamedTuple):
    """Matches of a pattern in a text, in order, and the work that they took."""

    spans: list[tuple[int, int]]
    work: int


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

    def work_without_finds(self, length: int) -> int:
        """Return the work of reading a text of that many characters in which nothing is found."""
        return self._cost * length + MATCH_WORK * math.ceil(length / PIECE_MAX)

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
                search = self._cost * (end - at) + MATCH_WORK
                if work + search > work_max:
                    return Found([*found, (at, len(text))], work)
                work += search
                match = next(matches, None)
                if match is None:
                    break
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
