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
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.agent_faults import Outcome
from bench.call_records import CallRecords, kept_in
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
from bench.trial_server import database_of

from bench import agent_faults as it
from bench import fault_verdicts as verdicts
from bench import kill_tests
from offhook.concurrency.event_loop import run

DATABASES = ("sqlite", "postgresql")

SILENCE_S = 3.0
FALLBACK_S = 2.0
TO_TWILIO = 256 * 1024
TO_DEEPGRAM = 64 * 1024
ADDED_S = 1.0
"""Seconds of silence that an exchange of sessions may add."""


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


@asynccontextmanager
async def _records(database: str) -> AsyncIterator[CallRecords]:
    """Keep a record on one of DATABASES, in a folder of its own."""
    with TemporaryDirectory(prefix="offhook-record-") as folder, database_of(database) as url:
        async with kept_in(Path(folder), url) as records:
            yield records


async def lost_agents(short: bool, database: str) -> Figure:
    """Row 1: every retryable close and Error in every phase, and an agent that goes silent."""
    cases = list(it.lost_agents(20 if short else 500))
    async with _records(database) as records:
        placed = await it.place_all(cases, it.JOBS, verdicts.misses, records)
    outcomes = placed.outcomes
    wrong = [(one, problems) for one in outcomes if (problems := verdicts.problems_of(one))]
    for one, problems in wrong:
        print(f"  WRONG {one.case}: {'; '.join(problems)}")
    greetings = 0
    for one in outcomes:
        if again := verdicts.second_greetings(one):
            greetings += again
            print(f"  GREETED TWICE {one.case}")
    lost = [(one.case, line) for one in outcomes for line in verdicts.lost_lines(one)]
    for case, line in lost:
        print(f"  LOST {case}: {line}")
    count = len(outcomes)
    silence_s = sorted(one.silence_s for one in outcomes)[math.ceil(0.95 * count) - 1]
    functions = sum(one.case.phase in it.IN_FUNCTIONS for one in outcomes)
    text = (
        f"{count - len(wrong)} of {count} calls resumed, {functions} of them in a function; silence"
        f" p95 {silence_s:.1f} s, longest {_longest_silence(outcomes)}; {greetings} second"
        f" greetings; {len(lost)} lines lost{placed.repeats}"
    )
    return Figure(text, not wrong and not greetings and not lost and silence_s <= SILENCE_S)


def _longest_silence(outcomes: Sequence[Outcome]) -> str:
    """Return the longest silence, in words; that of an agent which says nothing more by itself."""
    muted = [one.silence_s for one in outcomes if one.case.fault == it.MUTE]
    others = max(one.silence_s for one in outcomes if one.case.fault != it.MUTE)
    text = f"{others:.1f} s"
    return f"{text} ({len(muted)} times {max(muted):.1f} s, of silent agents)" if muted else text


async def rolled_over(short: bool, database: str) -> Figure:
    """Row 2: sessions that are exchanged before they end, whatever the agent is doing."""
    async with _records(database) as records:
        placed = await it.place_all(
            list(it.rolled_over(4 if short else 100)),
            it.JOBS,
            lambda one: verdicts.noticed(one) or verdicts.lost_lines(one),
            records,
        )
        plain = await it.place_all(
            it.without_exchange(2 if short else 20),
            it.JOBS,
            verdicts.wrong_without_exchange,
            records,
        )
    for one in plain.outcomes:
        if found := verdicts.wrong_without_exchange(one):
            print(f"  WRONG without an exchange: {'; '.join(found)}")
    outcomes = placed.outcomes
    wrong = [(one, found) for one in outcomes if (found := verdicts.noticed(one))]
    for one, found in wrong:
        print(f"  WRONG {one.case}: {'; '.join(found)}")
    lost = [(one.case, line) for one in outcomes for line in verdicts.lost_lines(one)]
    for case, line in lost:
        print(f"  LOST {case}: {line}")
    added_s = verdicts.added_silence_s(outcomes, plain.outcomes)
    exchanged = sum(verdicts.roll_overs(one) for one in outcomes)
    due = Counter(state for one in outcomes for state in verdicts.doing_when_due(one))
    never = verdicts.never_due_while(outcomes)
    text = (
        f"{exchanged} exchanges in {len(outcomes)} calls, due while the agent was"
        f" {', '.join(f'{state} {count}' for state, count in due.most_common())}: {added_s:.1f} s"
        f" of added silence at most, {len(lost)} lines lost; {len(wrong)} calls in which it was"
        f" noticed{placed.repeats}"
    )
    if never:
        text += f"; never due while {', '.join(never)}"
    return Figure(text, added_s <= ADDED_S and not (lost or wrong or never))


