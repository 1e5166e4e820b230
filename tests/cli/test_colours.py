"""Colours of the terminal: legible on a dark and on a light background."""

import ast
import re
from pathlib import Path

import pytest
from tests.sources import syntax_tree

import offhook

SRC = Path(offhook.__file__).parent

ILLEGIBLE = re.compile(r"^(?:bold )?(?:yellow|white|black|bright_\w+)$|\[/?(?:yellow|bright_\w+)\]")
"""Colours that cannot be read on white or on black, as names of styles or in Rich's markup."""

ESCAPE = re.compile(r"\x1b\[(?:\d+;)*(?:3[037]|9\d)m")


def illegible(source: str) -> list[str]:
    """The string constants that name such a colour."""
    constants = (
        node.value
        for node in ast.walk(syntax_tree(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return [value for value in constants if ILLEGIBLE.search(value) or ESCAPE.search(value)]


@pytest.mark.parametrize(
    "source", ["'yellow'", "'bold yellow'", "'[yellow]x[/]'", "'bright_white'", "'\\x1b[1;33m'"]
)
def test_an_illegible_colour_is_found(source: str) -> None:
    assert illegible(source) != []


def test_no_text_is_printed_in_a_colour_that_vanishes() -> None:
    found = {
        path.relative_to(SRC).as_posix(): values
        for path in SRC.rglob("*.py")
        if (values := illegible(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_no_console_colours_words_by_itself() -> None:
    """Rich's own highlighting has bright colours."""
    found = [
        f"{path.relative_to(SRC).as_posix()}:{node.lineno}"
        for path in SRC.rglob("*.py")
        for node in ast.walk(syntax_tree(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Console"
        and "highlight" not in {keyword.arg for keyword in node.keywords}
    ]
    assert found == []
