"""The subscriber that keeps every event of a call process in its journal."""

import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeAlias

from offhook.call.resumed import KEPT
from offhook.concurrency.background_thread import BackgroundThread
from offhook.events.types import CallBegan, CallEnded, CallEvent, CallReleased
from offhook.journal.entries import InheritedLine, encode, origin_of, wall_ms_of
from offhook.journal.folders import ProcessInfo, make_machine_id, write_process_info
from offhook.journal.live_files import LiveCallFile, LiveCallFiles, LiveLine
from offhook.journal.progress import next_first
from offhook.journal.segments import BATCH_BYTES, last_number
from offhook.journal.upgrade_note import UpgradeNote
from offhook.journal.writer import JournalFullError, JournalWriter, cannot_be_made

_log: Final = logging.getLogger("offhook.records")

GATHER_S: Final = 0.04
"""Seconds for which lines are gathered into one write: a killed process loses no older ones."""

LOOK_S: Final = 0.25
"""Seconds between two looks at how far the follower is, while lines wait for it."""

IDLE_LOOK_S: Final = 2.0
"""Seconds between two looks while no line waits: an upgrade of the database is to be seen."""

RETRY_S: Final = 0.5
"""Seconds between two attempts on a disk that takes nothing."""

WAITING_BYTES: Final = 32 * 1024 * 1024
"""Bytes of lines that wait in memory for a blocked disk. Lines beyond are lost and counted."""

FLUSH_S: Final = 5.0
"""Seconds that a stopping process waits for the disk to take the last lines."""

NUMBERS_PER_MS: Final = 1 << 12
"""Numbers of lines for each ms since 1970, so that those of two processes differ."""


Tee: TypeAlias = Callable[[str, bytes | None, int | None], None]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Told(NamedTuple):
    """A line for the journal, and one that the file of its call gets before; either may be None."""

    line: bytes | None
    live: LiveLine | None


