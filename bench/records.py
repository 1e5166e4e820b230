"""What the record answers, and how fast: many calls in SQLite and in a real PostgreSQL.

    python bench/records.py [--calls 100000] [--utterances 8] [--rounds 40]

The calls are written into SQLite by the record's own RecordStore, as a server's are, and from there
copied into PostgreSQL (that of the wheel which the tests use). They are asked for by the queries of
`offhook calls` and the API. Exits with 1 when a list, a page of a search or one call takes more
than 100 ms at p95.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, select, text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.postgres import Postgres  # noqa: E402

from offhook.call.ending import Slug  # noqa: E402
from offhook.config import Prices  # noqa: E402
from offhook.events import types as events  # noqa: E402
from offhook.journal.entries import JournalEntry  # noqa: E402
from offhook.records import call_record, database, pages, queries, tables  # noqa: E402
from offhook.records.filters import CallFilter  # noqa: E402
from offhook.records.quality import quality  # noqa: E402
from offhook.records.store import RecordStore  # noqa: E402

BATCH_CALLS = 500
BETWEEN_MS = 26_000
"""From one call to the next: 100,000 are then those of a month."""
BEGAN_MS = 1_793_000_000_000
MOST_MS = 100
MOST_OF_ALL_MS = 3000
"""For the figures of quality over every call; a page asks for those of a month at most at first."""

AGENTS = ["front-desk", "workshop", "sales", "after-hours"]
SPEECH = """
The bicycle is ready, and you can collect it tomorrow morning or in the afternoon. We have to order
the wheel. That is your name and your address? Please change the appointment, or cancel it. Hello,
thank you, yes, no: what are the Öffnungszeiten, and what is the price of this repair on Monday?
"""
WORDS = SPEECH.split()
ENDINGS = [Slug.CALLER_HUNG_UP] * 900 + [Slug.TIME_LIMIT] * 90 + [Slug.AGENT_LOST] * 10
RARE = "Ventoux"
"""What is said in one call of a thousand."""
NEVER = "zeppelin"


def sid(number: int) -> str:
    """Without an order, as Twilio's are."""
    return f"CA{random.Random(number).getrandbits(128):032x}"


