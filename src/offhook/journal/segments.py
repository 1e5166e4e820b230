"""The format of a segment: a file of a process's journal, whose space is taken beforehand.

It has a header of 128 bytes, batches of lines, and zeros where nothing is written yet: README.md.
"""

import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

SEGMENT_BYTES: Final = 4 * 1024 * 1024

LINE_MAX: Final = 1024 * 1024
"""Bytes of one line."""

BATCH_BYTES: Final = 512 * 1024
"""Bytes of lines from which on a batch takes no further line."""

BATCH_MAX: Final = BATCH_BYTES + LINE_MAX + 64 * 1024
"""Bytes of the longest batch."""

BEGIN: Final = 128
"""Offset in bytes at which the first batch begins."""

_NAME: Final = re.compile(r"[0-9]{8}\.lines")

_MAGIC: Final = b"offhook journal 2\n"
_HEADER: Final = struct.Struct("<18s32sQQ")
"""Magic, process id, first number of the process, and of this segment; a CRC-32 follows."""
_PLACE: Final = struct.Struct("<QQQ")
"""Last number that is done, where the batch behind it begins, and up to where all was zeros before;
a CRC-32 follows."""
_PLACE_AT: Final = 96
_CHECK: Final = struct.Struct("<I")

_MARK: Final = b"\xff\x00\xfe\n"
"""The beginning of a batch's head. Lines are UTF-8 and have no such byte."""
_HEAD: Final = struct.Struct("<4sIIIQ")
"""Mark, CRC-32 of what follows, bytes of the lines, how many lines, number of the first."""
_CHECKED_AT: Final = 8
HEAD_BYTES: Final = _HEAD.size


class SegmentHeader(NamedTuple):
    """The writer's part of a header: number of the process's first line, and of the segment's."""

    process_first: int
    first: int


class FollowerPlace(NamedTuple):
    """The follower's part of a header: how far the lines of the segment are done.

    Attributes:
        number: Number of the last line that is done.
        at: Where the first batch begins that is not done as a whole.
        wiped_at: Where the wiping of the last batches began, which a kill may have interrupted.
    """

    number: int
    at: int
    wiped_at: int


class JournalBatch(NamedTuple):
    """A batch as it was read; the next one begins at `end`."""

    number: int
    lines: list[bytes]
    end: int

    @property
    def last(self) -> int:
        """Number of the last line."""
        return self.number + len(self.lines) - 1


def path_of(folder: Path, index: int) -> Path:
    """Return the path of a process's segment, counted from 1."""
    return folder / f"{index:08}.lines"


def indexes(folder: Path) -> list[int]:
    """Return which segments there are, begun or not. Raises OSError."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:  # the follower has removed it
        return []
    return sorted(int(name[:8]) for name in names if _NAME.fullmatch(name))


def seed_of(process_id: str) -> int:
    """Return the number with which the checksums of a process begin."""
    return zlib.crc32(process_id.encode())


def create(path: Path) -> int:
    """Make a segment whose space is taken, and return its file descriptor. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, SEGMENT_BYTES)
        else:  # macOS
            os.pwrite(fd, bytes(SEGMENT_BYTES), 0)
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


# --- headers -------------------------------------------------------------------------------------


def write_header(fd: int, process_id: str, header: SegmentHeader) -> None:
    """Begin a segment. Raises OSError."""
    packed = _HEADER.pack(_MAGIC, process_id.encode(), *header)
    os.pwrite(fd, packed + _CHECK.pack(zlib.crc32(packed)), 0)


def read_header(fd: int, process_id: str) -> SegmentHeader | None:
    """Return the writer's part of the header, or None unless it is one of this process."""
    packed = _checked(os.pread(fd, _HEADER.size + _CHECK.size, 0))
    if packed is None:
        return None
    magic, owner, process_first, first = _HEADER.unpack(packed)
    if magic != _MAGIC or owner != process_id.encode():
        return None
    return SegmentHeader(process_first, first)


