"""Sizes of files and classes. docs/design/rooms.md names what is larger, and says why."""

import ast
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

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


class Size(NamedTuple):
    """Lines and methods of a class, and the names of its bases."""

    lines: int
    methods: int
    bases: tuple[str, ...]


NO_CLASSES: Final[Mapping[str, Size]] = MappingProxyType({})


@functools.cache
def sizes(source: str) -> dict[str, Size]:
    """Return the sizes of a file's classes, by name, each without its bases."""
    return {
        node.name: Size(
            (node.end_lineno or node.lineno) - node.lineno + 1,
            sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body),
            tuple(ast.unparse(base).partition("[")[0] for base in node.bases),
        )
        for node in ast.walk(syntax_tree(source))
        if isinstance(node, ast.ClassDef)
    }


def whole(name: str, classes: Mapping[str, Size]) -> tuple[int, int]:
    """Return lines and methods of a class with those of its bases: split so, it is as large."""
    own = classes[name]
    bases = [whole(base, classes) for base in own.bases if base in classes and base != name]
    return own.lines + sum(one for one, _ in bases), own.methods + sum(one for _, one in bases)


def larger(
    path: str, source: str, slack: float = 1.0, others: Mapping[str, Size] = NO_CLASSES
) -> set[tuple[str, str]]:
    """Return what is larger than the bars: the file, by an empty name, and classes.

    `others` are classes of other files, which may be bases.
    """
    found = {(path, "")} if source.count("\n") > FILE_LINES * slack else set()
    own = sizes(source)
    known = {**others, **own}
    for name in own:
        lines, methods = whole(name, known)
        if lines > CLASS_LINES * slack or methods > CLASS_METHODS * slack:
            found.add((path, name))
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
    sources = {
        path.relative_to(SOURCE).as_posix(): path.read_text() for path in SOURCE.rglob("*.py")
    }
    classes = {name: size for source in sources.values() for name, size in sizes(source).items()}
    for name, source in sources.items():
        over |= larger(name, source, 1.0, classes)
        far_over |= larger(name, source, SLACK, classes)
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
        (
            "class A:\n"
            + "    def x(self): ...\n" * CLASS_METHODS
            + "class B(A):\n    def y(self): ...\n",
            {("a.py", "B")},
        ),
    ],
)
def test_the_bars(source: str, found: set[tuple[str, str]]) -> None:
    assert larger("a.py", source) == found
