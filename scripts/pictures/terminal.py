"""Terminal sessions as pictures: what commands print, recorded once, then drawn by Rich.

The recorded text is in sessions/, with its colours and without its column of times. Figures in it
are those of the recorded run. `python -m scripts.draw_pictures --record` runs the commands again.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT: Final = Path(__file__).parents[2]
SESSIONS: Final = Path(__file__).parent / "sessions"
COLUMNS: Final = 96

_FORMAT: Final = re.sub(r"@font-face \{\{.*?\n    \}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Rich's frame without its fonts, which a browser would load from elsewhere."""

_CLOCK: Final = re.compile(r"\x1b\[2m +\d+\.\d+ s  (?:\w{4}  )?\x1b\[0m")
"""The column of times, and of the last characters of a CallSid, which are others in every run."""

_CURSOR: Final = re.compile(r"\x1b\[\?25[lh]")
"""Sequences that hide and show the cursor, as of a spinner."""


@dataclass(frozen=True, slots=True)
class Session:
    """A command whose output is drawn. `files` are written into its folder first."""

    title: str
    command: str
    arguments: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()
    exit_code: int = 0

    def run(self) -> str:
        """Run the command in an empty folder; return what it printed, as it is recorded."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in self.files:
                (Path(folder) / name).write_text(text, encoding="utf-8")
            environ = {k: v for k, v in os.environ.items() if not _TELLS.match(k)}
            ended = subprocess.run(
                [sys.executable, "-m", "offhook", *self.arguments],
                cwd=folder,
                env=environ
                | {
                    "FORCE_COLOR": "1",
                    "COLUMNS": str(COLUMNS),
                    "TERM": "xterm-256color",
                    "TTY_INTERACTIVE": "0",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        if ended.returncode != self.exit_code:
            raise RuntimeError(f"{self.command}: exit code {ended.returncode}\n{ended.stdout}")
        return recorded(ended.stdout)


_TELLS: Final = re.compile(r"DEEPGRAM|TWILIO|OFFHOOK|NO_COLOR")


def recorded(printed: str) -> str:
    """Return what a command printed without what differs between two runs."""
    printed = _CURSOR.sub("", _CLOCK.sub("", printed))
    return "\n".join(line.rstrip() for line in printed.strip("\n").splitlines()) + "\n"


def shape(printed: str) -> list[str]:
    """Return the first words of the lines of a session: who speaks, and what is measured."""
    plain = Text.from_ansi(recorded(printed)).plain
    lines = re.sub(r"^ +\d+\.\d+ s  (?:\w{4}  )?", "", plain, flags=re.MULTILINE)
    return sorted(set(re.findall(r"^ *([a-z][a-z ]*?)  ", lines, re.MULTILINE)))


def drawn(name: str, session: Session) -> str:
    """Return a recorded session as SVG."""
    text = (SESSIONS / f"{name}.txt").read_text(encoding="utf-8")
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        highlight=False,
        color_system="truecolor",
        legacy_windows=False,
    )
    console.print(Text.assemble(("$ ", "green"), session.command))
    console.print(Text.from_ansi(text))
    picture = console.export_svg(
        title=session.title, code_format=_FORMAT, unique_id=f"offhook-{name}"
    )
    return "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"
