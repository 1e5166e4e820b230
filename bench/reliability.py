"""make soak: the table of what a call survives, each row tried on purpose.

    python -m bench.reliability [--short] [--database sqlite|postgresql|both] [--row N] [--write]

Prints a row for each fault: the bar, what was measured, and whether the bar was met. Rows in which
a server keeps a record are measured on each of the databases named. `--short` tries fewer calls.
`--write` puts each row, as soon as it was tried, into the table of docs/reliability.md, and leaves
those that were not tried as they are. A row that raises is missed, and the others are tried all the
same. Exits with 1 when a bar was missed. A row without a measurement says so, and one whose form
did not judge all of its bars: they count neither as met nor as missed.
"""

import argparse
import logging
import math
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.agent_faults import Outcome
from bench.measured_table import (
    IN_SHORT,
    MISSED,
    Figure,
    MeasuredTable,
    attempted,
    cells,
    command,
    this_run,
)

from bench import agent_faults as it
from bench import kill_tests
from offhook.concurrency.event_loop import run

DATABASES = ("sqlite", "postgresql")

SILENCE_S = 3.0
FALLBACK_S = 2.0
TO_TWILIO = 256 * 1024
TO_DEEPGRAM = 64 * 1024
JOBS = 8
"""Calls at a time whose agents fail: they share a core with all that they are measured by."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `measure` gets True for the short form, and a database."""

    fault: str
    bar: str
    measure: Callable[[bool, str], Awaitable[Figure]]
    databases: Sequence[str] = ()
    """Those on which a server keeps its record meanwhile; none if it does not."""

    def case(self, database: str) -> str:
        """Return the first cell of the row."""
        return f"{self.fault}, {database}" if database else self.fault


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


def _by(
    long: str,
    short: str,
    tells: str = f"^{IN_SHORT}",
    *,
    databases: Sequence[str] = (),
) -> tuple[Callable[[bool, str], Awaitable[Figure]], Sequence[str]]:
    """Return what measures by a command of its own, whose `{database}` is the row's."""

    async def measure(short_form: bool, database: str) -> Figure:
        words = (short if short_form else long).split()
        return await command([one.replace("{database}", database) for one in words], tells)

    return measure, databases


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
        " orphaned calls; no line older than 100 ms lost",
        *_by(
            "-m bench.faults kill --rounds 100 --calls 100 --database {database}",
            "-m bench.faults kill --rounds 2 --calls 20 --database {database}",
            databases=DATABASES,
        ),
    ),
    Row(
        "1,000 calls in a second at capacity 100",
        "every webhook answered ≤ 5 s (Twilio waits 15), admitted calls within the delay bars, the"
        " rest by policy",
        *_by(
            "-m bench.rush --tls --database {database}",
            "-m bench.rush --tls --database {database} --calls 200 --capacity 40 --live 10"
            " --untimed",
            databases=DATABASES,
        ),
    ),
    Row(
        "handshake flood, slow handshakes, 10,000 half-open sockets",
        "live calls' added delay p99 ≤ 5 ms",
        *_by(
            "-m bench.attack --tls --database {database}",
            "-m bench.attack --tls --database {database} --calls 5 --seconds 1 --untimed",
            databases=DATABASES,
        ),
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
        *_by(
            "-m bench.soak --hold 0 --calls 25000 --database {database}",
            "-m bench.soak --hold 0 --calls 6000 --database {database}",
            databases=DATABASES,
        ),
    ),
    Row(
        "SIGKILL of the operator process under calls, 100 times",
        "no call notices; no line lost, nothing twice",
        *_by(
            "-m bench.faults operator --rounds 100 --calls 20 --database {database}",
            "-m bench.faults operator --rounds 2 --calls 5 --database {database} --untimed",
            databases=DATABASES,
        ),
    ),
    Row(
        "database away for 10 minutes",
        "no call notices; no line lost, nothing twice",
        *_by(
            "-m bench.faults outage --seconds 600 --calls 50 --database {database}",
            "-m bench.faults outage --seconds 5 --calls 5 --database {database} --untimed",
            databases=("postgresql",),
        ),
    ),
    Row(
        "disk full under the operator process",
        "no call notices; no line lost, nothing twice",
        *_by(
            "-m bench.faults full-disk --calls 20 --database {database}",
            "-m bench.faults full-disk --calls 5 --database {database} --untimed",
            databases=("sqlite",),
        ),
    ),
)


TABLE = MeasuredTable(
    "fault",
    [row.case(database) for row in ROWS for database in row.databases or ("",)],
    "<!-- measured by bench/reliability.py: begin -->",
    "<!-- measured by bench/reliability.py: end -->",
)


async def measure(
    rows: Sequence[int], databases: Sequence[str], *, short: bool, write: bool
) -> list[list[str]]:
    """Return the lines of the table, one for each fault and database."""
    lines = []
    of = this_run("short" if short else "long")
    for number in rows:
        row = ROWS[number - 1]
        for database in (
            [one for one in row.databases if one in databases] if row.databases else [""]
        ):
            print(f"{number}: {row.case(database)}", flush=True)
            found = await attempted(row.measure(short, database), None)
            lines.append(cells(row.case(database), row.bar, found, of))
            print(f"  {lines[-1][2]}: {lines[-1][3]}", flush=True)
            if write:
                TABLE.write(lines[-1:])
                kill_tests.write()
    return lines


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer calls")
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument(
        "--row", type=int, action="append", choices=range(1, len(ROWS) + 1), help="default: all"
    )
    parser.add_argument("--write", action="store_true", help="put the rows into the table")
    given = parser.parse_args()
    logging.disable(logging.ERROR)
    databases = DATABASES if given.database == "both" else (given.database,)
    rows = given.row or range(1, len(ROWS) + 1)
    lines = run(measure(rows, databases, short=given.short, write=given.write))
    TABLE.show(lines)
    sys.exit(any(line[3] == MISSED for line in lines))


if __name__ == "__main__":
    main()
