"""Plugin of scripts/run-tests: names the tests that failed, and those that could not judge.

The first go into a file. The others were skipped; scripts/busy-test counts the lines about them.
"""

import os
from pathlib import Path
from typing import Final

import pytest

VARIABLE: Final = "TESTS_THAT_FAILED"
"""In the environment of the run: the file."""

TOO_BUSY: Final = "this machine was too busy"
"""How the reason begins for which a test is skipped that cannot judge on a machine that is late."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for kind in ("failed", "error") for each in terminalreporter.getreports(kind)]
    names = dict.fromkeys(report.nodeid for report in reports)
    Path(os.environ[VARIABLE]).write_text("".join(f"{name}\n" for name in names), "utf-8")
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if reason.removeprefix("Skipped: ").startswith(TOO_BUSY):
            terminalreporter.write_line(f"TOO BUSY: {report.nodeid}")
