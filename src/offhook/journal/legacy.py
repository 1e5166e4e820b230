"""The journal of earlier versions, one for the data folder: it is read once, and removed.

A segment has 64 bytes of header (magic, id of the folder, number of the first line), and then
lines: length, CRC-32 of the line that begins with the low half of its number, the line. A length
of 0 ends them.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from offhook.journal.folders import LOCK, FileLock, machine_id
from offhook.journal.segments import LINE_MAX

_MAGIC: Final = b"offhook journal 1\n"
_HEADER: Final = struct.Struct("<18s32sQ")
_RECORD: Final = struct.Struct("<II")
_BEGIN: Final = 64


class LegacyJournal:
    """The lines of an earlier version's journal in the folder of journals. Raises OSError."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths = list(root.glob("*.lines"))
        self._lock = FileLock(root / LOCK) if self._paths else None

    @property
    def exists(self) -> bool:
        """True if there is such a journal."""
        return bool(self._paths)

    def take(self) -> bool:
        """Return whether there is such a journal, and no server of that version has it."""
        return self._lock is not None and self._lock.take()

    def lines(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Yield the lines with a higher number, in order."""
        owner = machine_id(self._root).encode()
        found = []
        for path in self._paths:
            data = path.read_bytes()
            if len(data) >= _HEADER.size:
                magic, of, first = _HEADER.unpack_from(data)
                if magic == _MAGIC and of == owner:
                    found.append((first, path))
        for first, path in sorted(found):
            for number, line in enumerate(_lines(path.read_bytes(), first), first):
                if number > after:
                    yield number, line

    def remove(self) -> None:
        """Delete the journal, all of whose lines the database has."""
        for path in self._paths:
            path.unlink(missing_ok=True)
        self.close()
        (self._root / LOCK).unlink(missing_ok=True)

    def close(self) -> None:
        """Unlock the journal."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _lines(data: bytes, number: int) -> Iterator[bytes]:
    at = _BEGIN
    while at + _RECORD.size <= len(data):
        size, check = _RECORD.unpack_from(data, at)
        line = data[at + _RECORD.size : at + _RECORD.size + size]
        if not 0 < size <= LINE_MAX or len(line) != size:
            return
        if zlib.crc32(line, number & 0xFFFFFFFF) != check:
            return
        yield line
        at += _RECORD.size + size
        number += 1
