"""What a journal line costs on its way into the database: CPU from its bytes to the commit.

    python bench/rows.py [--calls 200] [--seconds 60] [--gather 40,250] [--kind sqlite] [--write]

The lines are those of `--calls` calls at a time, 2.4 a second each, in batches as they occur when
the operator process gathers lines for so many ms before each transaction. Prints µs of CPU a line
of this process, by gather time; for PostgreSQL (that of the wheel which the tests use) also its
server's. The operator process gathers for 100 ms, so that is always among them and is what the bars
judge: 60 µs on SQLite, 100 on PostgreSQL. Exits with 1 when one is missed. `--write` puts the two
figures into docs/performance.md instead, met or not.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil
from sqlalchemy import Engine

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.postgres import Postgres  # noqa: E402

from offhook.bench.bars import Bar  # noqa: E402
from offhook.bench.report import bar_cells, rewrite  # noqa: E402
from offhook.bench.suite import machine  # noqa: E402
from offhook.config import Prices  # noqa: E402
from offhook.events import types as events  # noqa: E402
from offhook.events.types import CallEvent  # noqa: E402
from offhook.journal.entries import decode, encode  # noqa: E402
from offhook.records import database  # noqa: E402
from offhook.records.follower import POLL_S  # noqa: E402
from offhook.records.store import RecordStore  # noqa: E402

BEGAN_MS = 1_795_000_000_000
CALL_MS = 60_000
LINES_A_SECOND = 2.4
BARS_US = {"sqlite": 60, "postgresql": 100}
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
GATHERED_MS = round(1000 * POLL_S)
"""Time between two transactions of the operator process."""

PAGE = ROOT / "docs/performance.md"
BEGIN = "<!-- measured by bench/rows.py: begin -->"
END = "<!-- measured by bench/rows.py: end -->"
WORDS = [
    "the",
    "bicycle",
    "is",
    "ready",
    "and",
    "you",
    "can",
    "collect",
    "it",
    "tomorrow",
    "morning",
    "or",
    "afternoon",
    "please",
]


def turns(chance: random.Random) -> Iterator[events.Event]:
    """What happens in a conversation, over and over."""

    def words(count: int) -> str:
        return " ".join(chance.choices(WORDS, k=chance.randrange(count // 2, count * 2)))

    while True:
        yield events.CallerSaid(words(8), 1000)
        if chance.random() < 0.2:
            yield events.FunctionCalled("f1", "find_slot", '{"day": "Monday"}')
            yield events.FunctionAnswered("f1", "find_slot", "answered", '"10:00"', 80)
        yield events.LatencyReported(100, 300, 200, 600)
        yield events.Answered(600, 700)
        said = words(24)
        cut = chance.random() < 0.25
        if cut:
            yield events.Interrupted(900)
            yield events.AudioDropped("caller", 400, "late")
        yield events.AgentSaid(said[:40] if cut else said, said, 1500, cut, 1000)


def call(number: int, chance: random.Random) -> Iterator[tuple[int, CallEvent]]:
    """The events of one call and the time of each, in ms since all began."""
    sid = f"CA{random.Random(number).getrandbits(128):032x}"
    began_ms = chance.randrange(CALL_MS)

    def at(ms: int, event: events.Event) -> tuple[int, CallEvent]:
        return began_ms + ms, CallEvent(sid, ms, event)

    account, caller = "AC" + "0" * 32, f"+1202555{number:05}"
    began = events.CallBegan(
        account, "desk", "standard", "inbound", "webhook", caller, "+12025560000", "{}"
    )
    yield at(0, began)
    yield at(40, events.CallStarted())
    yield at(300, events.AgentConnected(f"{chance.getrandbits(128):032x}", 250))
    ms = 300
    for event in turns(chance):
        ms += chance.randrange(round(2000 / LINES_A_SECOND))
        if ms > CALL_MS:
            break
        yield at(ms, event)
    yield at(CALL_MS, events.DelaysSampled((1,) * 9, (2,) * 9, (3,) * 9))
    yield at(CALL_MS, events.AgentDisconnected(CALL_MS - 300))
    yield at(CALL_MS, events.CallEnded("nobody", "caller_hung_up", "hung up", "", CALL_MS))
    yield at(CALL_MS + 900, events.CallBilled("completed", CALL_MS))


def batches(calls: int, seconds: int, gather_ms: int) -> Iterator[list[bytes]]:
    """The lines of each gather time. Before them, as one batch, those of the calls that go on."""
    chance = random.Random(5)
    happened = []
    for number in range(calls * (2 + seconds * 1000 // CALL_MS)):
        shift = number // calls * CALL_MS
        happened += [(ms + shift, one) for ms, one in call(number, chance)]
    happened.sort(key=lambda one: one[0])
    end_ms = CALL_MS
    batch: list[bytes] = []
    for ms, one in happened:
        while ms >= end_ms:
            if batch:
                yield batch
            batch, end_ms = [], end_ms + gather_ms
        if end_ms > CALL_MS + seconds * 1000:
            return
        batch.append(encode(one, BEGAN_MS + ms))


def server_cpu_s(pid: int) -> float:
    """CPU seconds of a PostgreSQL: of its processes that run, and of those that have ended."""
    whole = psutil.Process(pid)
    times = [whole.cpu_times(), *(child.cpu_times() for child in whole.children(recursive=True))]
    ended = times[0].children_user + times[0].children_system
    return ended + sum(one.user + one.system for one in times)


class Cost(NamedTuple):
    """CPU of a line, in µs: of the process that stores it, and of its database's server."""

    us: float
    server_us: float | None


