#!/usr/bin/env python3
"""Draw the pictures of the documentation into docs/pictures (tests/test_pictures.py).

Diagrams are made from scripts/pictures/diagrams.py, terminal sessions from what
scripts/pictures/sessions/ has recorded. With `--record [NAME]...` commands run and are recorded
anew.
"""

import sys
from pathlib import Path
from typing import Final

from scripts.pictures import terminal
from scripts.pictures.diagrams import DIAGRAMS
from scripts.pictures.sessions import RECORDED

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures"


def pictures() -> dict[Path, str]:
    """Every picture, and what belongs in it."""
    made = {PICTURES / name: draw() for name, draw in DIAGRAMS.items()}
    for name, session in RECORDED.items():
        made[PICTURES / f"{name}.svg"] = terminal.drawn(name, session)
    return made


def record(names: list[str]) -> None:
    """Run commands and keep what they print."""
    for name in names or RECORDED:
        print(f"{name}: {RECORDED[name].command}")
        text = RECORDED[name].run()
        (terminal.SESSIONS / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--record"]:
        record(sys.argv[2:])
    PICTURES.mkdir(exist_ok=True)
    for path, text in pictures().items():
        path.write_text(text, encoding="utf-8")
        print(path)
