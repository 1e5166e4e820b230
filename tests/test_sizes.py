"""Sizes of files and classes. docs/design/rooms.md names what is larger, and says why."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest
from tests.sources import syntax_tree

import offhook

SOURCE: Final = Path(offhook.__file__).parent
PAGE: Final = Path(__file__).parents[1] / "docs/design/rooms.md"

FILE_LINES: Final = 450
CLASS_LINES: Final = 350
CLASS_METHODS: Final = 25

SLACK: Final = 1.1
"""Factor by which a size may be over its bar without an explanation."""


def larger(path: str, source: str, slack: float = 1.0) -> set[tuple[str, str]]:
    """Return what is larger than the bars: the file, by an empty name, and classes."""
    found = {(path, "")} if source.count("\n") > FILE_LINES * slack else set()
    for node in ast.walk(syntax_tree(source)):
        if isinstance(node, ast.ClassDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            methods = sum(
                isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body
            )
            if lines > CLASS_LINES * slack or methods > CLASS_METHODS * slack:
                found.add((path, node.name))
    return found


def explained() -> set[tuple[str, str]]:
    """Return the rows of the page's table, each of which has a reason."""
    rows = re.findall(
        r"^\| (\S+\.py) \| (?:`(\w+)`)? *\| (\w.*) \|$", PAGE.read_text(), re.MULTILINE
    )
    return {(path, name) for path, name, _ in rows}


def test_what_is_larger_than_the_bars_is_explained_and_nothing_else() -> None:
    over: set[tuple[str, str]] = set()
    far_over: set[tuple[str, str]] = set()
    for path in SOURCE.rglob("*.py"):
        name, source = path.relative_to(SOURCE).as_posix(), path.read_text()
        over |= larger(name, source)
        far_over |= larger(name, source, SLACK)
    assert far_over - explained() == set(), "explain them in docs/design/rooms.md"
    assert explained() - over == set(), "they are no longer large"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\n" * FILE_LINES, set()),
        ("x = 1\n" * (FILE_LINES + 1), {("a.py", "")}),
        ("class A:\n" + "    x = 1\n" * CLASS_LINES, {("a.py", "A")}),
        ("class A:\n" + "    def x(self): ...\n" * CLASS_METHODS, set()),
        ("class A:\n" + "    async def x(self): ...\n" * (CLASS_METHODS + 1), {("a.py", "A")}),
    ],
)
def test_the_bars(source: str, found: set[tuple[str, str]]) -> None:
    assert larger("a.py", source) == found
