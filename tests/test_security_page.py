"""The page on security claims what a test shows, and nothing else."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.test_docs import ROOT, pages, sections

SECURITY = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
EXPLAINED = re.compile(
    r"^(Twilio signs|The webhook's TwiML|A Bin is|One line for|`serve --capture)"
)
"""How a paragraph begins that explains what the promises under it are about."""


@cache
def functions_in(path: Path) -> frozenset[str]:
    """The test functions of a file."""
    tree = ast.parse(path.read_text())
    functions = (
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return frozenset(one.name for one in functions if one.name.startswith("test_"))


def blocks(text: str) -> Iterator[str]:
    """Every paragraph, item of a list and row of a table; no headings, no heads of tables."""
    text = re.sub(r"^\|.*\|\n\|[-:| ]+\|\n", "", text, flags=re.MULTILINE)
    for part in re.split(r"\n\s*\n|\n(?=- |\d+\. |\|)|\n(?=#)|(?<=\n)(?=#)", text):
        block = re.sub(r"^#+ .*\n?", "", part.strip()).strip()
        if block:
            yield " ".join(block.split())


def unshown(text: str) -> list[str]:
    """What is promised in a text without a test."""
    return [one for one in blocks(text) if not NAMED.search(one) and not EXPLAINED.match(one)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).exists() or test not in functions_in(ROOT / file)
    ]
    assert missing == []


def test_every_promise_about_security_names_a_test() -> None:
    assert unshown(sections(SECURITY, 2)["Promises"]) == []


def test_every_section_of_promises_has_one() -> None:
    parts = re.split(r"^### ", sections(SECURITY, 2)["Promises"], flags=re.MULTILINE)[1:]
    assert len(parts) > 8
    assert [part.splitlines()[0] for part in parts if not NAMED.search(part)] == []


def test_a_promise_without_a_test_is_found_out() -> None:
    text = (
        "\n### A\n\nThis is so.\n\n- This too. `tests/x.py::test_x`\n- And\n  this.\n\n"
        "| a | b |\n| --- | --- |\n| c | d |\n| e | `tests/x.py::test_x` |\n"
    )
    assert unshown(text) == ["This is so.", "- And this.", "| c | d |"]
