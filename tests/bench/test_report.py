"""The table on the page."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from tests.bench.samples import REPORT

from offhook.bench.report import BEGIN, END, markdown, rewrite, sentence, show
from offhook.bench.suite import BenchReport
from offhook.errors import UserError


def test_only_what_stands_between_the_markers_changes() -> None:
    page = f"# Title\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"
    once = rewrite(page, markdown(REPORT))
    assert once.startswith(f"# Title\n\nBefore.\n\n{BEGIN}\n\n")
    assert once.endswith(f"\n\n{END}\n\nAfter.\n")
    assert "old" not in once
    assert rewrite(once, markdown(REPORT)) == once


@pytest.mark.parametrize("page", ["docs/performance.md", "README.md"])
def test_the_pages_of_this_project_have_a_place(page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    assert "the figures" in rewrite(text, "the figures")


def test_what_a_page_quotes() -> None:
    assert sentence(REPORT) == (
        "one core carries at least 612 calls, their record kept; the tutorial's design 131;"
        " at 50 calls it takes 50% of the tutorial's CPU;"
        " at 50 calls the operator process takes 2.0% of another core"
    )


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}\n{BEGIN}"])
def test_a_page_without_a_place(page: str) -> None:
    with pytest.raises(UserError, match="E-BENCH-04"):
        rewrite(page, "text")


def test_every_row_has_as_many_cells_as_its_header() -> None:
    tables = [block for block in markdown(REPORT).split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_what_is_said() -> None:
    text = markdown(REPORT)
    assert "2026-11-23" in text
    assert "a processor" in text
    assert "| calls per core | at least 612 | 131 |" in text
    assert "| ratio | 2 | ≥ 1.4 | ≥ 1.8 | stretch met |" in text
    assert "| delay | 2.50 | ≤ 2 |  | not met; a note |" in text
    assert "| never measured | - | ≤ 2 |  | not measured |" in text
    assert text.endswith("There is one core.\n")


def test_the_terminal_shows_the_same_figures() -> None:
    out = io.StringIO()
    show(REPORT, Console(file=out, width=120))
    for words in ("at least 612", "tutorial", "not met; a note", "There is one core."):
        assert words in out.getvalue()


def test_json_holds_all_of_it() -> None:
    assert msgspec.json.decode(msgspec.json.encode(REPORT), type=BenchReport) == REPORT
