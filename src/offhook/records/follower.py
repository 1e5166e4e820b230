"""The thread that follows every journal of a data folder into the database.

It may hang for as long as the database does. Calls never wait for it: their lines are in the
journals, which are read again from the first line that is not in the database.
"""

import contextlib
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from offhook.concurrency.background_thread import BackgroundThread
from offhook.config import Prices
from offhook.errors import UserError
from offhook.events.types import CallEvent
from offhook.journal.entries import JournalEntry, encode
from offhook.journal.folders import DEAD_LETTERS, FileLock, make_machine_id, process_folders
from offhook.journal.legacy import LegacyJournal
from offhook.journal.live import LiveFollower
from offhook.journal.live_files import held_calls, remove_untaken
from offhook.journal.writer import cannot_be_made
from offhook.records import database, tables
from offhook.records.process_lines import (
    BATCH_LINES,
    Decoded,
    MalformedLine,
    ProcessLines,
    decoded,
)
from offhook.records.store import RecordStore
from offhook.records.upgrade_progress import UpgradeProgress

_log: Final = logging.getLogger("offhook.records")

OPERATOR_LOCK: Final = "operator.lock"
"""The lock of the process that follows the journals, in the folder of records."""

POLL_S: Final = 0.1
"""Seconds between two looks for new lines: those that came meanwhile go into one transaction. A
longer wait saves little more of the CPU that a line takes (bench/rows.py)."""

LOOK_S: Final = 1.0
"""Seconds between two attempts to get the lock, while another process has it."""

