"""A user's Python files: loaded once, and again for new calls when they have changed."""

import contextlib
import importlib.util
import inspect
import logging
import os
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from offhook.tools.declare import ToolDefinitionError
from offhook.yamlfile import Finding, InvalidFileError, Place

_log: Final = logging.getLogger("offhook.tools")

T = TypeVar("T")


class Latest(Generic[T]):
    """An object that `load` makes of some files, and makes anew when one of them has changed.

    Making it raises what `load` does. A changed file with a mistake is logged, and leaves what was
    there; `load` raises InvalidFileError then.

    The event loop takes `current`; a thread calls `refresh`, since to load a user's file is to run
    it.
    """

    def __init__(self, paths: Sequence[Path], load: Callable[[], T]) -> None:
        self.paths: Final = tuple(paths)
        self._load = load
        self._lock = threading.Lock()
        self._stamps = self._look()
        self._made = load()

    @property
    def current(self) -> T:
        """The object, as its files were when they were last looked at. Does not look at them."""
        return self._made

    def has_changed(self) -> bool:
        """Return whether a file has changed since. Looks at the files: not for the event loop."""
        return self._look() != self._stamps

    def refresh(self) -> T:
        """Return the object, as its files are now. Blocks for as long as they take to load.

        While another thread loads them, return what was there before. A load that hangs keeps
        nothing from being loaded after the next change.
        """
        stamps = self._look()
        with self._lock:
            if stamps == self._stamps:
                return self._made
            self._stamps = stamps
        names = ", ".join(path.name for path in self.paths)
        try:
            made = self._load()
        except InvalidFileError as bad:
            _log.error("%s %s Nothing of %s changes. %s", bad.code, bad.what, names, bad.fix)
            return self._made
        with self._lock:
            if stamps == self._stamps:  # else a later change was loaded meanwhile
                self._made = made
        _log.info("read again: %s", names)
        return self._made

    def _look(self) -> tuple[int, ...]:
        return tuple(stamp(path) for path in self.paths)


def load(path: Path) -> Any:
    """Return the module in that file. Raises InvalidFileError E-TOOL-01.

    A file's folder is where it may import from, as with a script.
    """
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    # Two agents may each have a tools.py of their own, so its name is made of the whole path.
    name = f"offhook_tools.{path.stem}_{zlib.crc32(os.fsencode(path.resolve())):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise mistake(path, 1, "This is not a Python file.", "Give it a name that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # where dataclasses and pydantic look for what hints name
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        text = f"This is not Python: {error.msg}."
        raise mistake(path, error.lineno or 1, text, "Correct this line.") from None
    except ToolDefinitionError as bad:
        raise mistake(path, _line(path, bad), f"{bad}.", "Correct this function.") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's file does
        # The error's message may hold a secret, so only its kind and line are logged.
        text = f"The file raised {type(error).__name__} when it was loaded."
        raise mistake(path, _line(path, error), text, f"Run it: python {path}") from None
    else:
        before = module
    finally:
        if before is None:
            sys.modules.pop(name, None)  # another thread may load the file, too
        else:
            sys.modules[name] = before
    return module


def function(path: Path, name: str) -> Callable[..., Any]:
    """Return the function of that name in that file. Raises InvalidFileError E-TOOL-01."""
    found = vars(load(path)).get(name)
    if not inspect.isfunction(found):
        text = f'There is no function "{name}" in this file.'
        raise mistake(path, 1, text, "Correct its name, or write it.")
    return found


def stamp(path: Path) -> int:
    """Return what differs as soon as a file has changed; 0 if it cannot be asked."""
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _line(path: Path, error: BaseException) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.lineno and Path(f.filename) == path.absolute()]
    return lines[-1] if lines else 1


def mistake(path: Path, line: int, text: str, fix: str) -> InvalidFileError:
    """Return the error for a mistake in a user's Python file."""
    return InvalidFileError("E-TOOL-01", [Finding("error", text, fix, Place(path, line, 1))])