def call(number: int, utterances: int, chance: random.Random) -> Iterator[tuple[int, events.Event]]:
    """The events of one call, with their ms."""
    yield (
        0,
        events.CallBegan(
            "AC" + "0" * 32,
            chance.choice(AGENTS),
            "standard",
            "inbound",
            "webhook",
            f"+1202555{chance.randrange(20_000):05}",
            f"+1202556{chance.randrange(4):05}",
            "{}",
        ),
    )
    yield 40, events.CallStarted()
    yield 300, events.AgentConnected(f"{chance.getrandbits(128):032x}", 250)
    at_ms = 300
    for index in range(utterances):
        at_ms += chance.randrange(2_000, 8_000)
        said = " ".join(chance.choices(WORDS, k=chance.randrange(4, 20)))
        if index == 1 and number % 1000 == 7:
            said += f" {RARE}"
        if index % 2:
            yield at_ms, events.CallerSaid(said, at_ms - 1_500)
            yield at_ms + 700, events.Answered(600, 700)
        else:
            cut = chance.random() < 0.1
            heard = said[: len(said) // 2] if cut else said
            yield at_ms, events.AgentSaid(heard, said, 1_500, cut, at_ms - 1_500)
            yield at_ms + 1, events.LatencyReported(100, 300, 200, 600)
    if chance.random() < 0.3:
        yield at_ms, events.FunctionCalled("f1", "find_slot", '{"day": "Monday"}')
        yield at_ms + 80, events.FunctionAnswered("f1", "find_slot", "answered", '"10:00"', 80)
    yield at_ms + 100, events.AgentDisconnected(at_ms)
    how = chance.choice(ENDINGS)
    if number % 10_000 == 9_999:
        return  # it is live
    yield at_ms + 200, events.CallEnded(how.fault, how.slug, how.words, "", at_ms + 200)
    yield at_ms + 300, events.CallBilled("completed", at_ms + 200)


def fill(engine: Engine, calls: int, utterances: int) -> None:
    """Write the calls, in batches of lines."""
    chance = random.Random(5)
    prices = Prices(twilio_minute=0.0085, deepgram_minute={"standard": 0.08})
    store = RecordStore("0" * 32, prices)
    number = 0
    for first in range(0, calls, BATCH_CALLS):
        lines = []
        for index in range(first, min(calls, first + BATCH_CALLS)):
            wall_ms = BEGAN_MS + index * BETWEEN_MS
            for at_ms, event in call(index, utterances, chance):
                number += 1
                lines.append(JournalEntry(number, sid(index), at_ms, wall_ms + at_ms, event))
        with engine.begin() as connection:
            store.apply(connection, lines, number)


def copy(source: Engine, target: Engine) -> None:
    """Every row of the record, as PostgreSQL takes many of them."""
    raw = target.raw_connection()
    with source.connect() as reading, raw.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        for table in tables.metadata.sorted_tables:
            names = ", ".join(column.name for column in table.columns)
            with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copying:
                for row in reading.execution_options(yield_per=1000).execute(select(table)):
                    copying.write_row(row)
        raw.commit()
    raw.close()
    with target.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # As its own housekeeping does in time; SQLite has none.
        connection.execute(text("ANALYZE"))


Ask = Callable[[Connection], object]


def questions(calls: int, chance: random.Random) -> dict[str, Callable[[], Ask]]:
    """What is asked; each time anew, about other calls."""

    def listed(limit: int = 50, **asked: object) -> Ask:
        return lambda connection: queries.find(connection, CallFilter(**asked), limit)  # type: ignore[arg-type]

    def deep() -> Ask:
        began = BEGAN_MS + chance.randrange(calls) * BETWEEN_MS
        cursor = pages.cursor_of(pages.PagePosition(began, "CB"))
        return lambda connection: queries.find(connection, CallFilter(), 50, cursor)

    def deep_search() -> Ask:
        began = BEGAN_MS + chance.randrange(calls) * BETWEEN_MS
        cursor = pages.cursor_of(pages.PagePosition(began, "CB"))
        return lambda connection: queries.find(connection, CallFilter(text=NEVER), 50, cursor)

    def a_day() -> Ask:
        since = BEGAN_MS + chance.randrange(calls) * BETWEEN_MS
        return listed(since_ms=since, until_ms=since + 86_400_000)

    def one() -> Ask:
        which = sid(chance.randrange(calls))
        return lambda connection: call_record.show(connection, which)

    def suffix() -> Ask:
        which = sid(chance.randrange(calls))[-10:]
        return lambda connection: queries.find_sid(connection, which)

    return {
        "list, newest 50": listed,
        "list, anywhere": deep,
        "list, of a day": a_day,
        "list, a caller": lambda: listed(number=f"+1202555{chance.randrange(20_000):05}"),
        "list, a called number": lambda: listed(number=f"+1202556{chance.randrange(4):05}"),
        "list, an agent": lambda: listed(agent=chance.choice(AGENTS)),
        "list, a rare ending": lambda: listed(slug="agent_lost"),
        "list, a rare fault": lambda: listed(fault="agent"),
        "list, a fault nobody had": lambda: listed(fault="twilio"),
        "list, live": lambda: listed(live=True),
        "list, of over an hour": lambda: listed(min_ms=3_600_000),
        "search, a common word": lambda: listed(text="appointment"),
        "search, a rare word": lambda: listed(text=RARE),
        "search, not ASCII": lambda: listed(text="öffnungszeiten"),
        "search, nobody said it": lambda: listed(text=NEVER),
        "search, anywhere": deep_search,
        "show": one,
        "end of a CallSid": suffix,
    }


def slow_questions() -> dict[str, Ask]:
    """What goes through all calls, and has no limit."""

    def whole_search(wanted: str) -> Ask:
        def ask(connection: Connection) -> None:
            cursor = None
            while True:
                page = queries.find(connection, CallFilter(text=wanted), 50, cursor)
                cursor = page.next_cursor
                if cursor is None:
                    return

        return ask

    return {
        "totals": lambda connection: queries.totals(connection, CallFilter()),
        "sums by day": lambda connection: queries.sums(connection, CallFilter(), "day"),
        "sums by agent": lambda connection: queries.sums(connection, CallFilter(), "agent"),
        "quality by day": lambda connection: quality(connection, CallFilter(), "day", "USD"),
        "quality by agent": lambda connection: quality(connection, CallFilter(), "agent", "USD"),
        "quality of an agent, by day": lambda connection: quality(
            connection, CallFilter(agent=AGENTS[0]), "day", "USD"
        ),
        "all that say a rare word": whole_search(RARE),
        "all, nobody said it": whole_search(NEVER),
    }


def took_ms(engine: Engine, ask: Ask) -> float:
    began = time.perf_counter()
    with engine.connect() as connection:
        ask(connection)
    return (time.perf_counter() - began) * 1000


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def measure(engine: Engine, calls: int, rounds: int) -> list[str]:
    """Print a row for each question; returns those that took too long."""
    too_long = []
    for name, make in questions(calls, random.Random(6)).items():
        took = [took_ms(engine, make()) for _ in range(rounds)]
        print(f"  {name:28} {statistics.median(took):8.1f} {p95(took):8.1f}")
        if p95(took) > MOST_MS:
            too_long.append(name)
    for name, ask in slow_questions().items():
        took = [took_ms(engine, ask) for _ in range(5)]
        print(f"  {name:28} {statistics.median(took):8.1f} {max(took):8.1f}  (of 5: longest)")
        if name.startswith("quality") and statistics.median(took) > MOST_OF_ALL_MS:
            too_long.append(name)
    return too_long


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sqlite = ready(f"sqlite:///{folder}/offhook.db")
        began = time.perf_counter()
        fill(sqlite, options.calls, options.utterances)
        too_long = told("SQLite", sqlite, began, options)
        server = Postgres()
        try:
            with server.database() as url:
                postgres = ready(url.render_as_string(hide_password=False))
                began = time.perf_counter()
                copy(sqlite, postgres)
                too_long += told("PostgreSQL", postgres, began, options)
                postgres.dispose()
        finally:
            server.stop()
        sqlite.dispose()
    for name in too_long:
        print(f"more than {MOST_MS} ms at p95: {name}")
    return 1 if too_long else 0


def ready(url: str) -> Engine:
    engine = database.open_engine(database.url_of(url))
    database.upgrade(engine)
    return engine


def told(kind: str, engine: Engine, began: float, options: argparse.Namespace) -> list[str]:
    took = time.perf_counter() - began
    of = f"{options.calls} calls of {options.utterances} utterances"
    print(f"{kind}: {of}, filled in {took:.0f} s")
    print(f"  {'ms':28} {'p50':>8} {'p95':>8}", flush=True)
    return [f"{kind}, {name}" for name in measure(engine, options.calls, options.rounds)]


if __name__ == "__main__":
    sys.exit(main())
