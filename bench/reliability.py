"""make soak: the table of what a call survives, each row tried on purpose.

    python -m bench.reliability [--short] [--database sqlite|postgresql|both] [--row N] [--write]

Prints a row for each fault: the bar, what was measured, and whether the bar was met. Rows whose
result depends on the database are measured on each of those named. `--short` tries fewer calls.
`--write` puts the table into docs/reliability.md. Exits with 1 when a bar was missed. A row without
a measurement says so: it counts neither as met nor as missed.
"""

import argparse
import asyncio
import functools
import importlib.util
import logging
import math
import re
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.agent_faults import Outcome
from rich.console import Console
from rich.table import Table

from bench import agent_faults as it
from offhook.bench.report import rewrite
from offhook.concurrency.event_loop import run

PAGE = Path("docs/reliability.md")
BEGIN = "<!-- measured by bench/reliability.py: begin -->"
END = "<!-- measured by bench/reliability.py: end -->"
DATABASES = ("sqlite", "postgresql")
FIGURE_MAX = 400
"""Characters of a command's last line that are shown."""
IN_SHORT = "in short: "
"""Beginning of the line in which a command of bench/ says what it found."""

SILENCE_S = 3.0
FALLBACK_S = 2.0
TO_TWILIO = 256 * 1024
TO_DEEPGRAM = 64 * 1024
JOBS = 8
"""Calls at a time whose agents fail: they share a core with all that they are measured by."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured. `met` is None where nothing was."""

    text: str
    met: bool | None


