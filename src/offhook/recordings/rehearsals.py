"""Recordings that `demo` and `rehearse` leave in the folder in which they run."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DEFAULT: Final = Path("rehearsal.wav")
"""File of a rehearsed call, unless another one is asked for."""

_DEMO_FOLDER: Final = Path("calls")
_DEMO: Final = "demo-{}.wav"


def of_demo(call_sid: str) -> Path:
    """Return the file of a demo call."""
    return _DEMO_FOLDER / _DEMO.format(call_sid[-6:])


def left(folder: Path, before_s: float | None = None) -> list[Path]:
    """Return the files in `folder` that both have left, the oldest first.

    `before_s`: only those that were written before this time, in seconds since 1970.
    """
    found: list[tuple[float, Path]] = []
    for path in (folder / DEFAULT, *(folder / _DEMO_FOLDER).glob(_DEMO.format("*"))):
        with contextlib.suppress(OSError):  # it is gone, or was never there
            found.append((path.stat().st_mtime, path))
    return [path for at, path in sorted(found) if before_s is None or at < before_s]


def erase(paths: Sequence[Path]) -> dict[str, str]:
    """Remove such files. Return those that could not be removed, and why."""
    stuck: dict[str, str] = {}
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            stuck[str(path)] = error.strerror or type(error).__name__
    return stuck
