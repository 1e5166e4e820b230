"""Token of the API: the configured one, else one that is made once and kept in a file."""

import os
import re
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from offhook.config import HARD_TO_GUESS
from offhook.errors import UserError

FILE: Final = "api-token"
"""Name of the file in the folder of the records."""


def token_in(folder: Path) -> SecretStr:
    """Return the token of the file in that folder; make the file if it is missing.

    Raises UserError E-API-01 when the file cannot be used, or others than its owner may read
    it.
    """
    path = folder / FILE
    try:
        found = _read(path)
        if found is None:
            _make(path)
            found = _read(path)
    except OSError as error:
        raise _unusable(path, f"{error.strerror}.") from None
    if found is None or not re.fullmatch(HARD_TO_GUESS, found):
        raise _unusable(path, "it holds no token of 16 to 256 characters.")
    return SecretStr(found)


def _read(path: Path) -> str | None:
    """Return the content of the file; None when there is no file."""
    try:
        # Follow no symbolic link: its target is not our secret.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        if os.name == "posix" and stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            raise _unusable(path, "others than its owner may read or change it.")
        return file.read(1024).decode("ascii", errors="replace").strip()


def _make(path: Path) -> None:
    """Write the file completely or not at all: a crash leaves no partial token."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}-")  # its mode is 0600
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    Path(name).replace(path)


def _unusable(path: Path, why: str) -> UserError:
    return UserError(
        "E-API-01",
        f"The API's token in {path} cannot be used: {why}",
        "Delete that file, so that a new one is made, or set OFFHOOK_API_TOKEN.",
    )
