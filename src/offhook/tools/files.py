"""The files with an agent's tools."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from offhook.tools import modules
from offhook.tools.declare import Tool
from offhook.tools.modules import Latest

AnyTool: TypeAlias = Tool[..., Any]
Toolbox: TypeAlias = Mapping[str, AnyTool]
"""Tools by name."""


class ToolFiles:
    """What an agent's `tools:` names. Made of a file with a mistake it raises BadFile E-TOOL-01."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        self._tools = Latest(paths, lambda: _load(tuple(paths)))

    def latest(self) -> Toolbox:
        """The tools as the files are now; as they were while one of them has a mistake."""
        return self._tools.get()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolFiles) and self._tools.paths == other._tools.paths

    def __hash__(self) -> int:
        return hash(self._tools.paths)


def _load(paths: Sequence[Path]) -> Toolbox:
    tools: dict[str, AnyTool] = {}
    for path in paths:
        found = [each for each in vars(modules.load(path)).values() if isinstance(each, Tool)]
        if not found:
            raise modules.mistake(
                path, 1, "There is no tool in this file.", "Put @tool above a function."
            )
        for each in found:
            known = tools.setdefault(each.name, each)
            if known is not each:
                place = f"{Path(known.file).name}:{known.line}"
                text = f'"{each.name}" is the name of another tool, at {place}.'
                raise modules.mistake(
                    Path(each.file), each.line, text, "Give one of them another name."
                )
    return MappingProxyType(tools)
