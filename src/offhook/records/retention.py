"""Retention: texts and recordings are erased when they are old enough, each by its own age.

Recordings of calls that another machine has erased are deleted too, with or without an age; calls
whose machine did not come back get an end, and recordings without an end their length.

A call's age is counted from its `started_ms`. A clock that jumps forwards makes nothing old: see
Aging.
"""

import functools
import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection, Engine, delete, select, tuple_, update
from sqlalchemy.exc import SQLAlchemyError

from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.config import RetentionSettings
from offhook.recordings import reading
from offhook.recordings.files import LocalFiles
from offhook.records import tables
from offhook.records.database import clock_ms, empty_wal
from offhook.records.erasing import BATCH_CALLS, erase_texts
from offhook.records.recording_lengths import write_lengths
from offhook.records.store import RecordStore

_log: Final = logging.getLogger("offhook.records")

EVERY_S: Final = 3600.0
"""Seconds between two sweeps."""

AGAIN_S: Final = 60.0
"""Seconds until the next sweep when the database refused."""

JUMP_MS: Final = 5 * 60_000
"""Milliseconds by which the wall clock may get ahead of its due and be believed at once."""

BELIEVED_S: Final = 24 * 3600.0
"""Seconds for which a clock must stay ahead until it is believed all the same."""

LOST_MS: Final = 25 * 3_600_000
"""Milliseconds since its beginning after which a call without an end has lost its server: no call
lasts longer than 24 hours (twilio.md §1.8)."""

_DAY_MS: Final = 86_400_000
_calls: Final = tables.calls.c


class _Old(NamedTuple):
    """A call that is old enough."""

    sid: str
    started_ms: int
    journal: str
    recording: str | None


_Erase: TypeAlias = Callable[[Connection, list[_Old]], int]


class Swept(NamedTuple):
    """Counts of the calls whose text was erased, and whose audio was."""

    texts: int
    recordings: int


class Aging:
    """The wall clock without forward jumps: after one, it continues at the monotonic clock's pace.

    A jump is believed after BELIEVED_S. A jump before the start of the process is not noticed.
    """

    def __init__(self) -> None:
        self._believed: tuple[int, float] | None = None
        self._ahead_since: float | None = None

    def now_ms(self, wall_ms: int, monotonic_s: float) -> int:
        """Return the time that counts as now, in ms since 1970."""
        if self._believed is not None:
            before_ms, at_s = self._believed
            due_ms = before_ms + round((monotonic_s - at_s) * 1000)
            if wall_ms > due_ms + JUMP_MS:
                if self._ahead_since is None:
                    self._ahead_since = monotonic_s
                    _log.warning("the clock has jumped ahead: retention waits for a day")
                if monotonic_s - self._ahead_since < BELIEVED_S:
                    return due_ms
        self._ahead_since = None
        self._believed = wall_ms, monotonic_s
        return wall_ms