async def hopeless_agents(short: bool, database: str) -> Figure:
    """Row 3: closes and Errors after which no other leg is dialled."""
    cases = list(it.hopeless_agents(10 if short else 120))
    placed = await it.place_all(cases, it.JOBS, _is_slow)
    outcomes = placed.outcomes
    retried = [one for one in outcomes if len(one.sessions) > 1 or len(one.happened) > 1]
    silent = [one for one in outcomes if verdicts.fallback_s(one) is None]
    for one in [*retried, *silent]:
        print(f"  WRONG {one.case}: {one.ending}, {len(one.sessions)} sessions")
    longest = max((verdicts.fallback_s(one) or 0.0 for one in outcomes), default=0.0)
    text = (
        f"{len(outcomes)} calls: {len(retried)} retried, {len(silent)} without words; the fallback"
        f" spoke after {longest:.1f} s at most{placed.repeats}"
    )
    return Figure(text, not retried and not silent and longest <= FALLBACK_S)


def _is_slow(outcome: Outcome) -> bool:
    after_s = verdicts.fallback_s(outcome)
    return after_s is None or after_s > FALLBACK_S


async def misbehaving_agents(short: bool, database: str) -> Figure:
    """Row 4: what a call holds for each side, and how it ends."""
    outcomes = (await it.place_all(list(it.misbehaving(short)), it.JOBS)).outcomes
    for one in outcomes:
        held = f"{one.peaks.to_twilio} bytes for Twilio, {one.peaks.to_deepgram} for Deepgram"
        print(f"  {one.case}: {one.ending}; {held}")
    to_twilio = max(one.peaks.to_twilio for one in outcomes)
    to_deepgram = max(one.peaks.to_deepgram for one in outcomes)
    wrong = {str(one.case): found for one in outcomes if (found := misbehaved_badly(one))}
    for case, found in wrong.items():
        print(f"  WRONG {case}: {'; '.join(found)}")
    endings = sorted({one.ending for one in outcomes})
    text = (
        f"{len(outcomes)} calls: at most {to_twilio / 1024:.0f} KiB for Twilio,"
        f" {to_deepgram / 1024:.0f} KiB for Deepgram; endings {', '.join(endings)}"
    )
    if wrong:
        text += f"; {len(wrong)} calls wrong"
    good = to_twilio <= TO_TWILIO and to_deepgram <= TO_DEEPGRAM and not wrong
    return Figure(text, good)


def misbehaved_badly(outcome: Outcome) -> list[str]:
    """Return why a call of row 4 shows nothing: a fault that never struck, no ending of its own."""
    found = verdicts.unstruck(outcome)
    if outcome.ending in ("none", "internal_error"):
        found.append(f"it ended as {outcome.ending}")
    return found


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
        DATABASES,
    ),
    Row(
        "roll-over while talking, listening, in a function",
        "unnoticed: ≤ 1 s of added silence, no word lost",
        rolled_over,
        DATABASES,
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
            "-m bench.clocks --database {database}",
            "-m bench.clocks --database {database} --calls 3",
            databases=DATABASES,
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
            "-m bench.soak --hold 0 --calls 50000 --database {database}",
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
    Row(
        "disk full under every process of a server: database, journals, files of live calls",
        "no call notices; no line lost, nothing twice",
        *_by(
            "-m bench.faults small-disk --calls 20 --seconds 10 --database {database}",
            "-m bench.faults small-disk --calls 5 --database {database} --untimed",
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
                kill_tests.write(TABLE)
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
