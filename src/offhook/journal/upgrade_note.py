"""A note in the folder of journals: how far an upgrade of the database is, for other processes.

Who upgrades writes it each second, and it changes each time. A note that does not change any more
was left by a process that died.
"""

import contextlib
from pathlib import Path
from typing import Final

from offhook.clock import MachineClocks

FILE: Final = "upgrade"
"""Name of the file, in the folder of journals."""

STALE_S: Final = 10.0
"""Seconds without a change after which a note counts as left behind."""

_MAX: Final = 300
"""Characters of a note that are read."""


def write(root: Path, text: str) -> None:
    """Write the note. A disk that does not take it keeps nothing up."""
    path = root / FILE
    new = path.with_name(f".{FILE}")
    with contextlib.suppress(OSError):
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def remove(root: Path) -> None:
    """Remove the note: the upgrade is over."""
    with contextlib.suppress(OSError):
        (root / FILE).unlink(missing_ok=True)


class UpgradeNote:
    """Reader of the note."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE
        self._text = ""
        self._since = 0.0
        self._now = MachineClocks().monotonic

    def read(self) -> str:
        """Return what the note says; empty without a note, or for one that was left behind."""
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                text = file.read(_MAX)
        except OSError:
            text = ""
        now = self._now()
        if text != self._text:
            self._text, self._since = text, now
        return text if now < self._since + STALE_S else ""