class Retention(ThreadOwner):
    """Erases what `kept` says, at start and every hour, in a thread. A context manager.

    `store` is of this machine's journal: recordings of other machines are theirs.
    """

    def __init__(
        self, engine: Engine, files: LocalFiles, store: RecordStore, kept: RetentionSettings
    ) -> None:
        self._engine = engine
        self._files = files
        self._store = store
        self._kept = kept
        self._aging = Aging()
        self.thread = BackgroundThread("retention", self._work)

    def _work(self) -> float:
        if self.thread.stopping:
            return 0.0
        try:
            with self._engine.connect() as connection:
                wall_ms = clock_ms(connection)
            swept = self.sweep(self._aging.now_ms(wall_ms, time.monotonic()))
        except SQLAlchemyError as error:
            _log.warning("retention waits for the database: %s", type(error).__name__)
            return AGAIN_S
        except Exception as error:  # noqa: BLE001 - what is old goes, whatever it was
            # The error's message may hold what was said.
            _log.error("a fault: retention raised %s", type(error).__name__)
            return AGAIN_S
        if any(swept):
            _log.info("retention: text of %d calls and %d recordings are erased", *swept)
        return EVERY_S

    def sweep(self, now_ms: int) -> Swept:
        """Erase texts and audio that are too old at `now_ms`.

        Raises SQLAlchemyError, and OSError for the folder.

        A file that cannot be deleted is left for the next time, with its call's row.
        """
        texts = recordings = 0
        with self._engine.begin() as connection:
            lost = self._store.end_lost(connection, now_ms - LOST_MS)
        if lost:
            _log.warning("%d calls had no end, and their server did not come back", len(lost))
        here = set(self._files.names())
        if self._kept.text_days is not None:
            before_ms = now_ms - self._kept.text_days * _DAY_MS
            spoken = _calls.text_erased.is_(False) & _calls.duration_ms.is_not(None)
            texts = self._in_batches(before_ms, spoken, _erase_texts)
        if self._kept.audio_days is not None:
            before_ms = now_ms - self._kept.audio_days * _DAY_MS
            recorded = _calls.recording.is_not(None) & _calls.duration_ms.is_not(None)
            erase_audio = functools.partial(self._erase_audio, here)
            recordings = self._in_batches(before_ms, recorded, erase_audio)
        recordings += self._delete_unwanted(here)
        write_lengths(self._engine, self._files, self._store.machine_id, here)
        if texts:
            empty_wal(self._engine)
        return Swept(texts, recordings)

    def _in_batches(self, before_ms: int, which: ColumnElement[bool], erase: _Erase) -> int:
        """Erase parts of calls that began before a time, oldest first, in a transaction a batch.

        Calls that another server has locked are left to it. Returns the number of calls changed.
        """
        count = 0
        position = tuple_(_calls.started_ms, _calls.sid)
        after = (-1, "")
        while not self.thread.stopping:
            query = (
                select(_calls.sid, _calls.started_ms, _calls.journal, _calls.recording)
                .where(which, _calls.started_ms < before_ms, position > after)
                .order_by(_calls.started_ms, _calls.sid)
                .limit(BATCH_CALLS)
                .with_for_update(skip_locked=True)
            )
            with self._engine.begin() as connection:
                batch = [_Old(*row) for row in connection.execute(query)]
                if not batch:
                    break
                count += erase(connection, batch)
            after = batch[-1].started_ms, batch[-1].sid
        return count

    def _erase_audio(self, here: set[str], connection: Connection, batch: list[_Old]) -> int:
        gone = []
        for row in batch:
            if row.recording is not None and row.recording in here:
                if not self._delete(row.recording):
                    continue
            elif row.journal != self._store.machine_id:
                continue
            gone.append(row.sid)
        values = {"recording": None, "recording_ms": None}
        connection.execute(update(tables.calls).where(_calls.sid.in_(gone)).values(**values))
        return len(gone)

    def _delete_unwanted(self, here: set[str]) -> int:
        """Delete recordings that another machine erased, or that could not be deleted before."""
        names = tables.unwanted_files.c.name
        with self._engine.connect() as connection:
            unwanted = here.intersection(connection.scalars(select(names)))
        gone = [name for name in sorted(unwanted) if self._delete(name)]
        for name in gone:
            with self._engine.begin() as connection:
                connection.execute(delete(tables.unwanted_files).where(names == name))
        return len(gone)

    def _delete(self, name: str) -> bool:
        """Delete a recording. Return whether it is gone."""
        try:
            reading.delete(self._files, name)
        except OSError as error:
            _log.warning("the recording %s cannot be deleted: %s", name, error.strerror)
            return False
        return True


def _erase_texts(connection: Connection, batch: list[_Old]) -> int:
    """Erase what was said, pressed or looked up in calls; the rest of the record stays."""
    sids = [row.sid for row in batch]
    erase_texts(connection, sids)
    nothing = {"from_number": "", "to_number": "", "variables": "{}", "text_erased": True}
    connection.execute(update(tables.calls).where(_calls.sid.in_(sids)).values(**nothing))
    return len(sids)
