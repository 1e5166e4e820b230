"""The journal of one call process: what it appends survives its death at once.

The kernel has it then; `JournalReader.sync` makes it survive the machine's. Space is taken ahead,
so that a disk that fills up takes some more lines. The format: segments.py.
"""

import os
import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from offhook.errors import UserError
from offhook.journal import segments
from offhook.journal.folders import LOCK, FileLock
from offhook.journal.segments import BEGIN, SEGMENT_BYTES, JournalBatch, SegmentHeader

AHEAD: Final = 2
"""Segments whose space is taken beside the one that is written."""

_NEW: Final = ".new-"
_ABANDONED_S: Final = 3600
"""Seconds after which a folder whose process died while making it is removed."""


class JournalFullError(Exception):
    """Error: the disk, or the journal's limit, has no room for another batch."""


class _Begun(NamedTuple):
    """A segment that was begun, and the number of its first line."""

    ordinal: int
    first: int


class JournalWriter:
    """The journal of this process, in `folder`, whose name is the process's id.

    Numbers of lines rise by one from `first`. One thread at a time may use it. It takes
    `limit_bytes` at most. Raises UserError E-REC-01 when the folder cannot be made.

    Attributes:
        folder: The folder, locked until `close`.
        first: Number of the first line.
        next: Number of the next line.
    """

    def __init__(self, folder: Path, limit_bytes: int, first: int) -> None:
        self.folder: Final = folder
        self.first: Final = first
        self.next = first
        self._id = folder.name
        self._seed = segments.seed_of(self._id)
        self._limit = limit_bytes
        self._spare: deque[int] = deque()
        self._begun: deque[_Begun] = deque()
        self._done = first - 1
        self._fd = -1
        self._end = BEGIN
        try:
            self._make()
        except OSError as error:
            raise cannot_be_made(folder.parent, error) from None

    def _make(self) -> None:
        """Make the folder under another name: readers find it locked, or not at all."""
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.folder.with_name(f"{_NEW}{self._id}")
        new.mkdir(mode=0o700)
        try:
            _remove_abandoned(new)
            self._lock = FileLock(new / LOCK)
            self._lock.take()
            for index in range(1, AHEAD + 2):
                os.close(segments.create(segments.path_of(new, index)))
                self._spare.append(index)
            self._next_index = AHEAD + 2
            self._begin(new)
            new.rename(self.folder)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def append(self, lines: Sequence[bytes]) -> int:
        """Append lines in one write, and return the number of the first.

        Raises JournalFullError when none of them was kept, and ValueError for lines that are not
        a batch.
        """
        number = self.next
        batch = segments.pack(self._seed, number, lines)
        try:
            if self._end + len(batch) > SEGMENT_BYTES:
                self._begin(self.folder)
            written = os.pwrite(self._fd, batch, self._end)
        except OSError as error:
            raise JournalFullError(error.strerror) from None
        if written != len(batch):
            # `_end` stays: the next attempt writes over the part.
            raise JournalFullError("the disk took a part")
        self._end += len(batch)
        self.next += len(lines)
        return number

    def take_space(self) -> bool:
        """Take the space of the next segments; return whether there is all of it."""
        try:
            while len(self._spare) < AHEAD:
                self._create()
        except (OSError, JournalFullError):
            return False
        return True

    def _begin(self, folder: Path) -> None:
        if not self._spare:
            self._create()
        path = segments.path_of(folder, self._spare[0])
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            segments.write_header(fd, self._id, SegmentHeader(self.first, self.next))
        except OSError:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._end = fd, BEGIN
        self._begun.append(_Begun(self._spare.popleft(), self.next))

    def _create(self) -> None:
        taken = len(segments.indexes(self.folder)) * SEGMENT_BYTES
        if taken + SEGMENT_BYTES > self._limit:
            raise JournalFullError("records.journal_limit is reached")
        os.close(segments.create(segments.path_of(self.folder, self._next_index)))
        self._spare.append(self._next_index)
        self._next_index += 1

    # --- the follower's progress ---------------------------------------------------------------

    def done(self) -> int:
        """Return the number of the last line that the follower is done with. Raises OSError."""
        while len(self._begun) > 1 and not self._path(self._begun[0]).exists():
            self._begun.popleft()
            self._done = max(self._done, self._begun[0].first - 1)
        for begun in self._begun:
            place = self._place(begun)
            if place is None:
                break
            self._done = min(max(self._done, place.number), self.next - 1)
        return self._done

    def _path(self, begun: _Begun) -> Path:
        return segments.path_of(self.folder, begun.ordinal)

    def _place(self, begun: _Begun) -> segments.FollowerPlace | None:
        try:
            fd = os.open(self._path(begun), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return segments.read_place(fd)
        finally:
            os.close(fd)

    def oldest(self) -> bytes | None:
        """Return the oldest line that is not done, as far as it can be read. Raises OSError."""
        number = self.done() + 1
        begun = next((one for one in reversed(self._begun) if one.first <= number), None)
        if begun is None or number >= self.next:
            return None
        fd = os.open(self._path(begun), os.O_RDONLY | os.O_CLOEXEC)
        try:
            place = segments.read_place(fd)
            at = BEGIN if place is None else place.at
            batch: JournalBatch | None = segments.read_batch(fd, at, self._seed)
        finally:
            os.close(fd)
        return batch.lines[0] if batch is not None else None

    @property
    def filled(self) -> float:
        """Share of the limit that lines take which are not done, as of the last `done`."""
        return ((len(self._begun) - 1) * SEGMENT_BYTES + self._end) / self._limit

    def close(self) -> None:
        """Give back the space that no line took, and unlock the folder, which stays for its lines.

        Without any line the folder goes, too. A second time does nothing: another file may have
        the descriptor's number by then.
        """
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        os.close(fd)
        for index in self._spare:
            segments.path_of(self.folder, index).unlink(missing_ok=True)
        if self.next == self.first:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def cannot_be_made(folder: Path, error: OSError) -> UserError:
    """Return the error of a folder of journals that cannot be used."""
    return UserError(
        "E-REC-01",
        f"The journal {folder} cannot be made: {error.strerror}.",
        "Make room for 12 MB there and let this user write, or set records.folder.",
    )


def _remove_abandoned(mine: Path) -> None:
    now = mine.stat().st_mtime
    for other in mine.parent.glob(f"{_NEW}*"):
        if now - other.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(other, ignore_errors=True)