NOT_MEASURED = Figure("not measured", None)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `measure` gets True for the short form, and a database."""

    fault: str
    bar: str
    measure: Callable[[bool, str], Awaitable[Figure]]
    by_database: bool = False


async def lost_agents(short: bool, database: str) -> Figure:
    """Row 1: every retryable close and Error in every phase."""
    outcomes = await it.place_all(list(it.lost_agents(20 if short else 500)), JOBS, it.misses)
    wrong = [(one, problems) for one in outcomes if (problems := it.problems_of(one))]
    for one, problems in wrong:
        print(f"  WRONG {one.case}: {'; '.join(problems)}")
    greetings = sum(it.second_greetings(one) for one in outcomes)
    lost = [(one.case, line) for one in outcomes for line in it.lost_lines(one)]
    for case, line in lost:
        print(f"  LOST {case}: {line}")
    count = len(outcomes)
    silence_s = sorted(one.silence_s for one in outcomes)[math.ceil(0.95 * count) - 1]
    text = (
        f"{count - len(wrong)} of {count} calls resumed; silence p95 {silence_s:.1f} s, longest"
        f" {max(one.silence_s for one in outcomes):.1f} s; {greetings} second greetings;"
        f" {len(lost)} lines lost"
    )
    return Figure(text, not wrong and not greetings and not lost and silence_s <= SILENCE_S)


async def rolled_over(short: bool, database: str) -> Figure:
    """Row 2: sessions that are exchanged before they end, at any moment of a call."""
    cases = list(it.rolled_over(4 if short else 100))
    outcomes = await it.place_all(cases, JOBS, it.noticed)
    plain = await it.place_all([it.Case("", "no exchange")] * (1 if short else 20), JOBS)
    wrong = [(one, found) for one in outcomes if (found := it.noticed(one))]
    for one, found in wrong:
        print(f"  WRONG sessions of {one.case.session_s:g} s: {'; '.join(found)}")
    usual_s = statistics.median(one.silence_s for one in plain)
    added_s = max(one.silence_s for one in outcomes) - usual_s
    exchanged = sum(it.roll_overs(one) for one in outcomes)
    lost = sum(len(it.lost_lines(one)) for one in outcomes)
    text = (
        f"{exchanged} exchanges in {len(outcomes)} calls: {added_s:.1f} s of added silence at most,"
        f" {lost} lines lost; {len(wrong)} calls in which it was noticed"
    )
    return Figure(text, exchanged > 0 and added_s <= 1.0 and not lost and not wrong)


async def hopeless_agents(short: bool, database: str) -> Figure:
    """Row 3: closes and Errors after which no other leg is dialled."""
    outcomes = await it.place_all(list(it.hopeless_agents(10 if short else 120)), JOBS, _is_slow)
    retried = [one for one in outcomes if len(one.sessions) > 1 or len(one.happened) > 1]
    silent = [one for one in outcomes if one.fallback_s is None]
    for one in [*retried, *silent]:
        print(f"  WRONG {one.case}: {one.ending}, {len(one.sessions)} sessions")
    longest = max((one.fallback_s or 0.0 for one in outcomes), default=0.0)
    text = (
        f"{len(outcomes)} calls: {len(retried)} retried, {len(silent)} without words; the fallback"
        f" spoke after {longest:.1f} s at most"
    )
    return Figure(text, not retried and not silent and longest <= FALLBACK_S)


def _is_slow(outcome: Outcome) -> bool:
    return outcome.fallback_s is None or outcome.fallback_s > FALLBACK_S


async def misbehaving_agents(short: bool, database: str) -> Figure:
    """Row 4: what a call holds for each side, and how it ends."""
    outcomes = await it.place_all(list(it.misbehaving(short)), JOBS)
    for one in outcomes:
        held = f"{one.peaks.to_twilio} bytes for Twilio, {one.peaks.to_deepgram} for Deepgram"
        print(f"  {one.case}: {one.ending}; {held}")
    to_twilio = max(one.peaks.to_twilio for one in outcomes)
    to_deepgram = max(one.peaks.to_deepgram for one in outcomes)
    unended = [one for one in outcomes if one.ending in ("none", "internal_error")]
    for one in unended:
        print(f"  WRONG {one.case}: {one.ending}")
    endings = sorted({one.ending for one in outcomes})
    text = (
        f"{len(outcomes)} calls: at most {to_twilio / 1024:.0f} KiB for Twilio,"
        f" {to_deepgram / 1024:.0f} KiB for Deepgram; endings {', '.join(endings)}"
    )
    good = to_twilio <= TO_TWILIO and to_deepgram <= TO_DEEPGRAM and not unended
    return Figure(text, good)


async def command(
    long: Sequence[str], short_form: Sequence[str], tells: str, short: bool, database: str
) -> Figure:
    """Measure by a command of its own: `-m MODULE` with arguments, or a file and arguments.

    The figure is its last line that matches `tells`.
    """
    arguments = [one.replace("{database}", database) for one in (short_form if short else long)]
    if not _can_run(arguments):
        return NOT_MEASURED
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None  # a pipe was asked for
    last = ""
    try:
        async for line in process.stdout:
            text = line.decode("utf-8", "replace").rstrip()
            print(f"  {text}", flush=True)
            if text.strip() and re.search(tells, text):
                last = " ".join(text.split())
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return Figure(last.removeprefix(IN_SHORT).strip("= ")[:FIGURE_MAX], code == 0)


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


def _by(
    long: str, short: str, tells: str = f"^{IN_SHORT}", *, by_database: bool = False
) -> tuple[Callable[[bool, str], Awaitable[Figure]], bool]:
    return functools.partial(command, long.split(), short.split(), tells), by_database


ROWS: tuple[Row, ...] = (
    Row(
        "every retryable close and error, in every phase of a call, 500 calls",
        "100 % resumed; caller's silence p95 ≤ 3 s; never a second greeting; no line lost",
        lost_agents,
    ),
    Row(
        "roll-over while talking, listening, in a function",
        "unnoticed: ≤ 1 s of added silence, no word lost",
        rolled_over,
    ),
    Row("errors that are not retryable", "spoken fallback ≤ 2 s, no retry", hopeless_agents),
    Row(
        "agent stalls, dribbles, floods (10 minutes of speech in a second), garbage, unknown"
        " messages",
        "256 KB toward Twilio and 64 KB toward Deepgram per call at most; the call lives or ends"
        " with its own slug",
        misbehaving_agents,
    ),
    Row(
        "Twilio drops, half-opens, reads slowly, repeats webhooks and callbacks",
        "no agent leg left after 15 s; one stream per call in 10,000 races",
        *_by("-m bench.races", "-m bench.races --count 200 --calls 3"),
    ),
    Row(
        "SIGKILL of the call process under 100 calls, 100 times",
        "≥ 99 of 100 callers back in the conversation ≤ 5 s after the kill; none twice; no"
        " orphaned calls",
        *_by(
            "-m bench.faults kill --rounds 100 --calls 100 --database {database}",
            "-m bench.faults kill --rounds 2 --calls 20 --database {database}",
            "back within",
            by_database=True,
        ),
    ),
    Row(
        "1,000 calls in a second at capacity 100",
        "every webhook answered ≤ 5 s (Twilio waits 15), admitted calls within the delay bars, the"
        " rest by policy",
        *_by("-m bench.rush", "-m bench.rush --calls 200 --capacity 40 --live 10 --untimed"),
    ),
    Row(
        "handshake flood, slow handshakes, 10,000 half-open sockets",
        "live calls' added delay p99 ≤ 5 ms",
        *_by("-m bench.attack --calls 50", "-m bench.attack --calls 5 --seconds 1 --untimed"),
    ),
    Row(
        "clock set an hour either way, daylight saving",
        "no negative duration, no early end",
        *_by(
            "-m pytest -v -p no:cacheprovider tests/test_wall_clock.py",
            "-m pytest -v -p no:cacheprovider tests/test_wall_clock.py",
            "passed|failed",
        ),
    ),
    Row(
        "a user's function that computes in Python for 5 s, blocks, or never returns",
        "others' p99 ≤ 20 ms while it runs in a thread; one that holds the interpreter is named"
        " and counted, and `@tool(process=True)` runs it elsewhere",
        *_by("-m bench.hammer --calls 200", "-m bench.hammer --calls 40 --at-once 10"),
    ),
    Row(
        "50,000 short calls",
        "memory flat (≤ 1 KB a call after warm-up), tasks, sockets and files back to the start",
        *_by("bench/soak.py --hold 0 --calls 25000", "bench/soak.py --hold 0 --calls 6000"),
    ),
)


async def measure(rows: Sequence[int], databases: Sequence[str], short: bool) -> list[list[str]]:
    """Return the table, a row for each fault and database."""
    table = []
    for number in rows:
        row = ROWS[number - 1]
        for database in databases if row.by_database else databases[:1]:
            where = f", {database}" if row.by_database else ""
            print(f"{number}: {row.fault}{where}", flush=True)
            figure = await row.measure(short, database)
            met = {True: "met", False: "**missed**", None: ""}[figure.met]
            text = re.sub(r"\s+", " ", figure.text).replace("|", "/")
            table.append([row.fault + where, row.bar, text, met])
    return table


def markdown(table: Sequence[Sequence[str]], short: bool) -> str:
    """Return the table for docs/reliability.md."""
    lines = ["| fault | bar | measured | |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in table]
    form = " --short" if short else ""
    return f"\nBy `python -m bench.reliability{form}`:\n\n" + "\n".join(lines) + "\n"


def show(table: Sequence[Sequence[str]]) -> None:
    """Print the table."""
    printed = Table("fault", "bar", "measured", "")
    for fault, bar, text, met in table:
        printed.add_row(fault, bar, text, met.strip("*"))
    Console(width=160, highlight=False).print(printed)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer calls")
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument(
        "--row", type=int, action="append", choices=range(1, len(ROWS) + 1), help="default: all"
    )
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE}")
    given = parser.parse_args()
    logging.disable(logging.ERROR)
    databases = DATABASES if given.database == "both" else (given.database,)
    rows = given.row or range(1, len(ROWS) + 1)
    table = run(measure(rows, databases, given.short))
    show(table)
    if given.write:
        page = PAGE.read_text("utf-8")
        text = markdown(table, given.short)
        PAGE.write_text(rewrite(page, text, begin=BEGIN, end=END), "utf-8")
    sys.exit(any("missed" in row[3] for row in table))


if __name__ == "__main__":
    main()
