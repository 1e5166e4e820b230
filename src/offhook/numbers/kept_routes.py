"""The routes that numbers had before Offhook changed them, in files, one for each number.

A file is on disk before Twilio is changed, and until the number is as it was: so a crash at any
moment loses nothing. Whether a number still has a route of ours, or one that somebody has set
since, is decided by what Twilio says it has.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from offhook.errors import UserError
from offhook.journal.folders import FileLock
from offhook.numbers.routes import NumberRoute

FOLDER: Final = "numbers"
"""Folder in the folder of the records."""

_LOCK: Final = "lock"

Holder: TypeAlias = Literal["dev", "set"]
"""Changer of a number: `offhook dev` until it ends, or `offhook numbers set` for good."""

HOLDERS: Final[tuple[Holder, ...]] = get_args(Holder)


class KeptRoute(msgspec.Struct, frozen=True):
    """The routes of a number before `holder` changed it, and all that `holder` has set."""

    account_sid: str
    sid: str
    phone_number: str
    holder: Holder
    before: NumberRoute
    ours: tuple[NumberRoute, ...]

    def restored(self, current: NumberRoute) -> NumberRoute:
        """Return the routes to set: the old ones in place of ours, and those of somebody else."""
        voices = {one.voice for one in self.ours}
        statuses = {one.status for one in self.ours}
        return NumberRoute(
            self.before.voice if current.voice in voices else current.voice,
            self.before.status if current.status in statuses else current.status,
        )


class KeptRoutes:
    """The files of one data folder."""

    def __init__(self, records_folder: Path) -> None:
        self.folder: Final = records_folder / FOLDER

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other commands from the numbers of this data folder while entered.

        Raises UserError E-NUM-08 while another one has them, and E-NUM-05.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(self.folder / _LOCK)
        except OSError as error:
            raise self._unwritable(error) from None
        with contextlib.closing(lock):
            if not lock.take():
                raise UserError(
                    "E-NUM-08",
                    "Another offhook dev, or offhook numbers, has the numbers of this data folder:"
                    f" {self.folder}.",
                    "Stop it, with Ctrl-C in its terminal, and run this again.",
                )
            yield

    def all(self) -> Sequence[KeptRoute]:
        """Return all that is kept, in the order in which it has to be restored.

        Raises UserError E-NUM-06 for a file that cannot be read.
        """
        found = [self._read(path) for path in sorted(self.folder.glob("PN*.json"))]
        return sorted(found, key=lambda kept: HOLDERS.index(kept.holder))

    def find(self, sid: str, holder: Holder) -> KeptRoute | None:
        """Return what is kept of a number; None if nothing is. Raises as `all`."""
        path = self._path(sid, holder)
        return self._read(path) if path.exists() else None

    def keep(self, kept: KeptRoute) -> None:
        """Write a file, on disk when this returns. Raises UserError E-NUM-05."""
        path = self._path(kept.sid, kept.holder)
        try:
            fd, name = tempfile.mkstemp(dir=self.folder, prefix=".")  # its mode is 0600
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
            self._sync_folder()
        except OSError as error:
            raise self._unwritable(error) from None

    def put_aside(self, kept: KeptRoute) -> Path:
        """Rename a file that is not to be restored any more; return its new path."""
        path = self._path(kept.sid, kept.holder)
        number = 1
        while (aside := path.with_suffix(f".json.{number}")).exists():
            number += 1
        try:
            path.rename(aside)
        except OSError as error:
            raise self._unwritable(error) from None
        return aside

    def remove(self, kept: KeptRoute) -> None:
        """Remove the file of a number that is as it was."""
        try:
            self._path(kept.sid, kept.holder).unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None

    def _path(self, sid: str, holder: Holder) -> Path:
        return self.folder / f"{sid}.{holder}.json"

    def _read(self, path: Path) -> KeptRoute:
        try:
            return msgspec.json.decode(path.read_bytes(), type=KeptRoute)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UserError(
                "E-NUM-06",
                f"{path} cannot be read ({type(error).__name__}). It holds what a number had"
                " before Offhook changed it.",
                "Set the number in the Twilio Console by what the file says, and remove the file.",
            ) from None

    def _sync_folder(self) -> None:
        if os.name != "posix":
            return  # a folder cannot be opened there
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            "E-NUM-05",
            "What the number had before cannot be written to"
            f" {self.folder}: {error.strerror}. The number was not changed.",
            "Let this user write there, or set records.folder in offhook.yaml.",
        )
