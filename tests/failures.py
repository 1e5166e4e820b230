"""Plugin of scripts/run-tests: it writes the names of the tests that failed into a file."""

import os
from pathlib import Path

import pytest

VARIABLE = "TESTS_THAT_FAILED"
"""In the environment of the run: the file."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for kind in ("failed", "error") for each in terminalreporter.getreports(kind)]
    names = dict.fromkeys(report.nodeid for report in reports)
    Path(os.environ[VARIABLE]).write_text("".join(f"{name}\n" for name in names), "utf-8")
