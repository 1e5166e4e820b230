"""A journal, and the follower that brings it into the database, in one process."""

from pathlib import Path
from typing import Self

from sqlalchemy import Engine

from offhook.concurrency.background_thread import BackgroundThread
from offhook.config import Prices
from offhook.events.types import CallEvent
from offhook.journal.keeper import EventJournal
from offhook.records.follower import RecordFollower

LIMIT_BYTES = 1_000_000_000


class Record:
    """Keeps every event of every call. A subscriber; a context manager that runs the threads."""

    def __init__(self, engine: Engine, folder: Path, prices: Prices) -> None:
        self.follower = RecordFollower(engine, folder, prices)
        try:
            self.journal = EventJournal(folder, LIMIT_BYTES)
        except BaseException:
            self.follower.stop()
            raise

    def __call__(self, call_event: CallEvent) -> None:
        self.journal(call_event)

    @property
    def lost(self) -> int:
        return self.journal.lost

    @property
    def waiting(self) -> int:
        return self.journal.waiting

    @property
    def threads(self) -> tuple[BackgroundThread, ...]:
        """The journal's thread and the database's."""
        return *self.journal.threads, self.follower.thread

    @property
    def state(self) -> str:
        kept = self.journal.state
        if kept != "ok" or self.follower.failing_since is None:
            return kept
        return "waiting for the database"

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
