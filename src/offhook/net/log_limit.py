"""A bound on the log lines that unknown clients can cause.

A line that an unknown client can cause by asking again comes from the logger `offhook.refused`, or
from a library. Of each kind of such a line the first LINES in a minute are written. The rest is
counted, and the count is logged when the minute is over, with the next line of the log.
"""

import logging
from collections.abc import Iterator
from typing import Final

LINES: Final = 10
"""Lines of one kind that are written in PERIOD_S."""

PERIOD_S: Final = 60.0

KINDS_MAX: Final = 50
"""Kinds that are told apart; all others are one."""

LENGTH_MAX: Final = 600
"""Characters of the words of such a line."""

_REFUSED: Final = "offhook.refused"
_LIBRARIES: Final = ("asyncio", "uvicorn", "uvicorn.error")
"""Loggers of libraries that log connections. Each is one kind: their words quote what came."""


class LogLimit:
    """A bound on the records that one handler writes."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def admits(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written, and count it if not."""
        if record.name == _REFUSED:
            key = (record.name, str(record.msg))
            record.msg, record.args = record.getMessage()[:LENGTH_MAX], None
        elif record.name in _LIBRARIES:
            key = (record.name, "")
        else:
            return True
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                key = (_REFUSED, "other lines")
            kind = self._kinds.setdefault(key, _Kind(record.created))
        kind.lines += 1
        return kind.lines <= LINES

    def counted(self, now: float) -> Iterator[tuple[int, str]]:
        """Yield each kind whose minute is over: how many lines were not written, and which.

        `now` is of the wall clock, as records are: one that goes back begins a new minute.
        """
        for key, kind in list(self._kinds.items()):
            if not 0 <= now - kind.since < PERIOD_S:
                del self._kinds[key]
                if kind.lines > LINES:
                    name, words = key
                    yield kind.lines - LINES, words.partition(":")[0] or name


class _Kind:
    def __init__(self, since: float) -> None:
        self.since = since
        self.lines = 0
