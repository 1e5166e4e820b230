"""The journal: the file that holds each line until the database has it.

A line that was appended survives the end of the process at once, because the kernel has it, and the
end of the machine once `sync` was called. The space is taken beforehand, so a full disk does not
stop it. How it lies on the disk: README.md.
"""

import logging
import os
import struct
import threading
import uuid
import zlib
from collections import deque
from pathlib import Path
from typing import Final, Self

from offhook.errors import UserError

_log: Final = logging.getLogger("offhook.records")

SEGMENT_BYTES: Final = 8 * 1024 * 1024
SEGMENTS: Final = 8
"""Segments whose space is taken at the start: 64 MiB in all. Beyond, the journal grows."""

GAP: Final = 1 << 20
"""Numbers that are left out at each opening. A machine that lost its power may have lost the last
half minute of lines here, which the database has: their numbers must not be given twice."""

LINE_MAX: Final = 1024 * 1024
"""Bytes of one line."""

DEAD_LETTERS: Final = "spoilt"
"""The file of dead letters in a journal's folder: lines that the database refused."""

_MAGIC: Final = b"offhook journal 1\n"
_HEADER: Final = struct.Struct("<18s32sQ")
"""Magic, the journal's id, and the number of the first line of this segment."""
_RECORD: Final = struct.Struct("<II")
"""Length of the line, and the CRC-32 of its number and itself. Length 0: no line follows."""
_BEGIN: Final = 64


class JournalFullError(Exception):
    """Error: the disk has no room for another line."""


class _Segment:
    """A file of the journal. `first` is the number of its first line, `count` how many it has."""

    def __init__(self, path: Path, fd: int, first: int, count: int, end: int) -> None:
        self.path = path
        self.fd = fd
        self.first = first
        self.count = count
        self.end = end
        self.read_at = _BEGIN
        self.read_count = 0

    @property
    def next(self) -> int:
        return self.first + self.count


