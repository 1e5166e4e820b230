"""The tools of an agent: those in the user's files, and those that are built in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from offhook.tools import modules
from offhook.tools.declare import Tool
from offhook.tools.modules import Latest

AnyTool: TypeAlias = Tool[..., Any]
Toolbox: TypeAlias = Mapping[str, AnyTool]
"""Tools by name."""


_NONE: Final[Toolbox] = MappingProxyType({})


class ToolFiles:
    """The tools that an agent's `tools:` names: `built_in` ones, and those of files.

    Made of a file with a mistake it raises InvalidFileError E-TOOL-01.
    """

    def __init__(self, paths: Sequence[Path] = (), built_in: Toolbox = _NONE) -> None:
        self._built_in = tuple(built_in)
        self.toolbox: Final = Latest(paths, lambda: _load(tuple(paths), built_in))
        """The tools: as they were before, while one of the files has a mistake."""

    @property
    def current(self) -> Toolbox:
        """The tools as the files were when they were last looked at. Does not look at them."""
        return self.toolbox.current

    @property
    def _what(self) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        return self.toolbox.paths, self._built_in

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolFiles) and self._what == other._what

    def __hash__(self) -> int:
        return hash(self._what)


def _load(paths: Sequence[Path], built_in: Toolbox) -> Toolbox:
    tools: dict[str, AnyTool] = dict(built_in)
    for path in paths:
        found = [each for each in vars(modules.load(path)).values() if isinstance(each, Tool)]
        if not found:
            raise modules.mistake(
                path, 1, "There is no tool in this file.", "Put @tool above a function."
            )
        for each in found:
            known = tools.setdefault(each.name, each)
            if known is not each:
                place = f"another tool, at {Path(known.file).name}:{known.line}"
                if each.name in built_in:
                    place = "a built-in tool, which the agent file lists too"
                text = f'"{each.name}" is the name of {place}.'
                of = Path(each.file)
                # Under the user's name for it; and in another file, when this file imported it.
                raise modules.mistake(
                    path if of == path.absolute() else of,
                    each.line,
                    text,
                    "Give one of them another name.",
                )
    return MappingProxyType(tools)
