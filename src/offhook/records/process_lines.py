"""Lines of one call process that the database has not taken yet, decoded."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from offhook.journal.entries import JournalEntry, MalformedEntryError, decode
from offhook.journal.reader import JournalReader

BATCH_LINES: Final = 2000
"""Lines of a process that are decoded at once, and the most of one transaction."""


class MalformedLine(NamedTuple):
    """A line that is not an entry of this version, and why. `wall_ms` is that of its neighbour."""

    number: int
    line: bytes
    why: str
    wall_ms: int


Decoded: TypeAlias = JournalEntry | MalformedLine


def decoded(numbered: Sequence[tuple[int, bytes]]) -> list[Decoded]:
    """Return the entries of lines, and the lines that have none."""
    found: list[Decoded] = []
    wall_ms = 0
    for number, line in numbered:
        try:
            entry = decode(number, line)
        except MalformedEntryError as bad:
            found.append(MalformedLine(number, line, str(bad), wall_ms))
        else:
            found.append(entry)
            wall_ms = entry.wall_ms
    return found


class ProcessLines:
    """Reads the lines of a process in batches. Raises OSError as JournalReader does.

    Attributes:
        reader: Reader of the process's journal.
        has_more: True if more lines may follow those that were read.
        is_ready: True once it is known which lines the database has.
        applied: Number of the last line that the database is known to have.
    """

    def __init__(self, folder: Path) -> None:
        self.reader: Final = JournalReader(folder, follows=True)
        self.process_id: Final = folder.name
        self.has_more = True
        self.is_ready = False
        self.applied = 0
        self._is_trimmed = False
        self._waiting: deque[Decoded] = deque()

    def start_after(self, applied: int) -> None:
        """Read again from the first line with a higher number, which the database does not have."""
        self._waiting.clear()
        self.has_more = True
        self.applied = applied
        self.reader.start_after(applied)

    def fill(self) -> None:
        """Read the next lines, unless some are waiting."""
        if self._waiting:
            return
        numbered = self.reader.read(BATCH_LINES)
        self.has_more = len(numbered) == BATCH_LINES
        self._waiting.extend(decoded(numbered))

    @property
    def oldest_ms(self) -> int | None:
        """Wall clock of the next line, in ms since 1970; None when none waits."""
        return self._waiting[0].wall_ms if self._waiting else None

    def take(self, until_ms: float) -> list[Decoded]:
        """Return the next line, and those behind it that are not younger than `until_ms`."""
        taken = [self._waiting.popleft()]
        while self._waiting and self._waiting[0].wall_ms <= until_ms:
            taken.append(self._waiting.popleft())
        return taken

    @property
    def is_over(self) -> bool:
        """True once the process is dead and all of its lines were taken."""
        return self.reader.is_over and not self._waiting

    def trim(self) -> None:
        """Give back what a dead process did not use, once."""
        if not self._is_trimmed and self.reader.is_over:
            self._is_trimmed = True
            self.reader.trim()
