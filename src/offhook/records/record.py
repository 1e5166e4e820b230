"""The record as the server has it: a subscriber that loses nothing, and its writer."""

import logging
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Engine

from offhook.events import Happening
from offhook.records.journal import Journal, JournalFull
from offhook.records.lines import encode
from offhook.records.prices import Prices
from offhook.records.writer import Writer

_log: Final = logging.getLogger("offhook.records")


SETTLING_S: Final = 10.0
"""How long a starting server waits for what an earlier run left behind to be in the database."""


class Record:
    """Keeps every event of every call. A subscriber; a context manager that runs the writer.

    `folder` is the journal's. Raises Problem as Journal does; on entering, E-REC-04 for a database
    of a newer version. One that cannot be reached is waited for, while calls are answered.
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
        """Lines for which no disk had room."""
        self.journal: Final = Journal(folder)
        self._writer = Writer(engine, self.journal, prices, after_call=after_call)

    def __call__(self, happening: Happening) -> None:
        """Keep it: from here on it survives this process."""
        try:
            self.journal.append(encode(happening, time.time_ns() // 1_000_000))
        except JournalFull as full:
            self.lost += 1
            if self.lost == 1 or self.lost % 1000 == 0:
                _log.critical(
                    "E-REC-06 the disk is full and the database takes nothing (%s): %d lines lost",
                    full,
                    self.lost,
                )
            return
        self._writer.wake()

    @property
    def recent(self) -> list[str]:
        """CallSids of the last day, as far as the database has told."""
        return self._writer.recent

    @property
    def waiting(self) -> int:
        """Lines that the database does not have yet."""
        return self.journal.waiting

    @property
    def state(self) -> str:
        """One word or two for readiness: `ok`, `waiting for the database`, `losing lines`."""
        if self._writer.failing_since is None:
            return "ok"
        return "losing lines" if self.lost else "waiting for the database"

    def __enter__(self) -> Self:
        self._writer.start()
        self._writer.settled.wait(SETTLING_S)
        if self._writer.refused is not None:
            self._close()
            raise self._writer.refused
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer.stop():
            self.journal.close()
