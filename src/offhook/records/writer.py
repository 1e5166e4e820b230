"""The thread that writes the journal's lines into the database.

The thread may hang for as long as the database does. Calls never wait for it: their lines are in
the journal already, which is read again from the first line that is not in the database.
"""

import logging
import threading
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from offhook.concurrency.background_thread import BackgroundThread
from offhook.config import Prices
from offhook.errors import UserError
from offhook.events.types import CallEvent
from offhook.records import database
from offhook.records.entries import JournalEntry, MalformedEntryError, decode, encode
from offhook.records.journal import DEAD_LETTERS, Journal
from offhook.records.store import RecordStore

_log: Final = logging.getLogger("offhook.records")

GATHER_S: Final = 0.04
"""Seconds for which lines are gathered into one transaction."""

LOOK_S: Final = 1.0
"""Seconds between two looks for lines that no signal announced."""

BATCH_LINES: Final = 2000

RETRY_S: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds to wait after a failure, and after each further one."""

RECENT_S: Final = 24 * 3600
"""Seconds for which a CallSid may be used again: as long as a call can last (twilio.md §1.8)."""

STOP_S: Final = 5.0
"""Seconds that a stopping server waits for the database to take the last lines."""


class RecordWriter:
    """Follows `journal` into the database behind `engine`, from `start` to `stop`.

    With `after_call` each call that ends gets a job for its webhook (jobs.py).
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        prices: Prices,
        *,
        after_call: bool = False,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._store = RecordStore(journal.id, prices, after_call=after_call)
        self._ready = False
        self._failures = 0
        self._given_up = False
        self.settled: Final = threading.Event()
        """Event that is set when the database has, or has refused, the lines of earlier runs."""
        self.refused: UserError | None = None
        """Reason why this version of Offhook cannot use the database; None: it can."""
        self.recent: list[str] = []
        """CallSids of the last RECENT_S, known once `settled`, if ever."""
        self.failing_since: float | None = None
        """Time at which the database began to refuse, by time.monotonic; None: it takes lines."""
        self.thread: Final = BackgroundThread(
            "records", self._work, gather_s=GATHER_S, stop_s=STOP_S
        )

    def stop(self) -> bool:
        """Write what is left, for STOP_S at most; the rest stays in the journal.

        Returns whether the thread is done with the journal: a database that hangs may hold it.
        """
        over = self.thread.stop()
        if self._journal.waiting:
            _log.warning(
                "%d lines wait in the journal for the database: the next start writes them",
                self._journal.waiting,
            )
        return over

    # --- the thread ----------------------------------------------------------------------------

    def _work(self) -> float:
        if self._given_up:
            return LOOK_S
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may go well
            self._on_failure(error)
            pause = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
            self._failures += 1
            self._given_up = self.thread.pause(pause)
            return 0.0
        self._failures = 0
        if self.failing_since is not None:
            _log.warning("the database takes lines again; none was lost")
            self.failing_since = None
        return LOOK_S

    def _on_failure(self, error: Exception) -> None:
        # The commit may have succeeded or not: the next try asks the database first.
        self._ready = False
        for step in (self._engine.dispose, self._journal.sync):
            try:
                step()
            except Exception as fault:  # noqa: BLE001 - a disk, or a driver, with faults of its own
                _log.error("after a failure of the records' writer: %s", type(fault).__name__)
        if self.failing_since is None:
            self.failing_since = time.monotonic()
            if isinstance(error, UserError):
                problem = error
                self.refused = error if error.code == "E-REC-04" else None
            else:
                problem = database.unreachable(self._engine, error)
            if not isinstance(error, UserError | SQLAlchemyError):
                _log.error("a fault in the records' writer", exc_info=error)
            _log.error(
                "%s %s Calls go on, and their lines wait in the journal. %s",
                problem.code,
                problem.what,
                problem.fix,
            )
        self.settled.set()

    def _follow(self) -> None:
        if not self._ready:
            self._get_ready()
        while lines := self._journal.read(BATCH_LINES):
            self._write(lines)

    def _get_ready(self) -> None:
        """Write what an earlier run left behind, and then end its orphaned calls."""
        database.upgrade(self._engine)
        with self._engine.connect() as connection:
            applied = self._store.applied(connection)
        self._journal.done(applied)
        self._journal.rewind()
        while lines := self._journal.read(BATCH_LINES):
            self._write(lines)
        with self._engine.begin() as connection:
            orphaned = self._store.end_orphaned(connection, self._journal.first)
            since_ms = (time.time() - RECENT_S) * 1000
            self.recent = self._store.since(connection, round(since_ms))
        if orphaned:
            _log.warning("%d calls had no end after the last run: they have now", len(orphaned))
        self._ready = True
        self.settled.set()

    def _write(self, numbered: list[tuple[int, bytes]]) -> None:
        last = numbered[-1][0]
        lines = []
        for number, line in numbered:
            try:
                lines.append(decode(number, line))
            except MalformedEntryError as bad:
                self._keep_dead_letter(number, line, str(bad))
        try:
            self._apply(lines, last)
        except Exception as error:
            if database.is_unavailable(error):
                raise
            self._apply_one_by_one(lines)
        self._journal.done(last)

    def _apply(self, lines: list[JournalEntry], last: int) -> None:
        with self._engine.begin() as connection:
            self._store.apply(connection, lines, last)

    def _apply_one_by_one(self, lines: list[JournalEntry]) -> None:
        """Write entries one by one: an entry that the database refuses must not block others."""
        for line in lines:
            try:
                self._apply([line], line.number)
            except Exception as error:
                if database.is_unavailable(error):
                    raise
                call_event = CallEvent(line.call_sid, line.at_ms, line.event)
                self._keep_dead_letter(
                    line.number, encode(call_event, line.wall_ms), type(error).__name__
                )

    def _keep_dead_letter(self, number: int, line: bytes, why: str) -> None:
        path = self._journal.folder / DEAD_LETTERS
        _log.error("line %d cannot be written (%s): it is kept in %s", number, why, path)
        _append(path, line)


def _append(path: Path, line: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(line + b"\n")
    except OSError as error:
        _log.error("nor can it be kept there: %s", error.strerror)
