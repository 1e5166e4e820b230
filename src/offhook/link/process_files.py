"""Files by which an operator's process finds the call processes of a data folder."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

if sys.platform != "win32":
    import fcntl

FILE: Final = "process.json"
LOCK: Final = "lock"


class ProcessFile(msgspec.Struct, frozen=True):
    """Content of the file of a call process: journal/<process id>/process.json."""

    pid: int
    version: str
    started_ms: int
    control: str
    """Path of the socket on which the process takes requests."""

    def write(self, folder: Path) -> None:
        """Write the file, completely or not at all, into the folder of the process."""
        new = folder / f".{FILE}"
        new.write_bytes(msgspec.json.encode(self))
        new.replace(folder / FILE)


def live_processes(journal: Path) -> dict[str, ProcessFile]:
    """Return the files of the processes that live, the newest first, by their process ids.

    A process lives as long as the lock in its folder is held. Folders without a file, and files
    that cannot be read, are left out.
    """
    found = {}
    with contextlib.suppress(OSError):
        for folder in journal.iterdir():
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                file = msgspec.json.decode((folder / FILE).read_bytes(), type=ProcessFile)
                if _is_locked(folder / LOCK):
                    found[folder.name] = file
    return dict(sorted(found.items(), key=lambda each: each[1].started_ms, reverse=True))


def _is_locked(path: Path) -> bool:
    """Return whether a process holds the lock. A shared lock is tried: others may look, too."""
    if sys.platform == "win32":
        return False
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
