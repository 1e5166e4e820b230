"""Live events of every call process, read from their journals: no database is needed for them."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.journal.entries import JournalEntry, MalformedEntryError, decode
from offhook.journal.folders import process_folders
from offhook.journal.reader import JournalReader

_log: Final = logging.getLogger("offhook.records")

POLL_S: Final = 0.04
"""Seconds between two looks for new lines."""

FOLDERS_EVERY: Final = 25
"""Looks between two searches for new processes, unless the folder says that it has changed."""

BATCH_LINES: Final = 1000

EVERYTHING: Final = 1 << 63
"""A number beyond that of any line."""


class LiveFollower(ThreadOwner):
    """Hands every new entry of the processes with a journal in `root` to `told`, in order.

    A context manager that runs its thread, which calls `told` with the id of the process and the
    entry; that must not wait. Lines that were
    there before the start are left out, and those of which this version knows nothing.
    """

    def __init__(self, root: Path, told: Callable[[str, JournalEntry], None]) -> None:
        self._root = root
        self._told = told
        self._readers: dict[str, JournalReader] = {}
        self._passed: dict[str, int] = {}
        self._skipped: dict[str, int] = {}
        self._is_first = True
        self._changed_at = -1
        self._looks = 0
        self._faults = 0
        self.thread = BackgroundThread("live events", self._look)

    def passed(self, process_id: str) -> int:
        """Return the number up to which lines of a process need not be kept for this follower."""
        if self.thread.state == "dead" or self.thread.stopping:
            return EVERYTHING
        return self._passed.get(process_id, 0)

    def skipped(self) -> dict[str, int] | None:
        """Return the last line of each process that was left out, by its id; 0: it had none.

        None before the first look, which alone leaves lines out.
        """
        return None if self._is_first else dict(self._skipped)

    # --- the thread ----------------------------------------------------------------------------

    def _look(self) -> float:
        self._find_processes()
        for process_id, reader in list(self._readers.items()):
            try:
                self._read(process_id, reader)
            except OSError as error:
                _log.error(
                    "the live events in %s cannot be read: %s", reader.folder, error.strerror
                )
                self._drop(process_id, reader)
        return POLL_S

    def _read(self, process_id: str, reader: JournalReader) -> None:
        while lines := reader.read(BATCH_LINES):
            for number, line in lines:
                self._tell(process_id, number, line)
            self._passed[process_id] = reader.passed
        if reader.is_over:
            self._drop(process_id, reader)

    def _tell(self, process_id: str, number: int, line: bytes) -> None:
        try:
            entry = decode(number, line)
        except MalformedEntryError:
            return
        try:
            self._told(process_id, entry)
        except Exception as error:  # noqa: BLE001 - one event must not keep the others out
            self._faults += 1
            if self._faults == 1:
                _log.error("a fault in a receiver of live events", exc_info=error)

    def _find_processes(self) -> None:
        changed_at = self._root.stat().st_mtime_ns if self._root.exists() else 0
        self._looks += 1
        if changed_at == self._changed_at and self._looks % FOLDERS_EVERY:
            return
        self._changed_at = changed_at
        there = {folder.name: folder for folder in process_folders(self._root)}
        for gone in self._passed.keys() - there.keys() - self._readers.keys():
            del self._passed[gone]
        for process_id in there.keys() - self._passed.keys():
            self._begin(process_id, there[process_id])
        self._is_first = False

    def _begin(self, process_id: str, folder: Path) -> None:
        try:
            reader = JournalReader(folder)
        except OSError:  # removed meanwhile, or unreadable: the database's thread tells of that
            self._passed[process_id] = EVERYTHING
            return
        if self._is_first:
            reader.skip()
            self._skipped[process_id] = reader.passed if reader.passed >= reader.first else 0
        self._readers[process_id] = reader
        self._passed[process_id] = reader.passed

    def _drop(self, process_id: str, reader: JournalReader) -> None:
        del self._readers[process_id]
        self._passed[process_id] = EVERYTHING
        reader.close()

    def _after_stop(self, *, in_time: bool) -> None:
        if in_time:
            for reader in self._readers.values():
                reader.close()
