"""What the upgrade of a database from schema 0007 takes: one table of events instead of seven.

    python bench/migration.py [--calls 100000] [--kind sqlite] [--database FILE]

Writes calls as the version before did, into SQLite and into a real PostgreSQL (that of the wheel
which the tests use), and upgrades. Prints seconds, and the size before and after. With `--database`
a copy of that SQLite file is upgraded instead.
"""

import argparse
import random
import sqlite3
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from tests.postgres import Postgres  # noqa: E402

from offhook.events import types as events  # noqa: E402
from offhook.records import database  # noqa: E402
from records import BEGAN_MS, BETWEEN_MS, call, sid  # noqa: E402

OLD = "0007"
BATCH_CALLS = 500
UTTERANCES = 8

COLUMNS = {
    "calls": "sid account_sid agent direction came_by from_number to_number variables journal line"
    " started_ms last_ms duration_ms fault slug words detail agent_ms tier text_erased",
    "utterances": "call_sid line who text intended start_ms end_ms heard_ms interrupted",
    "functions": "call_sid line id name arguments called_ms outcome content after_ms",
    "agent_sessions": "call_sid line request_id ready_at_ms dialled_ms",
    "turns": "call_sid line at_ms first_byte_ms first_played_ms listen_ms think_ms speak_ms"
    " total_ms",
}

Rows = dict[str, list[tuple[Any, ...]]]


def old_rows(index: int, first_line: int, chance: random.Random) -> tuple[Rows, int]:
    """The rows that one call was in schema 0007, and the number of its last line."""
    rows: Rows = defaultdict(list)
    of, line = sid(index), first_line
    began: events.CallBegan | None = None
    ended: tuple[Any, ...] = (None, None, None, None, "")
    last_ms = 0
    for at_ms, event in call(index, UTTERANCES, chance):
        line += 1
        last_ms = at_ms
        match event:
            case events.CallBegan():
                began = event
            case events.CallEnded():
                ended = (event.duration_ms, event.fault, event.slug, event.words, event.detail)
            case events.CallerSaid(said, start_ms):
                row = (of, line, "caller", said, said, start_ms, at_ms, None, False)
                rows["utterances"].append(row)
            case events.AgentSaid(said, meant, heard_ms, cut, start_ms):
                row = (of, line, "agent", said, meant, start_ms, at_ms, heard_ms, cut)
                rows["utterances"].append(row)
            case events.FunctionCalled(id_, name, arguments):
                function = (of, line, id_, name, arguments, at_ms, "answered", '"10:00"', 80)
                rows["functions"].append(function)
            case events.AgentConnected(request_id, after_ms):
                rows["agent_sessions"].append((of, line, request_id, at_ms, after_ms))
            case events.Answered(byte_ms, played_ms):
                turn = (of, line, at_ms, byte_ms, played_ms, None, None, None, None)
                rows["turns"].append(turn)
            case events.LatencyReported(listen_ms, think_ms, speak_ms, total_ms):
                turn = (of, line, at_ms, None, None, listen_ms, think_ms, speak_ms, total_ms)
                rows["turns"].append(turn)
    assert began is not None
    parties = (began.direction, began.by, began.from_, began.to, began.variables)
    started_ms = BEGAN_MS + index * BETWEEN_MS
    times = ("j" * 32, first_line + 1, started_ms, last_ms)
    summary = (*parties, *times, *ended, last_ms, began.tier, False)
    rows["calls"] = [(of, began.account_sid, began.agent, *summary)]
    return rows, line


def batches(calls: int) -> Iterator[Rows]:
    chance = random.Random(5)
    line = 0
    for first in range(0, calls, BATCH_CALLS):
        batch: Rows = defaultdict(list)
        for index in range(first, min(calls, first + BATCH_CALLS)):
            rows, line = old_rows(index, line, chance)
            for table, some in rows.items():
                batch[table] += some
        yield batch


def fill(engine: Engine, calls: int) -> None:
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    for batch in batches(calls):
        with engine.begin() as connection:
            for table, columns in COLUMNS.items():
                names = columns.split()
                marks = ", ".join([mark] * len(names))
                statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"
                connection.exec_driver_sql(statement, batch[table])


def megabytes(engine: Engine) -> str:
    """The size on the disk; of SQLite's also how much of it is free for new calls."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            whole = connection.scalar(text("SELECT pg_database_size(current_database())"))
            return f"{(whole or 0) / 1e6:.0f} MB"
        pages, free, size = (
            connection.scalar(text(f"PRAGMA {name}")) or 0
            for name in ("page_count", "freelist_count", "page_size")
        )
    return f"{pages * size / 1e6:.0f} MB, of which {free * size / 1e6:.0f} are free"


def upgrade(engine: Engine) -> None:
    before = megabytes(engine)
    began, cpu = time.perf_counter(), time.process_time()
    versions = database.upgrade(engine)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    with engine.connect() as connection:
        count = connection.scalar(text("SELECT count(*) FROM events"))
    print(f"{engine.dialect.name}, {versions[0]} to {versions[1]}: {count} events")
    print(f"  {took:.0f} s, {cpu:.0f} s of CPU here")
    print(f"  before: {before}")
    print(f"  after:  {megabytes(engine)}", flush=True)


def tried(url: str, calls: int) -> None:
    engine = database.open_engine(database.url_of(url))
    database.migrate(engine, OLD)
    fill(engine, calls)
    upgrade(engine)
    engine.dispose()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--kind", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--database", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "offhook.db"
        if options.database is not None:
            with sqlite3.connect(options.database) as source, sqlite3.connect(path) as target:
                source.backup(target)
            engine = database.open_engine(database.url_of(f"sqlite:///{path}"))
            upgrade(engine)
            engine.dispose()
            return 0
        if options.kind != "postgresql":
            tried(f"sqlite:///{path}", options.calls)
            path.unlink()
    if options.kind != "sqlite":
        server = Postgres()
        try:
            with server.database() as url:
                tried(url.render_as_string(hide_password=False), options.calls)
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
