"""Groups of commands that are imported when they run, so that no command pays for another."""

import importlib
import importlib.util
import inspect
from collections.abc import Iterator, Mapping, MutableMapping
from types import CodeType
from typing import Any, ClassVar

import typer
import typer.main
from typer.core import TyperGroup


def new_app(**given: Any) -> typer.Typer:
    """Return an empty Typer. Help and usage errors are plain: rich takes 0.3 s to import."""
    settings: dict[str, Any] = {
        "add_completion": False,  # the whole command line has it once
        "context_settings": {"help_option_names": ["-h", "--help"]},
        "pretty_exceptions_enable": False,
        "rich_markup_mode": None,
    }
    return typer.Typer(**settings | given)


class LazyGroup(TyperGroup):
    """Command group whose help names its commands without importing their modules."""

    places: ClassVar[Mapping[str, str]] = {}
    """Name of a command to its `module:function`. The function's docstring is the help.

    If the module has an `app`, that Typer is the command, and the function its callback.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = _LazyCommands(self.places, dict(self.commands))

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, in the order of their declaration."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the first paragraph of the help of each command."""
        rows = [(name, _first_paragraph(self._help(ctx, name))) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _help(self, ctx: Any, name: str) -> str:
        if name in self.places:
            return docstring(self.places[name])
        command = self.get_command(ctx, name)
        return (command and command.help) or ""


class _LazyCommands(MutableMapping[str, Any]):
    """Commands by name: those at `places`, which are imported when asked for, then `others`."""

    def __init__(self, places: Mapping[str, str], others: dict[str, Any]) -> None:
        self._places = places
        self._made = others

    def __getitem__(self, name: str) -> Any:
        if name not in self._made and name in self._places:
            self._made[name] = _command(name, self._places[name])
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._places
        yield from (name for name in self._made if name not in self._places)

    def __len__(self) -> int:
        return len(self._places.keys() | self._made.keys())


def _command(name: str, place: str) -> Any:
    """Import a command."""
    module_name, function = place.split(":")
    module = importlib.import_module(module_name)
    app = vars(module).get("app")
    if app is None:
        app = new_app()
        app.command(name)(vars(module)[function])
    command = typer.main.get_command(app)
    command.name = name
    return command


def docstring(place: str) -> str:
    """Return the docstring of a function at `module:function`, without importing the module."""
    module, function = place.split(":")
    spec = importlib.util.find_spec(module)
    loader: Any = spec and spec.loader
    for each in loader.get_code(module).co_consts:
        if isinstance(each, CodeType) and each.co_name == function:
            # A function's docstring is the first of its constants.
            text = each.co_consts[0] if each.co_consts else None
            return inspect.cleandoc(text) if isinstance(text, str) else ""
    raise ImportError(f"{place} is not there")


def _first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())