def measure(engine: Engine, gather_ms: int, options: argparse.Namespace, pid: int | None) -> Cost:
    """Print a row; return what a line costs."""
    prices = Prices(twilio_minute=0.0085, deepgram_minute={"standard": 0.08})
    store = RecordStore("0" * 32, prices)
    given = batches(options.calls, options.seconds, gather_ms)
    number = lines = transactions = 0
    cpu = server = 0.0
    took: list[float] = []
    for index, batch in enumerate(list(given)):
        if index == 1 and pid is not None:
            server = server_cpu_s(pid)
        began, began_cpu = time.perf_counter(), time.process_time()
        entries = [decode(number + count, line) for count, line in enumerate(batch, 1)]
        number += len(batch)
        with engine.begin() as connection:
            store.apply(connection, entries, number)
        if index:  # the first is of the calls that go on
            cpu += time.process_time() - began_cpu
            took.append(time.perf_counter() - began)
            lines += len(batch)
            transactions += 1
    us = cpu / lines * 1e6
    server_us = None if pid is None else (server_cpu_s(pid) - server) / lines * 1e6
    of_server = "" if server_us is None else f", server {server_us:6.1f}"
    longest = sorted(took)[int(len(took) * 0.99)] * 1000
    print(
        f"  gathered for {gather_ms:4} ms: {us:6.1f} µs a line{of_server}"
        f" ({lines} lines in {transactions} transactions, p99 {longest:.0f} ms)",
        flush=True,
    )
    return Cost(us, server_us)


def tried(url: str, gather_ms: int, options: argparse.Namespace, pid: int | None = None) -> Cost:
    engine = database.open_engine(database.url_of(url))
    database.upgrade(engine)
    try:
        return measure(engine, gather_ms, options, pid)
    finally:
        engine.dispose()


def bars(found: Mapping[str, Cost]) -> list[Bar]:
    """The bar of each database; one that was not measured has no value."""
    made = []
    for kind, most in BARS_US.items():
        cost = found.get(kind)
        note = ""
        if cost is not None and cost.server_us is not None:
            note = f"{cost.server_us:.0f} more in its server"
        us = None if cost is None else round(cost.us, 1)
        what = f"CPU of a journal line, {NAMES[kind]}, µs"
        made.append(Bar(what=what, value=us, most=most, note=note))
    return made


def table(found: Mapping[str, Cost]) -> str:
    """The part of the page that this command writes."""
    where = machine()
    machine_line = f"{where.date}, {where.processor}, {where.cores} cores; load average before:"
    lines = [
        "",
        f"{machine_line} {where.load_average:g}; a transaction every {GATHERED_MS} ms.",
        "",
        "|  | measured | bar |  |",
        "| --- | --- | --- | --- |",
    ]
    for bar in bars(found):
        what, value, bound, _, verdict = bar_cells(bar)
        lines.append(f"| {what} | {value} | {bound} | {verdict} |")
    return "\n".join([*lines, ""])


def costs(options: argparse.Namespace) -> dict[str, Cost]:
    """Measure; return what a line costs with the gather time of the operator process."""
    gathers = sorted({GATHERED_MS, *(int(ms) for ms in options.gather.split(",") if ms)})
    found: dict[str, Cost] = {}
    if options.kind != "postgresql":
        print("SQLite:")
        with tempfile.TemporaryDirectory() as folder:
            of = {ms: tried(f"sqlite:///{folder}/{ms}.db", ms, options) for ms in gathers}
            found["sqlite"] = of[GATHERED_MS]
    if options.kind != "sqlite":
        print("PostgreSQL:")
        server = Postgres()
        try:
            for ms in gathers:
                with server.database() as url:
                    name = url.render_as_string(hide_password=False)
                    cost = tried(name, ms, options, server.pid)
                if ms == GATHERED_MS:
                    found["postgresql"] = cost
        finally:
            server.stop()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--gather", default="40,250", help="other times than that of serve, in ms")
    parser.add_argument("--kind", choices=[*BARS_US, "both"], default="both")
    parser.add_argument("--write", action="store_true", help="put the figures into the page")
    options = parser.parse_args()
    found = costs(options)
    missed = [bar for bar in bars(found) if bar.met is False]
    for bar in missed:
        print(f"{bar.what}: {bar.value}, which is more than {bar.most:g}")
    if options.write:
        page = PAGE.read_text("utf-8")
        PAGE.write_text(rewrite(page, table(found), begin=BEGIN, end=END), "utf-8")
        return 0
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
