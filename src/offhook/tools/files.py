"""The files with an agent's tools: loaded once, and again for new calls when they have changed."""

import importlib.util
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from offhook.tools.declare import BadTool, Tool
from offhook.yamlfile import BadFile, Finding, Place

_log: Final = logging.getLogger("offhook.tools")

AnyTool: TypeAlias = Tool[..., Any]
Toolbox: TypeAlias = Mapping[str, AnyTool]
"""Tools by name."""


class ToolFiles:
    """What an agent's `tools:` names. Raises BadFile E-TOOL-01 when made of a file with a mistake.

    A file's folder is where it may import from, as with a script.
    """

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        self._paths = tuple(paths)
        self._stamps = self._look()
        self._tools = _load(self._paths)

    def latest(self) -> Toolbox:
        """The tools as the files are now; as they were while one of them has a mistake."""
        stamps = self._look()
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._tools = _load(self._paths)
            except BadFile as bad:
                _log.error("%s %s The tools stay as they were. %s", bad.code, bad.what, bad.fix)
            else:
                _log.info("tools read again: %s", ", ".join(self._tools))
        return self._tools

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolFiles) and self._paths == other._paths

    def __hash__(self) -> int:
        return hash(self._paths)

    def _look(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in self._paths)


def _load(paths: Sequence[Path]) -> Toolbox:
    tools: dict[str, AnyTool] = {}
    for path in paths:
        found = [each for each in vars(_module(path)).values() if isinstance(each, Tool)]
        if not found:
            raise _bad(path, 1, "There is no tool in this file.", "Put @tool above a function.")
        for each in found:
            known = tools.setdefault(each.name, each)
            if known is not each:
                place = f"{Path(known.file).name}:{known.line}"
                text = f'"{each.name}" is the name of another tool, at {place}.'
                raise _bad(Path(each.file), each.line, text, "Give one of them another name.")
    return MappingProxyType(tools)


def _module(path: Path) -> Any:
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    # Not entered in sys.modules: two agents may each have a tools.py of their own.
    spec = importlib.util.spec_from_file_location(f"offhook_tools.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise _bad(path, 1, "This is not a Python file.", "Give it a name that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        text = f"This is not Python: {error.msg}."
        raise _bad(path, error.lineno or 1, text, "Correct this line.") from None
    except BadTool as bad:
        raise _bad(path, _line(path, bad), f"{bad}.", "Correct this function.") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's file does
        # What it says may hold anything, also a secret: its kind and line have to do.
        text = f"The file raised {type(error).__name__} when it was loaded."
        raise _bad(path, _line(path, error), text, f"Run it: python {path}") from None
    return module


def _line(path: Path, error: BaseException) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.lineno and Path(f.filename) == path]
    return lines[-1] if lines else 1


def _bad(path: Path, line: int, text: str, fix: str) -> BadFile:
    return BadFile("E-TOOL-01", [Finding("error", text, fix, Place(path, line, 1))])