RETRY_S: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds to wait after a failure, and after each further one."""

ROUND_BATCHES: Final = 20
"""Transactions of a round, after which new and dead processes are looked for."""

ORDER_MS: Final = 1000
"""Milliseconds by which a line of one process may be applied before an older one of another."""

UNTOLD_S: Final = 5.0
"""Seconds for which lines are kept for live events that do not come along."""

SETTLING_S: Final = 10.0
"""Seconds that a start waits until the database has the lines of processes that are dead."""

UNTAKEN_S: Final = 300.0
"""Seconds after the death of a process for which its calls may be taken over by another."""

MOVED_S: Final = 60.0
"""Seconds for which another node may take to write what became of a call of a process that died
here: it went on there, and has ended."""

STOP_S: Final = 5.0
"""Seconds that `stop` waits for the database to take the last lines."""


class RecordFollower:
    """Follows the journals in `root` into the database behind `engine`. A context manager.

    One follower at a time has a data folder: another one is refused with UserError E-REC-02, or,
    with `wait`, waits until its turn comes. With `after_call` each call that ends gets a job for
    its webhook (jobs.py). Lines that `live` has not seen yet are kept for it. `on_orphaned` takes
    the ends that calls of a dead process get, which are in no journal; it must not wait. `node` is
    this machine's name in a fleet, which shares the database; empty without one.

    Raises UserError E-REC-01 for a folder that cannot be used; on entering, E-REC-04 for a database
    of a newer version. One that cannot be reached is waited for, while calls are answered.

    Attributes:
        is_following: True once this follower has the data folder.
        settled: Event that is set when the database has, or has refused, the lines of the dead.
        refused: Reason why this version of Offhook cannot use the database; None: it can.
        failing_since: Time at which the database began to refuse, by time.monotonic; None: it takes
            lines.
        refused_lines: Number of lines of calls that another node had taken over before (moves.py).
    """

    def __init__(
        self,
        engine: Engine,
        root: Path,
        prices: Prices,
        *,
        after_call: bool = False,
        wait: bool = False,
        live: LiveFollower | None = None,
        on_orphaned: Callable[[Sequence[CallEvent]], None] = lambda ends: None,
        node: str = "",
    ) -> None:
        self._engine = engine
        self._node = node
        self.refused_lines = 0
        self._on_orphaned = on_orphaned
        self._root = root
        self._prices = prices
        self._after_call = after_call
        self._live = live
        try:
            self.machine_id: Final = make_machine_id(root)
            self._lock = FileLock(root.parent / OPERATOR_LOCK)
        except OSError as error:
            raise cannot_be_made(root, error) from None
        self.is_following = self._lock.take()
        if not (self.is_following or wait):
            self._lock.close()
            raise UserError(
                "E-REC-02",
                f"Another Offhook follows the journals in {root}.",
                "Stop it, or give this one a folder of its own: records.folder in offhook.yaml.",
            )
        self._processes: dict[str, ProcessLines] = {}
        self._stores: dict[str, RecordStore] = {}
        """Stores that go on, by process: each remembers calls. New ones after any failure."""
        self._faulty: set[str] = set()
        """Processes whose files had a fault in the last round."""
        self._unwiped: dict[str, float] = {}
        """Since when lines that the database has are still in the journal, by process."""
        self._dead_since: dict[str, float] = {}
        """Since when each process with unfinished business is known to be dead."""
        self._dead_letters: set[int] = set()
        """Numbers of dead letters of the transaction that is being tried."""
        self._ready = False
        self._has_legacy = True
        self._failures = 0
        self._given_up = False
        self.settled: Final = threading.Event()
        self.refused: UserError | None = None
        self.failing_since: float | None = None
        self.thread: Final = BackgroundThread("records", self._work, stop_s=STOP_S)

    def __enter__(self) -> Self:
        self.thread.start()
        if self.is_following:
            self.settled.wait(SETTLING_S)
        if self.refused is not None:
            self.stop()
            raise self.refused
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """Write what is left, for that long at most; the rest stays in the journals.

        Returns whether the thread has ended: a database that hangs may hold it.
        """
        over = self.thread.stop(timeout_s)
        if over:
            for process in self._processes.values():
                process.reader.close()
            self._lock.close()
        if self.failing_since is not None or not over:
            _log.warning("lines wait in the journals for the database: the next start writes them")
        return over

    # --- the thread ----------------------------------------------------------------------------

    def _work(self) -> float:
        if self._given_up:
            return LOOK_S
        self.is_following = self.is_following or self._lock.take()
        if not self.is_following:
            return LOOK_S
        self._find_processes()
        try:
            has_more = self._follow()
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
        return 0.0 if has_more else POLL_S

    def _on_failure(self, error: Exception) -> None:
        # The commit may have succeeded or not: the next try asks the database first.
        self._ready = False
        self._stores.clear()
        # Only the journals have the lines now: they must outlive the machine.
        syncs = [process.reader.sync for process in self._processes.values()]
        for step in (self._engine.dispose, *syncs):
            try:
                step()
            except Exception as fault:  # noqa: BLE001 - a disk, or a driver, with faults of its own
                _log.error(
                    "the clean-up after a failure of the records' writer has failed, too: %s",
                    type(fault).__name__,
                )
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

    # --- journals ------------------------------------------------------------------------------

    def _find_processes(self) -> None:
        """Open new journals, and give back what dead processes had taken. Needs no database."""
        for folder in process_folders(self._root):
            if folder.name not in self._processes:
                with self._containing(folder.name):
                    self._processes[folder.name] = ProcessLines(folder)
        for process_id, process in self._processes.items():
            with self._containing(process_id):
                process.trim()

    @contextlib.contextmanager
    def _containing(self, process_id: str) -> Iterator[None]:
        """Keep the fault of one journal's files from the others. The next round tries again."""
        try:
            yield
        except OSError as error:
            if process_id not in self._faulty:
                _log.error(
                    "the files of the journal %s have a fault: %s",
                    self._root / process_id,
                    error.strerror,
                )
            self._faulty.add(process_id)
        else:
            self._faulty.discard(process_id)

    def _follow(self) -> bool:
        """Write what there is; return whether there is more."""
        if not self._ready:
            with UpgradeProgress(self._engine, self._root) as progress:
                database.upgrade(self._engine, progress.on_step)
            for process in self._processes.values():
                process.is_ready = False
            self._ready = True
        if self._has_legacy:
            self._has_legacy = self._take_legacy()
        # Looked at before journals are looked for, and their last lines read: a call of a process
        # that was dead by now, and that has no file, has its end in one of them.
        held = self._held()
        self._find_processes()
        for process in self._processes.values():
            if not process.is_ready:
                self._start(process)
        has_more = self._write_in_order()
        for process in list(self._processes.values()):
            self._wipe(process)
            was_dead = process.process_id in self._dead_since
            is_written = process.is_over and process.process_id not in self._unwiped
            if was_dead and is_written and not has_more:
                self._delete_finished(process, held)
        if not has_more:
            self.settled.set()
        return has_more

    def _store(self, process_id: str) -> RecordStore:
        if process_id not in self._stores:
            self._stores[process_id] = RecordStore(
                self.machine_id,
                self._prices,
                after_call=self._after_call,
                process_id=process_id,
                node=self._node,
            )
        return self._stores[process_id]

    def _start(self, process: ProcessLines) -> None:
        with self._engine.connect() as connection:
            applied = self._store(process.process_id).applied(connection)
        with self._containing(process.process_id):
            process.start_after(applied)
            process.is_ready = True

    def _write_in_order(self) -> bool:
        """Write what the journals have now: the oldest first, whichever process's it is.

        Returns whether there is more than one round should write.
        So no process waits for another, and the beginning of a call goes in before what a later
        process has to tell of it.
        """
        for process in self._processes.values():
            self._fill(process)
        batches = 0
        while waiting := sorted(
            (process.oldest_ms, process.process_id)
            for process in self._processes.values()
            if process.oldest_ms is not None and process.is_ready
        ):
            if batches == ROUND_BATCHES and not self.thread.stopping:
                return True
            batches += 1
            process = self._processes[waiting[0][1]]
            until_ms = waiting[1][0] + ORDER_MS if len(waiting) > 1 else math.inf
            lines = process.take(until_ms)
            self._write(self._store(process.process_id), lines)
            self._unwiped.setdefault(process.process_id, time.monotonic())
            # Behind the commit, as a line is wiped only when the database has it. After a death in
            # between, `_start` reads how far it went, which the same transaction wrote.
            process.applied = lines[-1].number
            self._wipe(process)
            if process.has_more:
                self._fill(process)
        return False

    def _fill(self, process: ProcessLines) -> None:
        if process.is_ready:
            with self._containing(process.process_id):
                process.fill()

    def _wipe(self, process: ProcessLines) -> None:
        """Wipe lines that the database has, once those who follow live events have seen them."""
        since = self._unwiped.get(process.process_id)
        if since is None:
            return
        number = process.applied
        has_time = time.monotonic() < since + UNTOLD_S and not self.thread.stopping
        if self._live is not None and has_time:
            number = min(number, self._live.passed(process.process_id))
        with self._containing(process.process_id):
            process.reader.done(number)
            if number == process.applied:
                del self._unwiped[process.process_id]

    def _held(self) -> set[str]:
        """Return the calls that another process has taken over, or may take over, by their files.

        A file that nobody takes is removed in the end: no call process has started since.
        """
        now = time.monotonic()
        dead = [each.process_id for each in self._processes.values() if each.reader.is_dead]
        for process_id in dead:
            if now - self._dead_since.setdefault(process_id, now) > UNTAKEN_S:
                with self._containing(process_id):
                    remove_untaken(self._root, process_id)
        held = held_calls(self._root)
        if self._node and self._dead_since:
            its = tables.fleet_calls.c
            with self._engine.connect() as connection:
                held.update(connection.scalars(select(its.call_sid).where(its.ended_at.is_(None))))
        return held

    def _delete_finished(self, process: ProcessLines, held: Collection[str]) -> None:
        """End the calls of a dead process whose lines are all written, and remove its folder.

        It stays as long as another process may go on with one of its calls.
        """
        store, reader = self._store(process.process_id), process.reader
        dead_s = time.monotonic() - self._dead_since.get(process.process_id, time.monotonic())
        is_settled = not self._node or dead_s >= MOVED_S
        with self._engine.begin() as connection:
            orphaned = store.end_orphaned(connection, held) if is_settled else []
            if store.has_live(connection):
                return
        # Told behind the commit: they are ends only then.
        if orphaned:
            _log.warning(
                "%d calls of the last run had no end in the record: it is there now", len(orphaned)
            )
            self._on_orphaned(orphaned)
        # The folder goes before the note of how far its lines went. The other way round, a death
        # in between would have the next follower write all of them again.
        reader.remove()
        self._dead_since.pop(process.process_id, None)
        del self._processes[process.process_id], self._stores[process.process_id]
        with self._engine.begin() as connection:
            store.forget(connection)

    def _take_legacy(self) -> bool:
        """Write the lines that an earlier version left, and remove its journal.

        Returns whether there is one that a server of that version still has.
        """
        journal = LegacyJournal(self._root)
        try:
            if not journal.take():
                return journal.exists
            store = self._store(self.machine_id)
            with self._engine.connect() as connection:
                following = journal.lines(store.applied(connection))
            while numbered := list(itertools.islice(following, BATCH_LINES)):
                self._write(store, decoded(numbered))
            with self._engine.begin() as connection:
                store.end_orphaned(connection)
            journal.remove()
        finally:
            journal.close()
        return False

    # --- lines ---------------------------------------------------------------------------------

    def _write(self, store: RecordStore, lines: Sequence[Decoded]) -> None:
        entries = [line for line in lines if isinstance(line, JournalEntry)]
        for bad in lines:
            if isinstance(bad, MalformedLine):
                self._keep_dead_letter(bad.number, bad.line, bad.why)
        try:
            self._apply(store, entries, lines[-1].number)
        except Exception as error:
            if database.is_unavailable(error):
                raise
            del self._stores[store.process_id]  # what it remembers may be of this transaction
            self._apply_one_by_one(self._store(store.process_id), entries)
        self._dead_letters.clear()

    def _apply(self, store: RecordStore, entries: Sequence[JournalEntry], last: int) -> None:
        with self._engine.begin() as connection:
            store.apply(connection, entries, last)
        if store.refused:
            self.refused_lines += store.refused
            _log.warning(
                "E-REC-09 %s lines of calls that another node had taken over before are refused",
                store.refused,
            )

    def _apply_one_by_one(self, store: RecordStore, entries: Sequence[JournalEntry]) -> None:
        """Write entries one by one: an entry that the database refuses must not block others."""
        for entry in entries:
            try:
                self._apply(store, [entry], entry.number)
            except Exception as error:
                if database.is_unavailable(error):
                    raise
                call_event = CallEvent(entry.call_sid, entry.at_ms, entry.event)
                line = encode(call_event, entry.wall_ms)
                self._keep_dead_letter(entry.number, line, type(error).__name__)

    def _keep_dead_letter(self, number: int, line: bytes, why: str) -> None:
        if number in self._dead_letters:  # kept before the database went away
            return
        self._dead_letters.add(number)
        path = self._root / DEAD_LETTERS
        _log.error("line %d cannot be written (%s): it is kept in %s", number, why, path)
        try:
            with path.open("ab") as file:
                file.write(line + b"\n")
        except OSError as error:
            _log.error("cannot write the dead letter: %s", error.strerror)
