"""The files by which agents are made, and whether one of them has changed."""

import os
from pathlib import Path
from typing import Final

from offhook.tools.modules import stamp

_ENDINGS: Final = (".yaml", ".yml", ".py")
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "venv"})

FILES_MAX: Final = 2000
"""Files that are watched, at most: a folder with more holds other things than agents."""


class ChangedFiles:
    """YAML and Python files of a folder and its subfolders, but for hidden ones and `skipped`."""

    def __init__(self, folder: Path, skipped: Path) -> None:
        self._folder = folder
        self._skipped = skipped.resolve()
        self._stamps = self._look()

    def have_changed(self) -> bool:
        """Return whether a file has come, gone or changed since the last look."""
        before, self._stamps = self._stamps, self._look()
        return before != self._stamps

    def _look(self) -> dict[Path, int]:
        found: dict[Path, int] = {}
        for name, folders, files in os.walk(self._folder):
            here = Path(name)
            folders[:] = sorted(
                each
                for each in folders
                if each not in _SKIPPED
                and not each.startswith(".")
                and (here / each).resolve() != self._skipped
            )
            for each in files:
                if each.endswith(_ENDINGS) and not each.startswith("."):
                    found[here / each] = stamp(here / each)
            if len(found) > FILES_MAX:
                break
        return found
