"""Progress of an upgrade of the database: which step, since when, and how much it has written."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import Engine

from offhook.clock import MachineClocks
from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.journal import upgrade_note

_log: Final = logging.getLogger("offhook.records")

QUIET_S: Final = 2.0
"""Seconds for which an upgrade goes on without a word."""

NOTE_S: Final = 1.0
"""Seconds between two notes for other processes."""

LOG_S: Final = 10.0
"""Seconds between two lines of the log."""


@dataclass(frozen=True, slots=True)
class UpgradeStep:
    """A step of an upgrade: the `number`-th of `total`, to the schema `version`."""

    number: int
    total: int
    version: str

    def __str__(self) -> str:
        return f"step {self.number} of {self.total} (schema {self.version})"


OnStep: TypeAlias = Callable[[UpgradeStep], None]


def unobserved(step: UpgradeStep) -> None:
    """Take a step that nobody is told of."""


class UpgradeProgress(ThreadOwner):
    """Tells how far an upgrade is, while entered: in the log, and in a note in `root`.

    An upgrade of a second or two is not told of, and neither is the first making of the tables.
    """

    def __init__(self, engine: Engine, root: Path) -> None:
        self._root = root
        is_file = engine.dialect.name == "sqlite" and engine.url.database is not None
        self._file = Path(str(engine.url.database)) if is_file else None
        self._step: UpgradeStep | None = None
        self._now = MachineClocks().monotonic
        self._began = self._now()
        self._log_at = self._began + QUIET_S
        self._is_told = False
        self.thread = BackgroundThread("upgrade progress", self._tell)

    def on_step(self, step: UpgradeStep) -> None:
        """Take the step that begins now."""
        if self._step is None:
            self._began = self._now()
            self._log_at = self._began + QUIET_S
        self._step = step

    def _tell(self) -> float:
        now = self._now()
        if self._step is None or now < self._began + QUIET_S or self.thread.stopping:
            return min(NOTE_S, QUIET_S)
        text = f"the database is upgraded: {self._step}, {self._measures(now)}"
        upgrade_note.write(self._root, text)
        if now >= self._log_at:
            self._log_at = now + LOG_S
            self._is_told = True
            _log.info("%s; calls go on meanwhile", text)
        return NOTE_S

    def _measures(self, now: float) -> str:
        parts = [f"{now - self._began:.0f} s so far"]
        if self._file is not None:
            written, size = _bytes(self._file, "-wal"), _bytes(self._file)
            parts.append(f"{written / 1e6:.0f} MB written of a database of {size / 1e6:.0f} MB")
        return ", ".join(parts)

    def _after_stop(self, *, in_time: bool) -> None:
        upgrade_note.remove(self._root)
        if self._is_told:
            _log.info("the upgrade of the database has taken %.0f s", self._now() - self._began)


def _bytes(file: Path, suffix: str = "") -> int:
    """Return the size of the database's file, or of its write-ahead log; 0 without one."""
    try:
        return file.with_name(file.name + suffix).stat().st_size
    except OSError:
        return 0
