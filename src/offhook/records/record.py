"""The record of a server that writes its journal and follows it in one process."""

from pathlib import Path
from typing import Final, Self

from sqlalchemy import Engine

from offhook.concurrency.background_thread import BackgroundThread
from offhook.config import Prices
from offhook.events.types import CallEvent
from offhook.journal.keeper import EventJournal
from offhook.records.follower import RecordFollower

LIMIT_BYTES: Final = 1_000_000_000
"""Bytes of the journal, unless it is said."""


class Record:
    """Keeps every event of every call. A subscriber; a context manager that runs the threads.

    `folder` is that of journals. Raises UserError as EventJournal and RecordFollower do.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        prices: Prices,
        *,
        after_call: bool = False,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self.follower: Final = RecordFollower(engine, folder, prices, after_call=after_call)
        try:
            self.journal: Final = EventJournal(folder, limit_bytes)
        except BaseException:
            self.follower.stop()
            raise

    def __call__(self, call_event: CallEvent) -> None:
        """Keep an event: it survives the end of this process some milliseconds from now."""
        self.journal(call_event)

    @property
    def lost(self) -> int:
        """Number of lines that were lost because the disk had no room."""
        return self.journal.lost

    @property
    def waiting(self) -> int:
        """Number of lines that the database does not have yet."""
        return self.journal.waiting

    @property
    def threads(self) -> tuple[BackgroundThread, ...]:
        """The journal's thread and the database's."""
        return *self.journal.threads, self.follower.thread

    @property
    def state(self) -> str:
        """State for readiness: the journal's, and if that is `ok`, the follower's."""
        kept = self.journal.state
        return kept if kept != "ok" else self.follower.state

    def __enter__(self) -> Self:
        self.journal.__enter__()
        try:
            self.follower.__enter__()
        except BaseException:
            self.journal.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.__exit__()
        self.follower.stop()
