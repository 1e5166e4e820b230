"""Commands about calls that may take more than two seconds say so on a terminal, nowhere else."""

from pathlib import Path

import pytest
from tests.cli.in_process import offhook
from tests.records.filling import sid_of


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["calls", "--text", "hours", "--json"], "looking for calls"),
        (["calls", "erase", "--call", sid_of(2), "--dry-run", "--json"], "counting"),
    ],
)
def test_progress_is_shown_on_a_terminal_and_nowhere_else(
    arguments: list[str], told: str, folder: Path
) -> None:
    piped = offhook(folder, *arguments)
    assert (piped.returncode, piped.stderr) == (0, "")
    shown = offhook(folder, *arguments, FORCE_COLOR="1", TERM="xterm")
    assert told in shown.stderr
    assert shown.stdout == piped.stdout
