"""The record of calls whose servers are in this process: one journal, followed into a database."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, select

from offhook.config import Prices
from offhook.journal.keeper import EventJournal
from offhook.records import database, tables
from offhook.records.follower import RecordFollower

KEPT_S = 60.0
"""How long the end of a call may take until it is in the database."""

LOOK_S = 0.1
JOURNAL_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class KeptCall:
    """What the database has of one call, in the order of the journal."""

    ending: str
    """Its slug; "none" while the database knows of no end."""
    events: tuple[str, ...]
    """Names of the types of its events."""
    caller: tuple[str, ...]
    """Utterances of the caller."""
    agent: tuple[str, ...]
    """Utterances of the agent, as far as they were heard."""


class CallRecords:
    """A database that has what `journal` keeps, some moments later."""

    def __init__(self, journal: EventJournal, engine: Engine) -> None:
        self.journal = journal
        self._engine = engine

    async def of(self, call_sid: str) -> KeptCall:
        """Return what is kept of a call that is over, once its end is, or after KEPT_S."""
        given_up = time.monotonic() + KEPT_S
        while True:
            kept = await asyncio.to_thread(self._read, call_sid)
            if kept.ending != "none" or time.monotonic() > given_up:
                return kept
            await asyncio.sleep(LOOK_S)

    def _read(self, call_sid: str) -> KeptCall:
        calls, events, said = tables.calls, tables.events, tables.utterances
        with self._engine.connect() as connection:
            ending = connection.scalar(select(calls.c.slug).where(calls.c.sid == call_sid))
            kinds = connection.scalars(
                select(events.c.kind).where(events.c.call_sid == call_sid).order_by(events.c.line)
            ).all()
            lines = connection.execute(
                select(said.c.who, said.c.text)
                .where(said.c.call_sid == call_sid)
                .order_by(said.c.line)
            ).all()
        return KeptCall(
            ending or "none",
            tuple(kinds),
            tuple(text for who, text in lines if who == "caller"),
            tuple(text for who, text in lines if who == "agent"),
        )


@asynccontextmanager
async def kept_in(folder: Path, database_url: str | None) -> AsyncIterator[CallRecords]:
    """Keep a journal in a folder, and follow it into a database; None is SQLite in the folder."""
    engine = database.open_engine(database.url_of(database_url or f"sqlite:///{folder}/offhook.db"))
    with contextlib.ExitStack() as parts:
        parts.callback(engine.dispose)
        root = folder / "journal"
        # Left in the other order: the follower sees the last lines of a journal that is closed.
        follower = RecordFollower(engine, root, Prices())
        await asyncio.to_thread(parts.enter_context, follower)
        journal = parts.enter_context(EventJournal(root, JOURNAL_BYTES))
        try:
            yield CallRecords(journal, engine)
        finally:
            await asyncio.to_thread(parts.close)
