"""Reading of a process's journal, by the process that follows it or by one that only looks."""

import logging
import os
import shutil
from collections import deque
from pathlib import Path
from typing import Final, NamedTuple

from offhook.journal import segments
from offhook.journal.folders import LOCK, FileLock
from offhook.journal.segments import BATCH_MAX, BEGIN, SEGMENT_BYTES, FollowerPlace, JournalBatch

_log: Final = logging.getLogger("offhook.records")

STUCK_LOOKS: Final = 40
"""Looks without a line after which something is sought behind what cannot be read: 2 s."""


AHEAD_BYTES: Final = 4096
"""Bytes from the beginning of a segment that are zeros while it is not begun."""


class _Mark(NamedTuple):
    """A batch that was read and is not done: its segment, last number, begin and end."""

    ordinal: int
    last: int
    at: int
    end: int


class _Segment(NamedTuple):
    """A segment that was begun. `first` is the number of its first line; 0: not known."""

    ordinal: int
    fd: int
    first: int


class JournalReader:
    """Reads the journal in a process's folder, while it is written or afterwards.

    What is only half there has not been written yet. What is damaged is told to the log and
    counted, and the lines behind it are read. With `follows` the reader is the follower, of which
    there is one: it begins where the last one was done, and may call `done`, `trim` and `remove`.
    Else it begins with the first line that is there, and may miss lines that the follower wipes.

    Raises OSError when the folder cannot be read, as does `read`.

    Attributes:
        folder: The process's folder; its name is the process's id.
        first: Number of the first line of the process; 0 while it is not known.
        lost: Number of lines that were damaged.
    """

    def __init__(self, folder: Path, *, follows: bool = False) -> None:
        self.folder: Final = folder
        self.first = 0
        self.lost = 0
        self._id = folder.name
        self._seed = segments.seed_of(self._id)
        self._follows = follows
        self._lock = FileLock(folder / LOCK)
        self._is_dead = False
        self._at_end = False
        self._fds: dict[int, int] = {}
        self._rest: deque[tuple[int, bytes]] = deque()
        self._marks: deque[_Mark] = deque()
        self._looks = 0
        self._index = 0
        self._at = BEGIN
        self._next = 0
        """Number of the next line; 0 while it is not known."""
        self._done = 0
        try:
            self._open_first()
        except OSError:
            self.close()
            raise

    # --- reading -------------------------------------------------------------------------------

    def read(self, limit: int) -> list[tuple[int, bytes]]:
        """Return the next lines in order with their numbers, each once, `limit` at most."""
        rest = self._rest
        while len(rest) < limit and (batch := self._next_batch()) is not None:
            if batch.last <= self._done:
                self.done(self._done)
                continue
            numbered = enumerate(batch.lines, batch.number)
            rest.extend(one for one in numbered if one[0] > self._done)
        return [rest.popleft() for _ in range(min(limit, len(rest)))]

    def skip(self) -> None:
        """Pass over every line that is there now."""
        while (following := self._following()) is not None:
            self._next = 0
            self._move_to(following)
        while self._next_batch() is not None:
            pass

    @property
    def passed(self) -> int:
        """Number of the last line that `read` has returned or `skip` has passed over."""
        return (self._rest[0][0] if self._rest else self._next) - 1

    @property
    def is_dead(self) -> bool:
        """True once the process is dead; there may be lines of it that were not read."""
        if not self._is_dead and not self._lock.is_taken:
            self._is_dead, self._at_end = True, False
        return self._is_dead

    @property
    def is_over(self) -> bool:
        """True once the process is dead and `read` has found nothing more since."""
        return self.is_dead and self._at_end and not self._rest

    def _next_batch(self) -> JournalBatch | None:
        """Read one batch; None when there is no other yet."""
        if self._at_end:
            return None
        while self._index or self._open_first():
            batch = segments.read_batch(self._fds[self._index], self._at, self._seed)
            if batch is None:
                if not self._pass_over():
                    return None
                continue
            if batch.number < self._next:  # a copy: no line is read twice
                self._at = batch.end
                continue
            if self._next and batch.number > self._next:
                self._tell_lost(batch.number - self._next)
            if self._follows:
                self._marks.append(_Mark(self._index, batch.last, self._at, batch.end))
            self._looks = 0
            self._at, self._next = batch.end, batch.last + 1
            return batch
        self._at_end = self._is_dead
        return None

    def _pass_over(self) -> bool:
        """Move on from where no batch is; return whether there is something to be read there."""
        self._looks += 1
        is_stuck = self._is_dead or self._looks % STUCK_LOOKS == 0
        if not is_stuck and self._at < SEGMENT_BYTES - BATCH_MAX:
            return False
        fd = self._fds[self._index]
        if not self._follows and is_stuck and self._pass_over_wiped(fd):
            return True
        following = self._following()
        # A batch may have come before the next segment was begun, and since it was looked for.
        if self._is_dead or following is not None or segments.is_begun(fd, self._at):
            found = segments.find_batch(fd, self._at, self._seed)
            if found is not None:
                if following is not None:
                    os.close(following.fd)
                self._at = found
                return True
        if following is None:
            self._at_end = self._is_dead
            return False
        self._move_to(following)
        return True

    def _pass_over_wiped(self, fd: int) -> bool:
        """Move on behind lines that the follower has wiped before this reader came to them."""
        place = segments.read_place(fd)
        if place is None or place.at <= self._at:
            return False
        self._at, self._next = place.at, place.number + 1
        return True

    def _tell_lost(self, count: int) -> None:
        if not self._follows:  # the follower has wiped them, or tells of them itself
            return
        self.lost += count
        _log.error("the journal %s is damaged: %d lines are lost", self.folder, count)

    # --- segments ------------------------------------------------------------------------------

    def _open_first(self) -> bool:
        following = self._following()
        if following is None:
            self._at_end = self._is_dead
            return False
        self._move_to(following)
        if not self._follows:
            return True
        fd = following.fd
        place = segments.read_place(fd)
        if place is not None:
            self._done, self._at, self._next = place.number, place.at, place.number + 1
            # A kill may have come between the note of the place and the wiping.
            os.pwrite(fd, bytes(place.at - place.wiped_at), place.wiped_at)
        else:
            self._at = segments.find_batch(fd, BEGIN, self._seed) or BEGIN
        return True

    def _following(self) -> _Segment | None:
        """Open the next segment that was begun."""
        for index in segments.indexes(self.folder):
            if index <= self._index:
                continue
            try:
                flags = (os.O_RDWR if self._follows else os.O_RDONLY) | os.O_CLOEXEC
                fd = os.open(segments.path_of(self.folder, index), flags)
            except FileNotFoundError:  # the follower is done with it
                continue
            header = segments.read_header(fd, self._id)
            if header is not None:
                self.first = self.first or header.process_first
                return _Segment(index, fd, header.first)
            # With a damaged header, batches still tell whose they are. Space that is taken ahead is
            # not searched while its process may begin it.
            is_ahead = not self._is_dead and segments.is_blank(os.pread(fd, AHEAD_BYTES, 0))
            if not is_ahead and segments.find_batch(fd, BEGIN, self._seed) is not None:
                return _Segment(index, fd, 0)
            os.close(fd)
        return None

    def _move_to(self, segment: _Segment) -> None:
        self._fds[segment.ordinal] = segment.fd
        self._index, self._at, self._looks = segment.ordinal, BEGIN, 0
        self._next = self._next or segment.first
        if not self._follows:
            self._pass_over_wiped(segment.fd)
        self._release()

    # --- following -----------------------------------------------------------------------------

    def done(self, number: int) -> None:
        """Wipe every line up to this number, and remember the place. Raises OSError.

        The database has them, or is known to have them: none of them is read again.
        """
        self._done = max(self._done, number)
        while self._marks and self._marks[0].last <= self._done:
            first = last = self._marks[0]
            covered = 0
            for mark in self._marks:
                if mark.ordinal != first.ordinal or mark.last > self._done:
                    break
                last = mark
                covered += 1
            fd = self._fds[first.ordinal]
            segments.write_place(fd, FollowerPlace(last.last, last.end, first.at))
            os.pwrite(fd, bytes(last.end - first.at), first.at)
            for _ in range(covered):
                self._marks.popleft()
        self._release()

    def start_after(self, number: int) -> None:
        """Read again from the first line that is not done, leaving out those up to `number`."""
        self._close_segments()
        self._index, self._next, self._looks, self._at_end = 0, 0, 0, False
        self._rest.clear()
        self._marks.clear()
        self._open_first()
        self._done = max(self._done, number)

    def sync(self) -> None:
        """Sync what was written so far to the disk. Raises OSError."""
        for fd in self._fds.values():
            os.fdatasync(fd)

    def trim(self) -> None:
        """Give back space that a dead process had taken and did not use. Raises OSError."""
        fd = self._fds.get(self._index)
        if not self._at_end or fd is None:
            return
        for index in segments.indexes(self.folder):
            path = segments.path_of(self.folder, index)
            if index > self._index and segments.is_blank(path.read_bytes()):
                path.unlink(missing_ok=True)
        if segments.is_blank(os.pread(fd, SEGMENT_BYTES, self._at)):
            os.truncate(fd, self._at)

    def remove(self) -> None:
        """Delete the folder of a dead process, all of whose lines are done."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Close the files."""
        self._close_segments()
        self._lock.close()

    def _close_segments(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def _release(self) -> None:
        """Close the segments before the present one, and delete those that are done."""
        oldest = self._marks[0].ordinal if self._marks else self._index
        for index in [index for index in self._fds if index < oldest]:
            os.close(self._fds.pop(index))
            if self._follows:
                segments.path_of(self.folder, index).unlink(missing_ok=True)
