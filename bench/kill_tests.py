"""The kill tests of docs/reliability.md, as docs/performance.md shows them.

`make pages` and `python -m bench.reliability --write` put them there; tests/test_pages.py holds
both equal.
"""

from pathlib import Path
from typing import Final

from offhook.bench.report import rewrite

PAGE: Final = Path("docs/performance.md")
RELIABILITY: Final = Path("docs/reliability.md")
BEGIN: Final = "<!-- kill tests, from reliability.md by make pages: begin -->"
END: Final = "<!-- kill tests, from reliability.md by make pages: end -->"

FAULTS: Final = (
    "SIGKILL of the call process",
    "SIGKILL of the operator process",
    "database away",
    "disk full",
)
"""Beginnings of the rows of reliability.md that are kill tests."""


def shown(page: str, reliability: str) -> str:
    """Return the page of performance with the kill tests of the page of reliability."""
    lines = [line for line in reliability.splitlines() if line.startswith("| ")]
    rows = []
    for fault in FAULTS:
        found = [line for line in lines if line.startswith(f"| {fault}")]
        rows += found or [f"| {fault} | | - | not measured | |"]
    head = "| | bar | measured | | form, day, commit |\n| --- | --- | --- | --- | --- |"
    return rewrite(page, "\n".join(["", head, *rows, ""]), begin=BEGIN, end=END)


def write() -> None:
    """Put the kill tests into the page of performance."""
    page = shown(PAGE.read_text("utf-8"), RELIABILITY.read_text("utf-8"))
    PAGE.write_text(page, "utf-8")
