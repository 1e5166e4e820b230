"""Reads what `offhook bench --json` prints, and puts it into docs/performance.md and README."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from offhook.bench.report import markdown, rewrite, sentence, show
from offhook.bench.suite import BenchReport

PAGE = Path("docs/performance.md")
README = Path("README.md")


def main() -> None:
    printed = sys.stdin.buffer.read()
    if not printed:
        sys.exit(1)  # offhook bench has said why
    report = msgspec.json.decode(printed, type=BenchReport)
    show(report, Console(highlight=False))
    write_pages(report)


def write_pages(report: BenchReport) -> None:
    """Put a report into its pages; README keeps its own when other programs disturbed the run."""
    write(PAGE, markdown(report))
    if report.disturbed:
        print(f"{README} keeps its figures: other programs disturbed this run.", file=sys.stderr)
    else:
        write(README, f"  {sentence(report)}.")


def write(page: Path, text: str) -> None:
    page.write_text(rewrite(page.read_text(encoding="utf-8"), text), encoding="utf-8")


if __name__ == "__main__":
    main()