class Journal:
    """The lines of one server, in a folder of their own. Their numbers rise, with gaps.

    One process has it at a time. `append` is for one thread, everything else for the one that
    writes the database. Raises UserError E-REC-01 when the folder cannot be used and E-REC-02
    when another process has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_fd = _claim(folder)
            self.id: Final = _made_identity(folder)
            self._segments: deque[_Segment] = deque()
            self._free: list[_Segment] = []
            self._open_segments()
        except OSError as error:
            raise UserError(
                "E-REC-01",
                f"The journal {folder} cannot be made: {error.strerror}.",
                "Make room for 64 MB there and let this user write, or set records.folder.",
            ) from None
        self.first: Final = self._segments[-1].first
        """The number of the first line that is appended after this opening."""
        # Lines up to this number are done, as far as is known here.
        self._done = self._segments[0].first - 1

    # --- the appending thread ------------------------------------------------------------------

    def append(self, line: bytes) -> int:
        """Keep a line, and return its number. Raises JournalFullError if it is not kept."""
        if len(line) > LINE_MAX:
            raise ValueError("a line of more than 1 MiB")
        with self._lock:
            segment = self._segments[-1]
            try:
                if segment.end + _RECORD.size + len(line) > SEGMENT_BYTES:
                    segment = self._begin_segment()
                number = segment.next
                record = _RECORD.pack(len(line), _check(number, line)) + line
                if os.pwrite(segment.fd, record, segment.end) != len(record):
                    raise JournalFullError
            except OSError as error:
                raise JournalFullError(error.strerror) from None
            segment.end += len(record)
            segment.count += 1
            return number

    @property
    def waiting(self) -> int:
        """Number of lines that the database does not have yet."""
        with self._lock:
            return sum(segment.count - self._done_of(segment) for segment in self._segments)

    @property
    def filled(self) -> float:
        """Share of the space taken at the start that is in use; above 1, the journal has grown."""
        with self._lock:
            used = sum(segment.end for segment in self._segments)
        return used / (SEGMENTS * SEGMENT_BYTES)

    # --- the writing thread --------------------------------------------------------------------

    def read(self, limit: int) -> list[tuple[int, bytes]]:
        """Return the next lines in order, each once, `limit` at most; see `rewind`."""
        lines: list[tuple[int, bytes]] = []
        with self._lock:
            reading = [(segment, segment.end) for segment in self._segments]
        for segment, end in reading:
            while segment.read_at < end and len(lines) < limit:
                found = _read(segment.fd, segment.read_at, segment.first + segment.read_count)
                if found is None:
                    # Only a disk that lost data could cause this.
                    _log.error("the journal is damaged: %d lines are lost", self.waiting)
                    segment.read_at = end
                    segment.read_count = segment.count
                    break
                lines.append((segment.first + segment.read_count, found))
                segment.read_at += _RECORD.size + len(found)
                segment.read_count += 1
        return lines

    def rewind(self) -> None:
        """Read again from the first line that is not done."""
        for segment in self._segments:
            segment.read_at, segment.read_count = _BEGIN, 0
            while segment.read_count < self._done_of(segment):
                size, _ = _RECORD.unpack(os.pread(segment.fd, _RECORD.size, segment.read_at))
                segment.read_at += _RECORD.size + size
                segment.read_count += 1

    def _done_of(self, segment: _Segment) -> int:
        return max(0, min(self._done + 1 - segment.first, segment.count))

    def done(self, number: int) -> None:
        """Wipe every line up to this one, which the database has, as soon as possible."""
        self._done = max(self._done, number)
        with self._lock:
            while len(self._segments) > 1 and self._segments[0].next <= number + 1:
                self._retire(self._segments.popleft())
            only = self._segments[0]
            if only.count and only.next <= number + 1:
                try:
                    self._wipe(only, only.next)
                except OSError as error:  # it is tried again after the next lines
                    _log.error("%s cannot be wiped: %s", only.path, error.strerror)

    def sync(self) -> None:
        """Sync the lines that were appended so far to the disk."""
        for segment in list(self._segments):
            os.fdatasync(segment.fd)

    def close(self) -> None:
        """Close the folder and unlock it. Lines that are not done stay for the next opening."""
        for segment in (*self._segments, *self._free):
            os.close(segment.fd)
        os.close(self._lock_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- segments ------------------------------------------------------------------------------

    def _open_segments(self) -> None:
        for path in sorted(self.folder.glob("*.lines")):
            segment = self._open(path)
            (self._segments if segment.count else self._free).append(segment)
        self._segments = deque(sorted(self._segments, key=lambda segment: segment.first))
        following = max((s.next for s in (*self._segments, *self._free)), default=1) + GAP
        while len(self._segments) + len(self._free) < SEGMENTS:
            self._free.append(self._create())
        segment = self._free.pop() if self._free else self._create()
        self._wipe(segment, following)
        self._segments.append(segment)

    def _open(self, path: Path) -> _Segment:
        fd = os.open(path, os.O_RDWR)
        first, count, end = _scan(fd, self.id.encode())
        return _Segment(path, fd, first, count, end)

    def _create(self) -> _Segment:
        taken = [int(path.stem) for path in self.folder.glob("*.lines") if path.stem.isdigit()]
        path = self.folder / f"{max(taken, default=0) + 1:04}.lines"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(fd, 0, SEGMENT_BYTES)
        except AttributeError:  # not on macOS or Windows
            os.pwrite(fd, bytes(SEGMENT_BYTES), 0)
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        segment = _Segment(path, fd, 1, 0, _BEGIN)
        self._wipe(segment, 1)
        return segment

    def _begin_segment(self) -> _Segment:
        following = self._segments[-1].next
        if not self._free:
            self._free.append(self._create())
        segment = self._free[-1]
        self._wipe(segment, following)
        self._segments.append(self._free.pop())
        return segment

    def _retire(self, segment: _Segment) -> None:
        try:
            if len(self._segments) + len(self._free) < SEGMENTS:
                self._wipe(segment, segment.next)
                self._free.append(segment)
                return
        except OSError as error:  # another takes its place when there is need of one
            _log.error("%s cannot be wiped, so it is deleted: %s", segment.path, error.strerror)
        os.close(segment.fd)
        try:
            segment.path.unlink()
        except OSError as error:
            _log.error("%s cannot be deleted: %s", segment.path, error.strerror)

    def _wipe(self, segment: _Segment, first: int) -> None:
        """Overwrite a segment with zeros: words of calls must not stay longer than needed."""
        used = max(segment.end - _BEGIN, 0) + _RECORD.size
        header = _HEADER.pack(_MAGIC, self.id.encode(), first).ljust(_BEGIN, b"\0")
        os.pwrite(segment.fd, header + bytes(used), 0)
        segment.first, segment.count, segment.end = first, 0, _BEGIN
        segment.read_at, segment.read_count = _BEGIN, 0


def waiting_in(folder: Path, applied: int) -> int:
    """Return how many lines beyond `applied` a journal has that another process holds."""
    known = identity_of(folder).encode()
    found = 0
    for path in folder.glob("*.lines"):
        fd = os.open(path, os.O_RDONLY)
        try:
            first, count, _ = _scan(fd, known)
        finally:
            os.close(fd)
        found += max(0, first + count - 1 - max(applied, first - 1))
    return found


def _scan(fd: int, identity: bytes) -> tuple[int, int, int]:
    """Return the number of a segment's first line, how many it holds, and where they end."""
    header = os.pread(fd, _HEADER.size, 0)
    first = 1
    if len(header) == _HEADER.size:
        magic, owner, number = _HEADER.unpack(header)
        if magic == _MAGIC and owner == identity:
            first = number
    end, count = _BEGIN, 0
    while (line := _read(fd, end, first + count)) is not None:
        end += _RECORD.size + len(line)
        count += 1
    return first, count, end


def _check(number: int, line: bytes) -> int:
    return zlib.crc32(line, number & 0xFFFFFFFF)


def _read(fd: int, at: int, number: int) -> bytes | None:
    head = os.pread(fd, _RECORD.size, at)
    if len(head) < _RECORD.size:
        return None
    size, check = _RECORD.unpack(head)
    if not 0 < size <= LINE_MAX:
        return None
    line = os.pread(fd, size, at + _RECORD.size)
    return line if len(line) == size and _check(number, line) == check else None


def identity_of(folder: Path) -> str:
    """Return the journal's id, by which the database tells its lines from those of other servers.

    Empty when there is no journal.
    """
    try:
        return (folder / "id").read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""


def _made_identity(folder: Path) -> str:
    known = identity_of(folder)
    if len(known) != 32:
        known = uuid.uuid4().hex
        (folder / "id").write_text(known + "\n", encoding="ascii")
    return known


def _claim(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        import fcntl
    except ImportError:  # Windows: two servers on one folder are the user's to avoid
        return fd
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise UserError(
            "E-REC-02",
            f"Another Offhook has the journal in {folder}.",
            "Stop it, or give this one a folder of its own: records.folder in offhook.yaml.",
        ) from None
    return fd
