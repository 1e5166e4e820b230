"""Files of live calls: what another process needs to go on with a call whose process has died.

    records.folder/journal/live/<process id>/<CallSid>      lines of JSON, the last may be torn

The journal's thread writes a line here before it writes it into its journal, and removes a file
when its journal has the end of the call. So a file may have lines that the journal lacks: the next
process keeps them in its own, and no line twice (keeper.py). While a process lives, its lock is
taken (folders.py), and nobody else touches its files. Those of a dead process belong to the process
that first renames them into a folder of its own.
"""

import contextlib
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from offhook.journal.folders import is_alive, process_folders

_log: Final = logging.getLogger("offhook.records")

LIVE: Final = "live"
"""The folder of live calls' files, in the folder of journals."""

FILE_BYTES: Final = 4 * 1024 * 1024
"""Bytes that the file of a call may have: some hours of talk. A call beyond is not taken over."""

_CALL_SID: Final = re.compile(r"CA[0-9a-f]{32}")


class LiveLine(NamedTuple):
    """A line for the file of a call. `begins`: it makes the file, if it is missing.

    Without a line, the call is over, and the file is to be removed.
    """

    call_sid: str
    line: bytes | None
    begins: bool = False


class LiveCallFile(NamedTuple):
    """The file of a call that was live when its process died: its whole lines, in order."""

    call_sid: str
    lines: list[bytes]
    process_id: str = ""
    """The process that had it; empty if that one has handed it over."""


