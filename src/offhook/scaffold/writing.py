"""Writing of several files: all of them or none, and nothing of the user's is lost."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from offhook.errors import UserError

PRIVATE: Final = 0o600
PUBLIC: Final = 0o666
"""Permissions of a new file, from which the user's umask takes its part."""

_WITHOUT_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""Errors of a file system that has no hard links."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to write. `before` is its content until now; None if it must not be there yet."""

    path: Path
    text: str = field(repr=False)
    before: bytes | None = field(default=None, repr=False)
    mode: int = PUBLIC


def write_all(files: Sequence[NewFile]) -> None:
    """Write all files, each at once. An exception, or Ctrl-C, leaves everything as it was.

    Raises UserError E-INIT-01 for a file that has come or changed since it was looked at, and
    E-INIT-02 for one that cannot be written.
    """
    try:
        with contextlib.ExitStack() as undo:
            made = [(file, _beside(file, undo)) for file in files]
            for file, temporary in made:
                _put(file, temporary, undo)
            undo.pop_all()
    except OSError as error:
        raise UserError(
            "E-INIT-02",
            f"{error.filename or 'A file'} cannot be written: {error.strerror or error}.",
            "Name a folder that you may write to: offhook init FOLDER",
        ) from None


def _beside(file: NewFile, undo: contextlib.ExitStack) -> Path:
    """Write a file's text into another file beside it, and return that one."""
    for folder in reversed(list(_missing(file.path.parent))):
        undo.callback(_remove_folder, folder)
        folder.mkdir(exist_ok=True)
    temporary = file.path.with_name(f".{file.path.name}.{secrets.token_hex(4)}.tmp")
    undo.callback(temporary.unlink, missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(temporary, flags, file.mode), "wb") as written:  # noqa: PTH123 - by number
        written.write(file.text.encode())
    return temporary


def _missing(folder: Path) -> Iterator[Path]:
    while not folder.exists():
        yield folder
        folder = folder.parent


def _put(file: NewFile, temporary: Path, undo: contextlib.ExitStack) -> None:
    """Move a file to its place, which must be as it was when it was looked at."""
    number = temporary.stat().st_ino
    undo.callback(_put_back, file, number)
    if file.before is not None:
        if file.path.read_bytes() != file.before:
            raise _changed(file.path)
        temporary.replace(file.path)
        return
    try:
        os.link(temporary, file.path)
    except FileExistsError:
        raise _changed(file.path) from None
    except OSError as error:
        if error.errno not in _WITHOUT_LINKS:
            raise
        if file.path.exists():
            raise _changed(file.path) from None
        temporary.replace(file.path)
    temporary.unlink(missing_ok=True)


def _put_back(file: NewFile, number: int) -> None:
    """Undo `_put`, as far as it has come: `number` is that of the new file."""
    with contextlib.suppress(FileNotFoundError):
        if file.path.stat().st_ino == number:
            if file.before is None:
                file.path.unlink()
            else:
                file.path.write_bytes(file.before)


def _remove_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # something of another's is in it by now
        folder.rmdir()


def _changed(path: Path) -> UserError:
    return UserError(
        "E-INIT-01",
        f"{path} is there already, or has changed meanwhile. Nothing was written.",
        "Name another folder: offhook init FOLDER",
    )
