"""The kill tests of docs/reliability.md, as docs/performance.md shows them.

`make pages` and `python -m bench.reliability --write` put them there; tests/test_pages.py holds
both equal.
"""

from pathlib import Path
from typing import Final

from bench.measured_table import MeasuredTable

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
"""Beginnings of the rows of reliability's first table that are kill tests."""


def shown(page: str, reliability: str, table: MeasuredTable) -> str:
    """Return the page of performance with the kill tests of a table of the page of reliability.

    Each of them has a line for each database, measured or not. Other tables of that page have rows
    that begin alike.
    """
    found = table.rows(reliability)
    cases = [case for fault in FAULTS for case in table.cases if case.startswith(fault)]
    rows = [found.get(case, f"| {case} | | - | not measured | |") for case in cases]
    head = "| | bar | measured | | form, day, commit |\n| --- | --- | --- | --- | --- |"
    return rewrite(page, "\n".join(["", head, *rows, ""]), begin=BEGIN, end=END)


def write(table: MeasuredTable) -> None:
    """Put the kill tests of a table of the page of reliability into the page of performance."""
    page = shown(PAGE.read_text("utf-8"), RELIABILITY.read_text("utf-8"), table)
    PAGE.write_text(page, "utf-8")
