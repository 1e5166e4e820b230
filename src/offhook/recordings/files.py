"""The folder of recordings: files by name."""

import os
import re
import tempfile
from pathlib import Path
from typing import BinaryIO, Final

from offhook.errors import UserError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class LocalFiles:
    """Files by name in a folder, which need not be there until something is created.

    Each method blocks. Raises OSError as the disk does (FileNotFoundError for a file that is not
    there), and UserError E-AUD-03 for a name that could lead elsewhere.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, for its owner alone.

        Raises UserError E-AUD-01 if none can write there.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise UserError(
                "E-AUD-01",
                f"Calls cannot be recorded into {self._folder}: {error.strerror}.",
                "Set records.folder to a folder that can be written.",
            ) from None

    def create(self, name: str) -> BinaryIO:
        """Create a file that its owner alone can read."""
        return os.fdopen(self._descriptor(name, os.O_RDWR | os.O_CREAT | os.O_EXCL), "w+b")

    def open(self, name: str, *, change: bool = False) -> BinaryIO:
        """Open a file, but not what a link leads to."""
        if change:
            return os.fdopen(self._descriptor(name, os.O_RDWR), "r+b")
        return os.fdopen(self._descriptor(name, os.O_RDONLY), "rb")

    def size(self, name: str) -> int:
        """Return the size of a file in bytes, now."""
        return self._path(name).lstat().st_size

    def delete(self, name: str) -> None:
        """Delete a file."""
        self._path(name).unlink()

    def names(self) -> list[str]:
        """Return every plain file; none when there is no folder yet."""
        try:
            with os.scandir(self._folder) as entries:
                found = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        return sorted(filter(_NAME.fullmatch, found))

    def _descriptor(self, name: str, flags: int) -> int:
        # Windows has no such links to refuse, and needs to be told that the bytes are bytes.
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        return os.open(self._path(name), flags, 0o600)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UserError(
                "E-AUD-03",
                "This is not the name of a recording: it could lead out of their folder.",
                'Use a name as "offhook calls" shows it, such as 20261124T134326Z-CA….wav.',
            )
        return self._folder / name