def write_place(fd: int, place: FollowerPlace) -> None:
    """Write the follower's part of the header. Raises OSError."""
    packed = _PLACE.pack(*place)
    os.pwrite(fd, packed + _CHECK.pack(zlib.crc32(packed)), _PLACE_AT)


def read_place(fd: int) -> FollowerPlace | None:
    """Return the follower's part of the header, or None when it has none, or a damaged one."""
    packed = _checked(os.pread(fd, _PLACE.size + _CHECK.size, _PLACE_AT))
    if packed is None:
        return None
    place = FollowerPlace(*_PLACE.unpack(packed))
    return place if BEGIN <= place.wiped_at <= place.at <= SEGMENT_BYTES else None


def _checked(data: bytes) -> bytes | None:
    packed, check = data[: -_CHECK.size], data[-_CHECK.size :]
    # CRC-32 of zeros is not zero: a header that was never written does not pass.
    return packed if len(packed) > 0 and check == _CHECK.pack(zlib.crc32(packed)) else None


# --- batches -------------------------------------------------------------------------------------


def pack(seed: int, number: int, lines: Sequence[bytes]) -> bytes:
    """Return a batch as it is written. Raises ValueError for lines that it cannot hold."""
    text = b"\n".join(lines)
    if not text or text.count(b"\n") != len(lines) - 1:
        raise ValueError("a line with a newline, or no line")
    if len(text) > BATCH_MAX - HEAD_BYTES - 8:
        raise ValueError("more than a batch")
    head = _HEAD.pack(_MARK, 0, len(text), len(lines), number)[_CHECKED_AT:]
    check = zlib.crc32(text, zlib.crc32(head, seed))
    return b"".join((_MARK, _CHECK.pack(check), head, text, bytes(-len(text) % 8)))


def read_batch(fd: int, at: int, seed: int) -> JournalBatch | None:
    """Return the batch that begins there, or None when none does that is whole."""
    head = os.pread(fd, HEAD_BYTES, at)
    if len(head) < HEAD_BYTES or head[:4] != _MARK:
        return None
    _, check, size, count, number = _HEAD.unpack(head)
    if not 0 < size <= BATCH_MAX:
        return None
    text = os.pread(fd, size, at + HEAD_BYTES)
    if len(text) != size or zlib.crc32(text, zlib.crc32(head[_CHECKED_AT:], seed)) != check:
        return None
    lines = text.split(b"\n")
    if len(lines) != count:
        return None
    return JournalBatch(number, lines, at + HEAD_BYTES + size + -size % 8)


def find_batch(fd: int, at: int, seed: int) -> int | None:
    """Return where the first whole batch at or behind a place begins, or None without any."""
    data = os.pread(fd, SEGMENT_BYTES, at)
    found = data.find(_MARK)
    while found >= 0:
        if (at + found) % 8 == 0 and read_batch(fd, at + found, seed) is not None:
            return at + found
        found = data.find(_MARK, found + 1)
    return None


def last_number(folder: Path) -> int | None:
    """Return the number of the last line in the journal of a dead process; None if nothing tells.

    Lines that the follower has wiped count, too. Raises OSError.
    """
    seed = seed_of(folder.name)
    for index in reversed(indexes(folder)):
        try:
            fd = os.open(path_of(folder, index), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # the follower is done with it
            continue
        try:
            header = read_header(fd, folder.name)
            if header is not None:
                return _last_of(fd, seed, header.first - 1)
        finally:
            os.close(fd)
    return None


def _last_of(fd: int, seed: int, last: int) -> int:
    """Return the number of the last line of a segment; `last` if it has none."""
    place, at = read_place(fd), BEGIN
    if place is not None:
        last, at = place.number, place.at
    while True:
        batch = read_batch(fd, at, seed)
        if batch is not None:
            last, at = batch.last, batch.end
            continue
        found = find_batch(fd, at, seed)
        if found is None:
            return last
        at = found


def is_begun(fd: int, at: int) -> bool:
    """Return whether a batch, or a part of one, begins there."""
    return not is_blank(os.pread(fd, HEAD_BYTES, at))


def is_blank(data: bytes) -> bool:
    """Return whether data is all zeros."""
    return not data.strip(b"\0")
