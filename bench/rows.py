"""What a journal line costs on its way into the database: CPU from its bytes to the commit.

    python bench/rows.py [--calls 200] [--seconds 60] [--gather 40,100,250] [--kind sqlite]

The lines are those of `--calls` calls at a time, 2.4 a second each, in batches as they occur when
the operator process gathers lines for so many ms before each transaction. Prints µs of CPU a line
of this process, by gather time; for PostgreSQL (that of the wheel which the tests use) also its
server's. Exits with 1 when no gather time meets the bar: 60 µs on SQLite, 100 on PostgreSQL.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from sqlalchemy import Engine

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.postgres import Postgres  # noqa: E402

from offhook.config import Prices  # noqa: E402
from offhook.events import types as events  # noqa: E402
from offhook.events.types import CallEvent  # noqa: E402
from offhook.journal.entries import decode, encode  # noqa: E402
from offhook.records import database  # noqa: E402
from offhook.records.store import RecordStore  # noqa: E402

BEGAN_MS = 1_795_000_000_000
CALL_MS = 60_000
LINES_A_SECOND = 2.4
BARS_US = {"sqlite": 60, "postgresql": 100}
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
    began = ("desk", "standard", "inbound", "webhook", caller, "+12025560000", "{}")
    yield at(0, events.CallBegan(account, *began))
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


def measure(engine: Engine, gather_ms: int, options: argparse.Namespace, pid: int | None) -> float:
    """Print a row; return µs of CPU a line."""
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
    of_server = ""
    if pid is not None:
        of_server = f", server {(server_cpu_s(pid) - server) / lines * 1e6:6.1f}"
    longest = sorted(took)[int(len(took) * 0.99)] * 1000
    print(
        f"  gathered for {gather_ms:4} ms: {us:6.1f} µs a line{of_server}"
        f" ({lines} lines in {transactions} transactions, p99 {longest:.0f} ms)",
        flush=True,
    )
    return us


def tried(url: str, gather_ms: int, options: argparse.Namespace, pid: int | None = None) -> float:
    engine = database.open_engine(database.url_of(url))
    database.upgrade(engine)
    try:
        return measure(engine, gather_ms, options, pid)
    finally:
        engine.dispose()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--gather", default="40,100,250")
    parser.add_argument("--kind", choices=[*BARS_US, "both"], default="both")
    options = parser.parse_args()
    gathers = [int(ms) for ms in options.gather.split(",")]
    found: dict[str, list[float]] = {}
    if options.kind != "postgresql":
        print("SQLite:")
        with tempfile.TemporaryDirectory() as folder:
            found["sqlite"] = [tried(f"sqlite:///{folder}/{ms}.db", ms, options) for ms in gathers]
    if options.kind != "sqlite":
        print("PostgreSQL:")
        server = Postgres()
        try:
            found["postgresql"] = []
            for ms in gathers:
                with server.database() as url:
                    of = url.render_as_string(hide_password=False)
                    found["postgresql"].append(tried(of, ms, options, server.pid))
        finally:
            server.stop()
    missed = [kind for kind, all_us in found.items() if min(all_us) > BARS_US[kind]]
    for kind in missed:
        print(f"{kind}: more than {BARS_US[kind]} µs a line")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
