"""The dials and texts of the last hour on disk, so that a restart does not lift a limit.

A file of fixed-width lines. Each is written and synced before the dial that it counts is handed
out. A process that dies in between has counted a dial that was never made, never the other way
round. The space is taken when the file is opened, and the oldest line is overwritten by the next:
the file does not grow, and a full disk does not stop it. A torn line fails its check sum, and its
dial was never handed out.

Each process has a file of its own, the first that no other process has: `dialled`, `dialled.2`, and
so on. A process that starts counts the entries of all of them.

An entry holds no phone number and no CallSid: 48 bits of a call's hash, and 20 bits of a
destination's, which thousands of numbers share.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from offhook.clock import MachineClocks
from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.concurrency.thread_job import ThreadJob
from offhook.errors import UserError

_log: Final = logging.getLogger("offhook.dials")

Kind: TypeAlias = Literal["call", "transfer", "text"]

FILE: Final = "dialled"
"""Name of the count's file in the folder of the records."""

HOUR_S: Final = 3600.0
"""Seconds of the sliding window in which limits count."""

FILES_MAX: Final = 16
"""Processes that may count in one folder at the same time."""

LINES_MIN: Final = 1024

KEEP_S: Final = 5.0
"""Seconds that a disk may take for one line; the dial is refused after that."""

_KINDS: Final[dict[bytes, Kind]] = {b"call": "call", b"transfer": "transfer", b"text": "text"}
_NONE: Final = "-"
_LINE: Final = re.compile(
    rb"([0-9]{12}) ([0-9]{14}) ([0-9]{14}) ([0-9a-f]{8}|-{8}) (call|transfer|text) +"
    rb"([0-9]{10}\.[0-9]{4}) ([0-9a-f]{12}|-{12}) ([0-9a-f]{5}) ([0-9a-f]{8})\n"
)
"""Number of the line, wall clock and monotonic clock in ms, boot, kind, price, call, destination,
CRC-32 of what is before it."""

_WIDTH: Final = 12 + 14 + 14 + 8 + 8 + 15 + 12 + 5 + 8 + 8 + 1


class Spent(NamedTuple):
    """A dial or text that was let through `at` a time of a clock that does not jump."""

    at: float
    kind: Kind
    price: float
    call: str = ""
    """Tag of the call to which the dial belongs; empty for none."""
    to: str = ""
    """Tag of the destination."""


class _KnownFile(NamedTuple):
    """A file of another process when it was read: its last change, and its last entry's number."""

    changed_ns: int = 0
    last: int = 0
    is_settled: bool = False
    """True if it had not changed since the read before."""


def call_tag(call_sid: str) -> str:
    """Return the tag of a CallSid in an entry: 48 bits of its hash."""
    return hashlib.sha256(call_sid.encode(errors="replace")).hexdigest()[:12]


def number_tag(number: str) -> str:
    """Return the tag of a destination in an entry: too short to tell which number it is."""
    return hashlib.sha256(b"to " + number.encode(errors="replace")).hexdigest()[:5]


