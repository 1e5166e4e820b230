"""Reads what `offhook bench --json` prints, and puts it into docs/performance.md."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from offhook.bench.report import rewrite, show
from offhook.bench.suite import BenchReport

PAGE = Path("docs/performance.md")


def main() -> None:
    printed = sys.stdin.buffer.read()
    if not printed:
        sys.exit(1)  # offhook bench has said why
    report = msgspec.json.decode(printed, type=BenchReport)
    show(report, Console(highlight=False))
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")


if __name__ == "__main__":
    main()
