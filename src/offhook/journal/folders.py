"""The folder of journals, in which each call process has a folder of its own, and its locks.

What is in it: README.md.
"""

import contextlib
import os
import re
import sys
import uuid
from pathlib import Path
from typing import Final

import msgspec

if sys.platform != "win32":
    import fcntl

MACHINE: Final = "id"
LOCK: Final = "lock"
PROCESS: Final = "process.json"

DEAD_LETTERS: Final = "dead-letters"
"""The file of dead letters in the folder of journals: lines that the database refused."""

EARLIER_DEAD_LETTERS: Final = "spoilt"
"""Name of that file in earlier versions. It stays, and its lines are erased with their calls."""

_PROCESS_ID: Final = re.compile(r"[0-9a-f]{32}")


class ProcessInfo(msgspec.Struct, frozen=True):
    """The content of `process.json`: what a call process tells other processes about itself.

    Attributes:
        pid: The process.
        version: Its version of Offhook.
        started_ms: Wall clock at its start, in ms since 1970.
        control: Path of its control socket; empty for none.
        port: Port at which it answers Twilio; 0: not known.
        public_url: Its public URL, perhaps of the command line; empty for none.
        supervisor: The process that started it, and may start another in its place; 0 for none.
    """

    pid: int
    version: str
    started_ms: int
    control: str = ""
    port: int = 0
    public_url: str = ""
    supervisor: int = 0


class FileLock:
    """A lock that one owner at a time has, until it closes it or its process ends.

    Without locks of files (Windows), every owner gets it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file of the lock, made if need be. Raises OSError when it cannot be."""
        self.path: Final = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        """Take the lock; return whether this owner has it. Returns at once."""
        return self._lock(exclusive=True)

    @property
    def is_taken(self) -> bool:
        """True while another owner has the lock; without locks of files, always."""
        if sys.platform == "win32" or not self._lock(exclusive=False):
            return True
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return False

    def _lock(self, *, exclusive: bool) -> bool:
        if sys.platform != "win32":
            try:
                how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
                fcntl.flock(self._fd, how | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        """Give the lock back. A second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def machine_id(root: Path) -> str:
    """Return the id of the data folder with these journals; empty without any.

    The database tells its calls from those of other data folders by it.
    """
    try:
        return (root / MACHINE).read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""


def make_machine_id(root: Path) -> str:
    """Return the id of the data folder, and make both if need be. Raises OSError."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = machine_id(root)
    if len(known) == 32:
        return known
    # Two processes may start at once: the first to link its file decides.
    made = uuid.uuid4().hex
    new = root / f".{MACHINE}-{made}"
    new.write_text(made + "\n", encoding="ascii")
    try:
        if known:  # damaged: no database knows it
            new.replace(root / MACHINE)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(new, root / MACHINE)
    finally:
        new.unlink(missing_ok=True)
    return machine_id(root)


def process_folders(root: Path) -> list[Path]:
    """Return the folders of call processes, living and dead."""
    try:
        with os.scandir(root) as found:
            return sorted(Path(one.path) for one in found if _PROCESS_ID.fullmatch(one.name))
    except FileNotFoundError:
        return []


def is_alive(folder: Path) -> bool:
    """Return whether the call process with this folder still runs."""
    try:
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(fd)
    lock = FileLock(folder / LOCK)
    try:
        return lock.is_taken
    finally:
        lock.close()


def write_process_info(folder: Path, info: ProcessInfo) -> None:
    """Write `process.json`, at once as a whole. Raises OSError."""
    new = folder / f".{PROCESS}"
    new.write_bytes(msgspec.json.encode(info) + b"\n")
    new.replace(folder / PROCESS)


def read_process_info(folder: Path) -> ProcessInfo | None:
    """Return the content of `process.json`, or None when it is missing or damaged."""
    try:
        return msgspec.json.decode((folder / PROCESS).read_bytes(), type=ProcessInfo)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
