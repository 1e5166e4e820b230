"""The thread that writes the files of all calls, so that no call ever waits for a disk.

A thread and not a task: writing can hang for seconds, and there is no asynchronous way to do it
that is not a thread. What waits has a bound in bytes, for all files together; the file whose next
part finds no room is stopped, and gets the reason. No other file is.
"""

import logging
import re
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from offhook.concurrency.background_thread import BackgroundThread

_log: Final = logging.getLogger("offhook.disk")

GATHER_S: Final = 0.2
"""Seconds between two writes of the gathered parts, which a crash of the process can lose."""

FLUSH_S: Final = 10.0
"""Seconds that a stopping server waits for the disk to take the last parts."""


def file_of_call(call_sid: str, began: datetime, suffix: str) -> str:
    """Return the name of a call's file. A CallSid comes from outside and must not become a path."""
    return f"{began:%Y%m%dT%H%M%SZ}{end_of_name(call_sid, suffix)}"


def end_of_name(call_sid: str, suffix: str) -> str:
    """Return the end of the names of a call's files: of each process that carried it, one."""
    sid = re.sub(r"[^A-Za-z0-9]", "_", call_sid)[:40]
    return f"-{sid}{suffix}"


class GrowingFile(Protocol):
    """A file that is being written. Only the thread touches the disk."""

    @property
    def stopped(self) -> bool:
        """True if the file takes nothing more."""

    def stop(self, why: str) -> None:
        """Take nothing more: what is there stays. Called from any thread."""

    def write(self, parts: list[bytes]) -> None:
        """Append parts. Called by the thread."""

    def close(self) -> None:
        """Close the file. Called by the thread."""


class DiskWriter(BackgroundThread):
    """The thread that writes files. `first` runs in it before anything is written."""

    def __init__(
        self, name: str, waiting_bytes: int, first: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(name, self._write_waiting, gather_s=GATHER_S, stop_s=FLUSH_S)
        self._waiting_bytes = waiting_bytes
        self._first = first
        self._lock = threading.Lock()
        self._parts: list[tuple[GrowingFile, bytes | None]] = []
        self._bytes = 0

    def put(self, file: GrowingFile, part: bytes) -> None:
        """Have a part written after all others of that file. Never waits for the disk."""
        if file.stopped:
            return
        with self._lock:
            full = self._bytes + len(part) > self._waiting_bytes
            if not full:
                self._bytes += len(part)
                self._parts.append((file, part))
        if full:
            file.stop("the disk is too slow")
        else:
            self.wake()

    def close(self, file: GrowingFile) -> None:
        """Have a file closed after its last part."""
        with self._lock:
            self._parts.append((file, None))
        self.wake()

    # --- the thread ---

    def _write_waiting(self) -> None:
        first, self._first = self._first, lambda: None
        first()
        while True:
            with self._lock:
                parts, self._parts = self._parts, []
            if not parts:
                return
            try:
                self._write(parts)
            finally:
                written = sum(len(part) for _, part in parts if part is not None)
                with self._lock:
                    self._bytes -= written

    def _write(self, parts: list[tuple[GrowingFile, bytes | None]]) -> None:
        gathered: dict[GrowingFile, list[bytes]] = {}
        over: list[GrowingFile] = []
        for file, part in parts:
            if part is None:
                over.append(file)
            else:
                gathered.setdefault(file, []).append(part)
        for file, mine in gathered.items():
            self._guarded(file, lambda file=file, mine=mine: file.write(mine))  # type: ignore[misc]
        for file in over:
            self._guarded(file, file.close)

    def _guarded(self, file: GrowingFile, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - one file's fault is not that of the others
            _log.exception("a fault in writing a file")
            file.stop(type(error).__name__)
