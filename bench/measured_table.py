"""Tables of what was tried on purpose, in docs/reliability.md: their rows, and how they are merged.

A row of a table keeps its result until the row is tried again. Each has its form, its day and its
commit. A row that raises or takes too long is missed, and the others are tried all the same.
"""

import asyncio
import datetime
import importlib.util
import re
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from offhook.bench.report import rewrite

PAGE: Final = Path("docs/reliability.md")
IN_SHORT: Final = "in short: "
"""Beginning of the line in which a command of bench/ says what it found."""

NOT_JUDGED: Final = "not judged: "
"""Beginning of the line in which a command of bench/ says which bars it did not judge, and why."""

MET: Final = "met"
MISSED: Final = "**missed**"
FIGURE_MAX: Final = 500
"""Characters of a command's last line that are shown."""

REASON_MAX: Final = 200
"""Characters of a reason for which a row could not be measured."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured. `met` is None where nothing was.

    `unjudged` names the bars that this form did not judge: with them a row is missed or not judged,
    and never met.
    """

    text: str
    met: bool | None
    unjudged: str = ""

    @property
    def verdict(self) -> str:
        """The last but one cell of a row; empty if nothing was measured."""
        if self.met is None:
            return ""
        if not self.met:
            return MISSED
        return f"{NOT_JUDGED}{self.unjudged}" if self.unjudged else MET


NOT_MEASURED: Final = Figure("not measured", None)


def told(lines: Sequence[str], tells: str, code: int) -> Figure:
    """Return the figure of a command by what it printed: its last line that matches `tells`."""
    last, unjudged = "", ""
    for line in lines:
        if line.startswith(NOT_JUDGED):
            unjudged = line.removeprefix(NOT_JUDGED)
        elif line.strip() and re.search(tells, line):
            last = " ".join(line.split())
    text = last.removeprefix(IN_SHORT).strip("= ")[:FIGURE_MAX]
    return Figure(text or f"it told nothing, and ended with {code}", code == 0, unjudged)


async def command(arguments: Sequence[str], tells: str) -> Figure:
    """Measure by a command of its own: `-m MODULE` with arguments, or a file and arguments."""
    if not _can_run(arguments):
        return NOT_MEASURED
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None  # a pipe was asked for
    lines = []
    try:
        async for line in process.stdout:
            lines.append(line.decode("utf-8", "replace").rstrip())
            print(f"  {lines[-1]}", flush=True)
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return told(lines, tells, code)


def _can_run(arguments: Sequence[str]) -> bool:
    """Return True if the module or file is there, and knows --database if that is given."""
    if arguments[0] == "-m":
        spec = importlib.util.find_spec(arguments[1])
        path = None if spec is None else spec.origin
    else:
        path = arguments[0]
    if path is None or not Path(path).exists():
        return False
    return "--database" not in arguments or '"--database"' in Path(path).read_text("utf-8")


async def attempted(
    measure: Awaitable[Figure], limit_s: float | None, files: Sequence[str] = ()
) -> Figure:
    """Return what a row came to; it is missed when it raises, or takes more than `limit_s`.

    `files` are the modules of rows, whose function is named in which one was cut.
    """
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            return await measure
    except Exception as error:  # noqa: BLE001 - the other rows are measured all the same
        if limit.expired():
            return Figure(f"it was not over after {limit_s:.3g} s{_place(error, files)}", False)
        reasons = [f"{type(one).__name__}: {one}{_place(one, files)}" for one in _leaves(error)]
        for reason in reasons:
            print(f"  WRONG {reason[-2000:]}", flush=True)
        return Figure(f"it could not be measured: {reasons[0][:REASON_MAX]}", False)


def _place(error: BaseException, files: Sequence[str]) -> str:
    """Return the function of a row and its line, to be appended to a reason."""
    frames = traceback.extract_tb(error.__traceback__)
    if error.__cause__ is not None:
        frames += traceback.extract_tb(error.__cause__.__traceback__)
    of_rows = [one for one in frames if Path(one.filename).stem in files]
    return f", in {of_rows[-1].name}, line {of_rows[-1].lineno}" if of_rows else ""


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


def cells(case: str, bar: str, found: Figure, of: str) -> list[str]:
    """Return a line of a table; `of` says what was measured, and when."""
    text = " ".join(found.text.replace("|", "/").split())
    return [case, bar, text, found.verdict, of]


def this_run(form: str) -> str:
    """Return the form of a run, its day and its commit, for the last cell of its rows."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return f"{form}, {datetime.date.today().isoformat()}, {commit}"


@dataclass(frozen=True, slots=True)
class MeasuredTable:
    """A table of a page: the name of its first column, its rows in order, and its two markers."""

    first: str
    cases: Sequence[str]
    begin: str
    end: str

    def rows(self, page: str) -> dict[str, str]:
        """Return the lines of this table on a page, by their first cells."""
        lines = page.partition(self.begin)[2].partition(self.end)[0].splitlines()
        return {line.split(" | ")[0].removeprefix("| "): line for line in lines}

    def merged(self, page: str, lines: Sequence[Sequence[str]]) -> str:
        """Return a page with these lines in place of those of the same rows.

        A line without a verdict, of a row that was not measured, replaces none.
        """
        kept = self.rows(page)
        new = {line[0]: f"| {' | '.join(line)} |" for line in lines if line[3]}
        rows = [(kept | new).get(case) for case in self.cases]
        head = f"| {self.first} | bar | measured | | form, day, commit |\n"
        text = "\n".join([f"{head}| --- | --- | --- | --- | --- |", *filter(None, rows)])
        return rewrite(page, f"\n{text}\n", begin=self.begin, end=self.end)

    def write(self, lines: Sequence[Sequence[str]]) -> None:
        """Put these lines into the page of reliability."""
        PAGE.write_text(self.merged(PAGE.read_text("utf-8"), lines), "utf-8")

    def show(self, lines: Sequence[Sequence[str]]) -> None:
        """Print these lines."""
        printed = Table(self.first, "bar", "measured", "")
        for case, bar, text, verdict, _ in lines:
            printed.add_row(case, bar, text, verdict.strip("*"))
        Console(width=160, highlight=False).print(printed)
