"""The server's record: a subscriber that keeps every event, and its two threads."""

import logging
import time
from collections import deque
from pathlib import Path
from typing import Final, Self

from sqlalchemy import Engine

from offhook.concurrency.background_thread import BackgroundThread
from offhook.config import Prices
from offhook.events.types import CallEvent
from offhook.records.entries import encode
from offhook.records.journal import Journal, JournalFullError
from offhook.records.writer import RecordWriter

_log: Final = logging.getLogger("offhook.records")

GATHER_S: Final = 0.02
"""Seconds for which lines are gathered for the journal: a killed server loses no older ones."""

WAITING_MAX: Final = 100_000
"""Lines that wait for a blocked disk; lines beyond are lost and counted."""

SETTLING_S: Final = 10.0
"""Seconds that a starting server waits until the database has the lines of earlier runs."""

FLUSH_S: Final = 5.0
"""Seconds that a stopping server waits for the disk to take the last lines."""


class Record:
    """Keeps every event of every call. A subscriber; a context manager that runs the threads.

    One of them writes the journal, so that the event loop never waits for a disk; the other
    follows the journal into the database, which may take its time. `folder` is the journal's.
    Raises UserError as Journal does; on entering, E-REC-04 for a database of a newer version. One
    that cannot be reached is waited for, while calls are answered.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        prices: Prices,
        *,
        after_call: bool = False,
    ) -> None:
        self.lost = 0
        """Number of lines that were lost because the disk had no room."""
        self.journal: Final = Journal(folder)
        self._writer = RecordWriter(engine, self.journal, prices, after_call=after_call)
        self._lines: deque[bytes] = deque()
        self._thread = BackgroundThread("journal", self._keep, gather_s=GATHER_S, stop_s=FLUSH_S)

    def __call__(self, call_event: CallEvent) -> None:
        """Keep an event: it survives the end of this process some milliseconds from now."""
        line = encode(call_event, time.time_ns() // 1_000_000)
        if len(self._lines) >= WAITING_MAX:
            self._lose("the disk takes nothing")
            return
        self._lines.append(line)
        self._thread.wake()

    @property
    def recent(self) -> list[str]:
        """CallSids of the last day, as far as they were read from the database."""
        return self._writer.recent

    @property
    def waiting(self) -> int:
        """Number of lines that the database does not have yet."""
        return len(self._lines) + self.journal.waiting

    @property
    def threads(self) -> tuple[BackgroundThread, ...]:
        """The journal's thread and the database's."""
        return self._thread, self._writer.thread

    @property
    def state(self) -> str:
        """State for readiness: `ok`, `waiting for the database` or `losing lines`.

        It also says when a thread fails or is dead, without which nothing more is kept.
        """
        for thread in self.threads:
            if thread.state != "ok":
                return f"the {thread.name} thread is {thread.state}"
        if self._writer.failing_since is None:
            return "ok"
        return "losing lines" if self.lost else "waiting for the database"

    def __enter__(self) -> Self:
        self._thread.start()
        self._writer.thread.start()
        self._writer.settled.wait(SETTLING_S)
        if self._writer.refused is not None:
            self._close()
            raise self._writer.refused
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        kept = self._thread.stop()
        if self._writer.stop() and kept:
            self.journal.close()

    # --- the journal's thread ------------------------------------------------------------------

    def _keep(self) -> None:
        while self._lines:
            try:
                self.journal.append(self._lines[0])
            except JournalFullError as full:
                self._lose(str(full))
            except Exception as error:  # noqa: BLE001 - one line must not keep the others out
                self._lose(type(error).__name__)
            self._lines.popleft()
        self._writer.thread.wake()

    def _lose(self, why: str) -> None:
        self.lost += 1
        if self.lost == 1 or self.lost % 1000 == 0:
            _log.critical(
                "E-REC-06 the disk is full and the database takes nothing (%s): %d lines lost",
                why,
                self.lost,
            )