class EventJournal:
    """Keeps every event on disk. A subscriber; a context manager that runs its thread.

    `root` is the folder of journals, `records.folder/journal`; `limit_bytes` is the size that this
    process's journal may have. Raises UserError E-REC-01 when it cannot be made.

    Attributes:
        machine_id: Id of the data folder, by which the database tells it from others.
        process_id: Id of this process's journal.
        folder: Folder of this process's journal.
        filled: Share of `limit_bytes` in use.
        upgrading: How far the upgrade of the database is, if one goes on; else empty.
        tee: Called with what the files of live calls get, in a fleet: the call, its line or None at
            its end, and the line's number in this journal, None for facts.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.started_ms: Final = _now_ms()
        try:
            self.machine_id: Final = make_machine_id(root)
            first = next_first(root, self.started_ms * NUMBERS_PER_MS)
        except OSError as error:
            raise cannot_be_made(root, error) from None
        self.process_id: Final = uuid.uuid4().hex
        self.folder: Final = root / self.process_id
        self._writer = JournalWriter(self.folder, limit_bytes, first)
        try:
            self._live_files = LiveCallFiles(root, self.process_id)
        except OSError as error:
            raise cannot_be_made(root, error) from None
        self.tee: Tee | None = None
        self._root = root
        self._told_lines: deque[_Told] = deque()
        self._over: set[str] = set()
        """Calls that are over, whose files go when the journal has their ends."""
        self._live_lock = threading.Lock()
        self.filled = self._writer.filled
        self._lines: deque[bytes] = deque()
        """Lines that the files of live calls have, if they need them, and the journal has not."""
        self._batch: list[bytes] = []
        # Each count is written by one thread alone: those of the event loop, and of the journal's.
        self._told, self._told_bytes, self._refused = 0, 0, 0
        self._taken_bytes, self._dropped, self._done = 0, 0, 0
        self._oldest_ms = 0
        self._upgrade = UpgradeNote(root)
        self.upgrading = ""
        self._problem = ""
        self._tell_lost_at = 1
        """Number of lost lines at which the log says so next."""
        self._look_at, self._retry_at = 0.0, 0.0
        self._thread = BackgroundThread("journal", self._keep, gather_s=GATHER_S, stop_s=FLUSH_S)

    def __call__(self, call_event: CallEvent) -> None:
        """Keep an event: it survives the end of this process some milliseconds from now."""
        line = encode(call_event, _now_ms())
        sid, kind = call_event.call_sid, type(call_event.event)
        is_kept = kind in KEPT or kind is CallEnded
        # Lines are numbered as they are appended, but for those that were lost before.
        number = self._writer.first + self._told - self._refused - self._dropped
        inherited = InheritedLine(self.process_id, number, line)
        if not self._put(line, LiveLine(sid, inherited.encoded()) if is_kept else None):
            # Its file goes all the same: else the next process goes on with a call that is over.
            if kind is CallEnded:
                self.drop(sid)
            return
        if kind is CallEnded or (is_kept and _is_fenced(call_event)):
            self.drop(sid)
        if self.tee is not None and (kind in KEPT or kind is CallBegan):
            self.tee(sid, line, number)
        self._thread.wake()

    def _put(self, line: bytes, live: LiveLine | None = None) -> bool:
        """Have a line written; return False for one that is lost, as memory is full."""
        self._told += 1
        if self._told_bytes - self._taken_bytes > WAITING_BYTES:
            self._refused += 1
            self._tell_lost(self._problem or "the disk takes nothing")
            return False
        self._told_bytes += len(line)
        self._told_lines.append(_Told(line, live))
        return True

    def inherit(self, lines: Iterable[InheritedLine]) -> None:
        """Keep the lines of the processes that have had a call, which goes on in this one.

        So they are recorded even if the disk that has them never comes back.
        """
        for line in lines:
            self._put(line.encoded())
        self._thread.wake()

    def keep(self, call_sid: str, line: bytes) -> None:
        """Keep a line in the file of a live call, which it begins if it is missing."""
        self._told_lines.append(_Told(None, LiveLine(call_sid, line, begins=True)))
        if self.tee is not None:
            self.tee(call_sid, line, None)
        self._thread.wake()

    def drop(self, call_sid: str) -> None:
        """Remove the file of a call that is over, or that no process can go on with."""
        self._told_lines.append(_Told(None, LiveLine(call_sid, None)))
        if self.tee is not None:
            self.tee(call_sid, None, None)
        self._thread.wake()

    def take_over(self) -> list[LiveCallFile]:
        """Take over the files of calls whose process has died. Blocks for some ms.

        Their last lines are kept in this journal, if the process died before they were in its own.
        """
        with self._live_lock:
            files = self._live_files.take_over()
        last = {file.process_id: self._last_number(file.process_id) for file in files}
        for file in files:
            number = last[file.process_id]
            if number is not None:
                for line in _behind(file, number):
                    self._put(line)
        self._thread.wake()
        return files

    def _last_number(self, process_id: str) -> int | None:
        """Return the number of the last line in a dead process's journal; None if nothing tells."""
        try:
            return last_number(self._root / process_id) if process_id else None
        except OSError as error:
            _log.error("the journal of a dead process cannot be read: %s", error.strerror)
            return None

    def hand_over(self, call_sid: str, process_id: str) -> bool:
        """Give the file of a call, with all its lines, to another live process. Blocks for some ms.

        Return False when there is no such file.
        """
        with self._live_lock:
            self._write_live()
            return call_sid not in self._over and self._live_files.hand_over(call_sid, process_id)

    def adopt(self, call_sid: str) -> LiveCallFile | None:
        """Take the file of a call that another process has handed over. Blocks for some ms."""
        with self._live_lock:
            return self._live_files.adopt(call_sid)

    def announce(
        self,
        version: str,
        control: str,
        port: int = 0,
        public_url: str | None = None,
        supervisor: int = 0,
    ) -> None:
        """Tell other processes where this one answers them, and Twilio. Raises OSError."""
        process = ProcessInfo(
            os.getpid(), version, self.started_ms, control, port, public_url or "", supervisor
        )
        write_process_info(self.folder, process)

    @property
    def lost(self) -> int:
        """Number of lines that were lost, as neither the disk nor memory had room."""
        return self._refused + self._dropped

    @property
    def waiting(self) -> int:
        """Number of lines that the database does not have yet, as of a second ago at most."""
        return self._told - self.lost - self._done

    @property
    def lag_ms(self) -> int:
        """Age in ms of the oldest line that the database does not have yet; 0 without one."""
        return max(0, _now_ms() - self._oldest_ms) if self._oldest_ms else 0

    @property
    def threads(self) -> tuple[BackgroundThread, ...]:
        """The journal's thread."""
        return (self._thread,)

    @property
    def state(self) -> str:
        """State for readiness: `ok`, `the disk takes no lines`, `losing lines`, or the thread's."""
        if self._thread.state != "ok":
            return f"the journal thread is {self._thread.state}"
        if not self._problem:
            return "ok"
        return "losing lines" if self.lost else "the disk takes no lines"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.stop():
            self._writer.close()
            self._live_files.close()

    # --- the journal's thread ------------------------------------------------------------------

    def _keep(self) -> float:
        # While there are lines in every round, the event loop need not wake this thread.
        while self._write_round() and not self._thread.stopping:
            self._look()
            time.sleep(GATHER_S)  # not `pause`, which costs more than all the rest of a round
        self._look(at_once=True)
        if self._problem:
            return RETRY_S
        return LOOK_S if self.waiting else IDLE_LOOK_S

    def _write_round(self) -> bool:
        """Write what waits; return whether the journal took any lines.

        The files of live calls come first: a process that dies in between leaves lines there that
        the next one keeps. The other way round that one would not know what the journal has.
        """
        if self._told_lines:
            with self._live_lock:
                self._write_live()
        appended = self._append_waiting()
        if self._over and not self._batch:
            with self._live_lock:
                while self._over:
                    self._live_files.remove(self._over.pop())
        return appended

    def _write_live(self) -> None:
        """Write the files of live calls; the journal may have the same lines then, and no others.

        A line that comes meanwhile waits for the next time, here and there.
        """
        told = [self._told_lines.popleft() for _ in range(len(self._told_lines))]
        self._over |= self._live_files.write(each.live for each in told if each.live is not None)
        self._lines.extend(each.line for each in told if each.line is not None)

    def _append_waiting(self) -> bool:
        """Append every line that waits; return whether there were any, and the disk took them."""
        if self._problem and time.monotonic() < self._retry_at and not self._thread.stopping:
            return False
        appended = False
        while batch := self._next_batch():
            try:
                self._writer.append(batch)
            except JournalFullError as full:
                self._on_full(str(full))
                return False
            except Exception as error:  # noqa: BLE001 - no line may keep the others out
                self._dropped += len(batch)
                self._tell_lost(type(error).__name__)
            self._taken_bytes += sum(map(len, batch))
            batch.clear()
            self._problem = ""
            appended = True
        return appended

    def _next_batch(self) -> list[bytes]:
        """Return the lines of the next write: those that the disk refused before, and new ones."""
        batch, lines = self._batch, self._lines
        size = sum(map(len, batch))
        while lines and size < BATCH_BYTES:
            line = lines.popleft()
            batch.append(line)
            size += len(line)
        return batch

    def _on_full(self, why: str) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        if not self._problem:
            _log.error("the journal takes no lines (%s): they wait in memory", why)
        self._problem = why or "unknown"

    def _look(self, *, at_once: bool = False) -> None:
        """Look how far the follower is, and take the space that the next lines need."""
        now = time.monotonic()
        if now < self._look_at and not at_once:
            return
        self._look_at = now + LOOK_S
        self._writer.take_space()
        self.upgrading = self._upgrade.read()
        try:
            self._done = self._writer.done() + 1 - self._writer.first
            oldest = self._writer.oldest() if self.waiting else None
        except OSError:  # the next look may succeed; lines are appended anyway
            return
        self._oldest_ms = 0 if oldest is None else wall_ms_of(oldest)
        self.filled = self._writer.filled

    def _tell_lost(self, why: str) -> None:
        if self.lost >= self._tell_lost_at:
            self._tell_lost_at = self.lost + 1000
            _log.critical("E-REC-06 the journal takes no lines (%s): %d are lost", why, self.lost)


def _is_fenced(call_event: CallEvent) -> bool:
    """Return whether another machine has taken the call over."""
    return isinstance(call_event.event, CallReleased) and call_event.event.why == "fenced"


def _behind(file: LiveCallFile, number: int) -> list[bytes]:
    """Return the lines of a dead process in a call's file that come behind one of its journal."""
    found: list[bytes] = []
    for line in reversed(file.lines):
        origin = origin_of(line)
        if origin is None:  # facts
            continue
        if origin.process_id != file.process_id or origin.number <= number:
            break
        found.append(line)
    return found[::-1]