class _OpenFile:
    __slots__ = ("descriptor", "is_torn", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self.is_torn = False
        """True after a write of which the disk took a part."""


class LiveCallFiles:
    """The files of one process's live calls, below `root`, the folder of journals.

    One thread at a time may use it. Raises OSError when the folder cannot be made.
    """

    def __init__(self, root: Path, process_id: str) -> None:
        self._root = root
        self._folder = root / LIVE / process_id
        self._files: dict[str, _OpenFile] = {}
        self._given_up: set[str] = set()
        """Live calls whose files were given up: one that began now would have half of the call."""
        self._folder.mkdir(parents=True, mode=0o700)

    def write(self, lines: Iterable[LiveLine]) -> set[str]:
        """Append lines, in one write for each call. Return the calls that are over.

        A call whose file cannot be written goes on, and is not taken over by another process: its
        file is removed, and none begins until the call is over.
        """
        gathered: dict[str, list[bytes]] = {}
        over: set[str] = set()
        for call_sid, line, begins in lines:
            if call_sid in self._given_up:
                if line is None:
                    self._given_up.remove(call_sid)
            elif line is None:
                if call_sid in self._files:
                    over.add(call_sid)
                else:
                    gathered.pop(call_sid, None)
            elif call_sid in over:
                if begins:  # The call has come back.
                    self.remove(call_sid)
                    over.remove(call_sid)
                    gathered[call_sid] = [line]
            elif begins or call_sid in self._files or call_sid in gathered:
                gathered.setdefault(call_sid, []).append(line)
        for call_sid, its in gathered.items():
            try:
                self._append(call_sid, its)
            except OSError as error:
                self._give_up(call_sid, error.strerror or type(error).__name__)
        self._given_up -= over
        return over

    def _append(self, call_sid: str, lines: list[bytes]) -> None:
        file = self._files.get(call_sid)
        if file is None:
            if _CALL_SID.fullmatch(call_sid) is None:
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self._folder / call_sid, flags, 0o600)
            file = self._files[call_sid] = _OpenFile(descriptor, os.fstat(descriptor).st_size)
        lines.append(b"")
        data = b"\n".join(lines)
        if file.is_torn:
            # Ends the torn line, so that those behind it can be read.
            data = b"\n" + data
        if file.size + len(data) > FILE_BYTES:
            self._give_up(call_sid, "it has grown too large")
            return
        written = os.write(file.descriptor, data)
        file.size += written
        file.is_torn = written != len(data)

    def _give_up(self, call_sid: str, why: str) -> None:
        _log.warning(
            "E-REC-07 the file of a live call is given up (%s): the call goes on, and ends if this"
            " process dies",
            why,
            extra={"call_sid": call_sid},
        )
        self.remove(call_sid)
        self._given_up.add(call_sid)

    def remove(self, call_sid: str) -> None:
        """Remove the file of a call, if there is one."""
        file = self._files.pop(call_sid, None)
        if file is not None:
            os.close(file.descriptor)
            with contextlib.suppress(OSError):
                (self._folder / call_sid).unlink()

    def take_over(self) -> list[LiveCallFile]:
        """Make the files of dead processes this one's own; return them. Blocks; raises nothing.

        Files that another process has handed over, and nobody has adopted, are among them. A file
        that cannot be read is left out, and removed.
        """
        found: list[LiveCallFile] = []
        try:
            folders = process_folders(self._root / LIVE)
        except OSError as error:
            _log.error("the files of live calls cannot be listed: %s", error.strerror)
            return found
        for folder in folders:
            if folder == self._folder:
                with contextlib.suppress(OSError):
                    given = (self.adopt(path.name) for path in list(folder.iterdir()))
                    found += [file for file in given if file is not None]
            elif not is_alive(self._root / folder.name):
                with contextlib.suppress(OSError):
                    for path in list(folder.iterdir()):
                        taken = self._take(path)
                        if taken is not None:
                            found.append(taken)
                    folder.rmdir()
        return found

    def hand_over(self, call_sid: str, process_id: str) -> bool:
        """Make the file of a call another live process's; return whether there was one.

        From its move on that process has the call; if it dies at once, so has the next one.
        """
        file = self._files.pop(call_sid, None)
        if file is not None:
            os.close(file.descriptor)
        try:
            (self._folder / call_sid).rename(self._root / LIVE / process_id / call_sid)
        except OSError as error:
            _log.warning(
                "the file of a live call is not handed over: %s",
                error.strerror,
                extra={"call_sid": call_sid},
            )
            return False
        return True

    def adopt(self, call_sid: str) -> LiveCallFile | None:
        """Open a file that another process has handed over; None without one, or if it is bad."""
        if _CALL_SID.fullmatch(call_sid) is None or call_sid in self._files:
            return None
        return self._open(self._folder / call_sid)

    def _take(self, path: Path) -> LiveCallFile | None:
        mine = self._folder / path.name
        try:
            path.rename(mine)
        except OSError:
            return None  # Another process was first.
        taken = self._open(mine)
        return None if taken is None else taken._replace(process_id=path.parent.name)

    def _open(self, mine: Path) -> LiveCallFile | None:
        call_sid = mine.name
        try:
            descriptor = os.open(mine, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                data = _read(descriptor)
                whole = data.rfind(b"\n") + 1
                # The process may have died within the last line.
                os.ftruncate(descriptor, whole)
                if _CALL_SID.fullmatch(call_sid) is None:
                    raise OSError(0, "its name is no CallSid")
            except OSError:
                os.close(descriptor)
                raise
        except FileNotFoundError:
            return None  # Another process may hand it over in this moment: it is not removed.
        except OSError as error:
            _log.warning("the file of a live call cannot be read: %s", error.strerror)
            with contextlib.suppress(OSError):
                mine.unlink()
            return None
        self._files[call_sid] = _OpenFile(descriptor, whole)
        return LiveCallFile(call_sid, data[:whole].split(b"\n")[:-1])

    def close(self) -> None:
        """Close the files; those of calls that are not over stay."""
        for file in self._files.values():
            os.close(file.descriptor)
        self._files.clear()
        with contextlib.suppress(OSError):
            self._folder.rmdir()


def _read(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > FILE_BYTES:
        raise OSError(0, "it is too large")
    parts: list[bytes] = []
    while part := os.pread(descriptor, FILE_BYTES, sum(map(len, parts))):
        parts.append(part)
    return b"".join(parts)


def held_calls(root: Path) -> set[str]:
    """Return the CallSids of all live calls' files, whichever process has them. Raises OSError.

    Looks twice: a file that moves from one folder to another between two looks is seen by one.
    """
    return {
        name for _ in range(2) for folder in process_folders(root / LIVE) for name in _names(folder)
    }


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def remove_untaken(root: Path, process_id: str) -> None:
    """Remove the files of a dead process: no other has taken them. Raises OSError."""
    folder = root / LIVE / process_id
    for name in _names(folder):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()
