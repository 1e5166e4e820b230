"""Short forms of `bench/faults.py`: real servers, real sockets, real trouble."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.limit(900)
@pytest.mark.parametrize(
    "what",
    [
        ["kill", "--rounds", "2", "--calls", "4"],
        ["operator", "--rounds", "2", "--calls", "4"],
        ["outage", "--calls", "4"],
        ["full-disk", "--calls", "4"],
    ],
    ids=lambda what: what[0],
)
def test_nothing_is_lost_and_no_call_notices(what: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.faults", *what, "--untimed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
