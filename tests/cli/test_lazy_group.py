"""Groups of commands: their help is known without importing a command."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from offhook.cli import app
from offhook.cli.lazy_group import LazyGroup, docstring


def lazy(group: Any, base: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(group, LazyGroup) and name in group.places:
            yield (*base, name), group.places[name], command
        if hasattr(command, "commands"):
            yield from lazy(command, (*base, name))


LAZY = list(lazy(typer.main.get_command(app)))


@pytest.mark.parametrize(("words", "place", "command"), LAZY, ids=[" ".join(x[0]) for x in LAZY])
def test_the_help_of_a_group_is_that_of_its_commands(
    words: tuple[str, ...], place: str, command: Any
) -> None:
    first = " ".join(docstring(place).split("\n\n")[0].split())
    assert first
    assert inspect.cleandoc(command.help).startswith(docstring(place))
    assert command.name == words[-1]
    for given in (words, words[:-1]):
        shown = CliRunner().invoke(app, [*given, "--help"], env={"COLUMNS": "80"})
        assert first.replace(" ", "") in "".join(shown.output.split())


def every(group: Any, base: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield base
    for name in getattr(group, "commands", ()):
        yield from every(group.get_command(None, name), (*base, name))


@pytest.mark.parametrize("words", list(every(typer.main.get_command(app))), ids=" ".join)
def test_h_is_help_everywhere(words: tuple[str, ...]) -> None:
    short, long = (CliRunner().invoke(app, [*words, name]) for name in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output
    assert "-h, --help" in short.output


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("se", ["serve"]),
        ("calls transf", ["transfer"]),
        ("serve --operator", ["--operator-listen"]),
    ],
)
def test_a_shell_completes_commands_and_options(typed: str, offered: list[str]) -> None:
    words = f"offhook {typed}"
    asked = {
        "_OFFHOOK_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    told = CliRunner().invoke(app, [], env=asked, prog_name="offhook")
    assert told.output.split() == offered


def test_completion_can_be_shown_for_every_shell() -> None:
    told = CliRunner().invoke(app, ["-h"])
    assert {"--install-completion", "--show-completion"} <= set(told.output.split())


def test_a_command_that_is_not_there_is_told_with_the_nearest() -> None:
    told = CliRunner().invoke(app, ["serv"])
    assert told.exit_code == 2
    assert "Did you mean 'serve'" in told.output


def test_a_function_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ImportError, match=r"offhook\.cli\.serve:nothing is not there"):
        docstring("offhook.cli.serve:nothing")
