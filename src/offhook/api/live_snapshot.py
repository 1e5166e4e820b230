"""Snapshots of the live calls, right from the first one after a start of this process."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec
from sqlalchemy import Connection

from offhook.api.live import LiveEvents
from offhook.api.live_board import TAKEN, LiveBoard
from offhook.api.live_fleet import LiveFleet
from offhook.api.reading import too_slow
from offhook.journal.entries import JournalEntry
from offhook.records.live_calls import live_entries

LOOK_S: Final = 0.05
"""Seconds between two looks if the database has the lines that are needed."""
LOOKS: Final = 100

_T = TypeVar("_T")


class Ask(Protocol):
    """Runs a question to the database in a thread."""

    def __call__(self, question: Callable[[Connection], _T], /) -> Awaitable[_T]:
        """Return the answer. Raises ApiError 503 when it takes too long."""


class LiveSnapshots:
    """Snapshots of `board`, each with the id of the last event that is in it.

    `fleet` has the other nodes. `skipped` returns the number of the last line of each process that
    was there before this process followed it, or None while that is not known. Calls from before
    are read from the database, once, for the first snapshot. `root` is the folder of journals.
    """

    def __init__(
        self,
        board: LiveBoard,
        live: LiveEvents,
        fleet: LiveFleet,
        root: Path,
        skipped: Callable[[], Mapping[str, int] | None],
    ) -> None:
        self._board = board
        self._live = live
        self._fleet = fleet
        self._root = root
        self._skipped = skipped
        self._is_complete = False
        self._lock = asyncio.Lock()

    async def take(self, ask: Ask) -> bytes:
        """Return a snapshot as JSON. Raises ApiError 503 while the database does not answer."""
        async with self._lock:
            if not self._is_complete:
                await self._complete(ask)
        await self._fleet.until_known()
        snapshot: dict[str, Any] = {
            "last_event_id": self._live.id_of(self._live.last).decode(),
            "calls": self._board.rows(),
            "nodes": self._fleet.nodes,
        }
        return msgspec.json.encode(snapshot)

    async def _complete(self, ask: Ask) -> None:
        """Add the calls that began before this process followed them."""
        for _ in range(LOOKS):
            skipped = self._skipped()
            if skipped is not None:
                # What is taken from here on comes behind what the database is asked for.
                until = {**skipped, **self._board.numbers}
                self._board.hold()
                try:
                    before = await ask(functools.partial(self._read, until))
                    if before is not None:
                        self._board.seed(before)
                        self._is_complete = True
                        return
                finally:
                    self._board.release()
            await asyncio.sleep(LOOK_S)
        raise too_slow()

    def _read(self, until: Mapping[str, int], connection: Connection) -> list[JournalEntry] | None:
        # Of a process whose folder is gone the database has every line.
        there = {name: line for name, line in until.items() if (self._root / name).exists()}
        return live_entries(connection, there, TAKEN)
