"""Progress of the follower of the journals, for other processes."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from offhook.journal import segments
from offhook.journal.folders import process_folders
from offhook.journal.legacy import LegacyJournal

NUMBERS_APART: Final = 1 << 22
"""Numbers between the first lines of two processes that start at once."""


def next_first(root: Path, least: int) -> int:
    """Return a first number for a process: `least`, or more where others are near it.

    Raises OSError.
    """
    firsts = (
        header.process_first for folder in process_folders(root) for _, header in _segments(folder)
    )
    return max([least, *(first + NUMBERS_APART for first in firsts)])


def last_lines(root: Path) -> dict[str, int]:
    """Return the number of the last line of each process's journal. Raises OSError."""
    return {folder.name: _last(folder) for folder in process_folders(root)}


def waiting_lines(root: Path, last: Mapping[str, int]) -> int:
    """Return how many lines up to these the journals still have. Raises OSError.

    Those of an earlier version's journal count, too.
    """
    legacy = LegacyJournal(root)
    try:
        found = sum(1 for _ in legacy.lines(0))
    finally:
        legacy.close()
    for folder in process_folders(root):
        if folder.name in last:
            found += max(0, last[folder.name] - _done(folder))
    return found


def _segments(folder: Path) -> Iterator[tuple[int, segments.SegmentHeader]]:
    for index in segments.indexes(folder):
        try:
            fd = os.open(segments.path_of(folder, index), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            header = segments.read_header(fd, folder.name)
            if header is not None:
                yield fd, header
        finally:
            os.close(fd)


def _last(folder: Path) -> int:
    """Return the number of the last line of a process; 0 when it has none."""
    seed, last = segments.seed_of(folder.name), 0
    for fd, header in _segments(folder):
        place = segments.read_place(fd)
        last = header.first - 1 if place is None else place.number
        at: int | None = segments.BEGIN if place is None else place.at
        while at is not None:
            batch = segments.read_batch(fd, at, seed)
            if batch is None:
                at = segments.find_batch(fd, at, seed)
            else:
                last, at = batch.last, batch.end
    return last


def _done(folder: Path) -> int:
    """Return the number of the last line that the follower is done with."""
    done = 0
    for fd, header in _segments(folder):
        place = segments.read_place(fd)
        done = max(done, header.first - 1 if place is None and not done else 0)
        if place is None:
            break
        done = place.number
    return done
