"""Searches of the operator's API while calls are measured, and the calls that are searched."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from sqlalchemy import Connection, Integer, Table, func, insert, literal, select

from offhook.bench.figures import Searched
from offhook.bench.load import sockets
from offhook.bench.serve import ServeSetup
from offhook.call.ending import Slug
from offhook.config import Prices
from offhook.events import types as events
from offhook.journal.entries import JournalEntry
from offhook.records import database, tables
from offhook.records.store import RecordStore

PER_SECOND: Final = 10.0
CALLS: Final = 100_000

_TEXTS: Final = ("bicycle", "Ventoux", "appointment", "zeppelin", "Monday")
"""Words to search for: of many calls, of one in a thousand, and of no call."""

# --- Asking -------------------------------------------------------------------------------------


class Searching:
    """Asks PER_SECOND times a second for the newest calls in which a text was heard."""

    def __init__(self, setup: ServeSetup) -> None:
        self._setup = setup
        self._times: list[int] = []
        self._failed = 0

    @property
    def searched(self) -> Searched:
        """Return the searches until now."""
        return Searched(self._times, self._failed)

    async def ask_all(self) -> None:
        """Ask until cancelled."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number, text in enumerate(itertools.cycle(_TEXTS)):
                await asyncio.sleep(max(0.0, began + number / PER_SECOND - loop.time()))
                group.create_task(self._ask(text))

    async def _ask(self, text: str) -> None:
        began = time.perf_counter_ns()
        port = self._setup.operator_port()
        assert port is not None  # the server was complete before it was asked
        head = (
            f"GET /api/v1/calls?text={text} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Connection: close\r\nAuthorization: Bearer {self._setup.token}"
        )
        try:
            await sockets.request(port, head, b"")
        except sockets.RefusedError:
            self._failed += 1
        else:
            self._times.append(time.perf_counter_ns() - began)


# --- The calls ----------------------------------------------------------------------------------

_WRITTEN: Final = 1000
"""Calls that are written as a server's are. The others are copies of them."""
_BETWEEN_MS: Final = 26_000
"""From one call to the next: 100,000 are then those of a month."""
_BEGAN_MS: Final = 1_793_000_000_000
_SPEECH: Final = (
    "The bicycle is ready and you can collect it tomorrow morning or in the afternoon we have to"
    " order the wheel please change the appointment or cancel it thank you on Monday"
)


def make_database(path: Path, calls: int = CALLS) -> None:
    """Write a database of many calls of a month, each of four utterances."""
    engine = database.open_engine(database.url_of(f"sqlite:///{path}"))
    try:
        database.upgrade(engine)
        store, number = RecordStore("0" * 32, Prices()), 0
        with engine.begin() as connection:
            lines = []
            for index in range(_WRITTEN):
                for at_ms, event in _call(index):
                    number += 1
                    wall_ms = _BEGAN_MS + index * _BETWEEN_MS + at_ms
                    lines.append(JournalEntry(number, f"CA{index:032x}", at_ms, wall_ms, event))
            store.apply(connection, lines, number)
            for copy in range(1, calls // _WRITTEN):
                for table in tables.metadata.sorted_tables:
                    if "sid" in table.columns or "call_sid" in table.columns:
                        _copy(connection, table, copy)
    finally:
        engine.dispose()


def _copy(connection: Connection, table: Table, copy: int) -> None:
    """Copy the first calls' rows of a table, as those of later calls."""
    first = _WRITTEN
    values = {}
    for column in table.columns:
        if column.name in ("sid", "call_sid"):
            # CallSids have no order.
            prefix = f"CA{Random(copy).getrandbits(64):016x}"
            values[column] = literal(prefix).concat(func.substr(column, 19))
        elif column.name == "started_ms":
            values[column] = column + copy * first * _BETWEEN_MS
        elif not (column.primary_key and isinstance(column.type, Integer) and column.name == "id"):
            values[column] = column
    key = next(column for column in table.columns if column.name in ("sid", "call_sid"))
    originals = select(*values.values()).where(key < f"CA{first:032x}")
    connection.execute(insert(table).from_select(list(values), originals))


def _call(number: int) -> Iterator[tuple[int, events.Event]]:
    """Yield the events of one call, with their ms."""
    chance = Random(number)
    caller = f"+1202555{chance.randrange(20_000):05}"
    yield (
        0,
        events.CallBegan(
            "AC" + "0" * 32,
            chance.choice(("front-desk", "workshop", "sales")),
            "standard",
            "inbound",
            "webhook",
            caller,
            "+12025560000",
            "{}",
        ),
    )
    yield 40, events.CallStarted()
    at_ms = 300
    for turn in range(4):
        at_ms += chance.randrange(2_000, 8_000)
        said = " ".join(chance.choices(_SPEECH.split(), k=chance.randrange(4, 20)))
        if turn == 1 and number == 7:
            said += " Ventoux"
        if turn % 2:
            yield at_ms, events.CallerSaid(said, at_ms - 1_500)
        else:
            yield at_ms, events.AgentSaid(said, said, 1_500, False, at_ms - 1_500)
    how = Slug.CALLER_HUNG_UP
    yield at_ms, events.CallEnded(how.fault, how.slug, how.words, "", at_ms)