class DialCount(ThreadOwner):
    """The count's file, and the thread that writes it. A context manager.

    `path` is that of the first file, `per_hour` the number of entries that an hour may have. Raises
    UserError E-DIAL-03 when a file cannot be used.
    """

    def __init__(self, path: Path, per_hour: int, clocks: MachineClocks | None = None) -> None:
        self._path, self._fd = _own_file(path)
        self._clocks = clocks or MachineClocks.of_this_machine()
        self._waiting: deque[tuple[bytes, Callable[[bool], None]]] = deque()
        self._jobs: deque[ThreadJob] = deque()
        self._first = path
        self._known: dict[Path, _KnownFile] = {}
        """Files of other processes, as they were read last."""
        self._untold: deque[Spent] = deque()
        """Entries of other processes that were read, perhaps too late for the look that asked."""
        try:
            self._open(per_hour)
            self._read_others()
            self._earlier += self._told()
        except OSError as error:
            os.close(self._fd)
            raise _unusable(self._path, error.strerror or "") from None
        self.thread = BackgroundThread("dial count", self._write_waiting)

    def _after_stop(self, *, in_time: bool) -> None:
        if in_time:
            os.close(self._fd)

    def earlier(self, now: float) -> list[Spent]:
        """Return the entries of the hour before `now`, oldest first, on the clock of `now`."""
        offset = now - self._clocks.monotonic()
        entries = [spent._replace(at=spent.at + offset) for spent in self._earlier]
        return [spent for spent in sorted(entries) if spent.at > now - HOUR_S]

    async def news(self, now: float) -> list[Spent]:
        """Return what other processes have counted since the last look, on the clock of `now`.

        Raises OSError, and TimeoutError for a disk that takes too long: what was read all the same
        is returned by the next look.
        """
        job = ThreadJob(self._read_others)
        self._jobs.append(job)
        self.thread.wake()
        async with asyncio.timeout(KEEP_S):
            await job.answer
        offset = now - self._clocks.monotonic()
        return sorted(spent._replace(at=spent.at + offset) for spent in self._told())

    def _told(self) -> list[Spent]:
        """Take the entries of other processes; the thread may be adding some."""
        return [self._untold.popleft() for _ in range(len(self._untold))]

    async def keep(self, spent: Spent) -> bool:
        """Write an entry. Return whether it is on disk: if not, the dial must not be made."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[bool] = loop.create_future()

        def settle(done: bool) -> None:
            if not written.done():
                written.set_result(done)

        def tell(done: bool) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits any more
                loop.call_soon_threadsafe(settle, done)

        self._waiting.append((self._entry(spent), tell))
        self.thread.wake()
        try:
            async with asyncio.timeout(KEEP_S):
                return await written
        except TimeoutError:
            return False

    # --- the file ------------------------------------------------------------------------------

    def _open(self, per_hour: int) -> None:
        """Read the entries of the file, and take the space of an hour's entries."""
        data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        # Twice as many as an hour may have: the line that is overwritten is never within it.
        slots = max(LINES_MIN, 2 * per_hour, -(-len(data) // _WIDTH))
        if len(data) < slots * _WIDTH:
            blank = b"\n".rjust(_WIDTH)
            rest = len(data) % _WIDTH
            data = data[: len(data) - rest] if rest else data
            blanks = blank * (slots - len(data) // _WIDTH)
            _write(self._fd, blanks, len(data))
            data += blanks
            os.fsync(self._fd)
            _sync_folder(self._path.parent)
        found: list[tuple[int, int, Spent]] = []
        empty: list[int] = []
        restamped: list[tuple[int, int, Spent]] = []
        for slot in range(slots):
            read = self._read(data[slot * _WIDTH : (slot + 1) * _WIDTH])
            if read is None:
                empty.append(slot)
                continue
            number, spent, ahead = read
            found.append((number, slot, spent))
            if ahead:
                restamped.append((number, slot, spent))
        found.sort()
        self._next = found[-1][0] + 1 if found else 1
        self._free = deque([*empty, *(slot for _, slot, _ in found)])
        self._earlier = [spent for _, _, spent in found]
        # An entry of the future counts as made now: from now on it ages like any other.
        for number, slot, spent in restamped:
            _write(self._fd, self._line(number, self._entry(spent)), slot * _WIDTH)
        if restamped:
            os.fsync(self._fd)

    def _read_others(self) -> None:
        """Read the entries of other processes, live or dead, that were not read before."""
        for path in _files(self._first):
            changed_ns = path.stat().st_mtime_ns
            known = self._known.get(path, _KnownFile())
            is_settled = changed_ns == known.changed_ns  # within a tick, a time tells no change
            if path == self._path or (is_settled and known.is_settled):
                continue
            data = path.read_bytes()
            lines = (data[first : first + _WIDTH] for first in range(0, len(data), _WIDTH))
            read = [
                each for each in map(self._read, lines) if each is not None and each[0] > known.last
            ]
            self._untold.extend([spent for _, spent, _ in read])
            last = max((number for number, _, _ in read), default=known.last)
            self._known[path] = _KnownFile(changed_ns, last, is_settled)

    def _read(self, line: bytes) -> tuple[int, Spent, bool] | None:
        """Return an entry with its number and whether it is of the future; None: it is torn."""
        parts = _LINE.fullmatch(line)
        if parts is None or int(parts[9], 16) != zlib.crc32(line[:-10]):
            return None
        now = self._clocks.monotonic()
        age = self._clocks.age_s(parts[4].decode(), int(parts[3]), int(parts[2]))
        call = parts[7].decode().strip(_NONE)
        kind: Kind = _KINDS[parts[5]]
        spent = Spent(now - max(age, 0.0), kind, float(parts[6]), call, parts[8].decode())
        return int(parts[1]), spent, age < -1.0

    def _entry(self, spent: Spent) -> bytes:
        """Return an entry as the file has it, but for its number and check sum."""
        at, wall = self._clocks.monotonic(), self._clocks.wall()
        boot = self._clocks.boot or _NONE * 8
        return (
            f"{round(max(wall, 0) * 1000):014d} {round(at * 1000):014d} {boot} {spent.kind:8} "
            f"{min(spent.price, 1e9):015.4f} {spent.call or _NONE * 12} {spent.to or '0' * 5}"
        ).encode()

    @staticmethod
    def _line(number: int, entry: bytes) -> bytes:
        checked = b"%012d " % number + entry
        return checked + b" %08x\n" % zlib.crc32(checked)

    # --- the thread ----------------------------------------------------------------------------

    def _write_waiting(self) -> None:
        """Write the entries that wait, all with one sync; read those of others if asked to."""
        while self._jobs:
            self._jobs.popleft().run()
        asked = []
        while self._waiting:
            asked.append(self._waiting.popleft())
        done = False
        try:
            for entry, _ in asked:
                slot = self._free[0]
                _write(self._fd, self._line(self._next, entry), slot * _WIDTH)
                self._free.rotate(-1)
                self._next += 1
            if asked:
                os.fsync(self._fd)
            done = True
        except OSError as error:
            _log.error("%s", _unusable(self._path, error.strerror or ""))
        finally:
            for _, tell in asked:
                tell(done)


def _files(path: Path) -> list[Path]:
    """Return the files of a count that there are."""
    return [found for number in range(1, FILES_MAX + 1) if (found := _file(path, number)).exists()]


def _file(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.name}.{number}")


def _own_file(path: Path) -> tuple[Path, int]:
    """Open and lock the first file that no other process has. Raises UserError E-DIAL-03."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(1, FILES_MAX + 1):
            own = _file(path, number)
            fd = os.open(own, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _lock(fd):
                return own, fd
            os.close(fd)
    except OSError as error:
        raise _unusable(path, error.strerror or "") from None
    raise _unusable(path, f"{FILES_MAX} processes have one already")


def _lock(fd: int) -> bool:
    """Lock a file for this process. Return False if another one has it."""
    if os.name != "posix":
        return True  # one process at a time there: the journal's lock admits no other
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(fd: int, data: bytes, at: int) -> None:
    """Write all of `data` at an offset. Raises OSError."""
    while data:
        count = os.pwrite(fd, data, at)
        data, at = data[count:], at + count


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unusable(path: Path, why: str) -> UserError:
    return UserError(
        "E-DIAL-03",
        f"The count of this hour's calls, {path}, cannot be used: {why}.",
        "Let this user write there, or set records.folder in offhook.yaml.",
    )
