"""Cost of commands of the command line: CPU seconds, from start to exit."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from offhook.bench import serve
from offhook.errors import UserError

ROUNDS: Final = 3


class CommandCost(msgspec.Struct, frozen=True):
    """CPU time of a command in seconds, user and system, the median of a few runs."""

    command: str
    cpu_s: float


def costs(database: Path, environ: Mapping[str, str]) -> list[CommandCost]:
    """Return what commands cost. `database` has the calls that are listed.

    Blocks, and must run while no other child of this process ends. Raises UserError E-BENCH-08
    when a command fails.
    """
    with tempfile.TemporaryDirectory(prefix="offhook-bench-") as name:
        setup = serve.set_up(Path(name), None, 50, recorded=False)
        (setup.records / serve.DATABASE).symlink_to(database)
        config = ["--config", str(setup.config)]
        commands = (["--help"], ["check", str(setup.config)], ["calls", "list", *config])
        return [
            CommandCost(
                " ".join(words[:2] if words[0] == "calls" else words[:1]),
                round(median(_cost(words, setup, environ) for _ in range(ROUNDS)), 2),
            )
            for words in commands
        ]


def _cost(words: list[str], setup: serve.ServeSetup, environ: Mapping[str, str]) -> float:
    before = os.times()
    done = subprocess.run(  # noqa: S603 - of this installation
        [sys.executable, "-m", "offhook", *words],
        cwd=setup.folder,
        env=setup.environ(environ),
        capture_output=True,
        text=True,
        check=False,
    )
    after = os.times()
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise UserError(
            "E-BENCH-08",
            f"offhook {words[0]} failed while it was measured: {said[-1] if said else 'no word'}.",
            "Run this command by itself, with your installation as it is.",
        )
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
