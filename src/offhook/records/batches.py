"""One batch of journal entries as rows, and the few statements that write them.

A server of 200 calls writes some 500 lines a second, all through this file: rows are tuples, the
SQL is text, and each statement goes to the driver's `executemany` once a batch.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import Connection

from offhook.events import types as events
from offhook.events.types import Event
from offhook.journal.entries import JournalEntry
from offhook.records.dnc import ASKED, DoNotCallEntry
from offhook.records.rows import ADDED, CHANGES, SAID, SUMS, Columns, call_row

_Row: TypeAlias = tuple[Any, ...]

_EVENTS: Final = ("call_sid", "line", "at_ms", "wall_ms", "kind", "body")
_UTTERANCES: Final = ("call_sid", "line", "who", "text")
_PLACES: Final = {name: place for place, name in enumerate(SUMS)}
_NUL_IN_JSON: Final = "\\u0000"

_encode: Final = msgspec.json.Encoder().encode


class Batch:
    """Rows of journal entries that were added in order, and changes of rows of `calls`.

    Attributes:
        ended: CallSids of calls that ended.
        metered: CallSids of calls whose cost may have changed.
        billed: CallSids of calls of which Twilio told what it bills.
        measured: CallSids of calls that ended, or whose measures changed after their end.
        barred: Numbers that are never to be rung.
        begun: Rows of calls that began, by CallSid.
    """

    def __init__(self, machine_id: str, process_id: str) -> None:
        self.ended: list[str] = []
        self.metered: list[str] = []
        self.billed: list[str] = []
        self.measured: set[str] = set()
        self.barred: list[DoNotCallEntry] = []
        self._owner: Final = {"journal": machine_id, "process": process_id}
        self.begun: dict[str, Columns] = {}
        self._events: list[_Row] = []
        self._said: list[_Row] = []
        self._added: dict[str, list[int]] = {}
        self._changes: dict[str, Columns] = defaultdict(dict)

    def add(self, entry: JournalEntry) -> None:
        """Add an entry. It becomes a row of `events`, and perhaps more."""
        number, sid, at_ms, wall_ms, event = entry
        body = _encode(event).decode()
        if _NUL_IN_JSON in body:
            event = without_nul(event)
            body = _encode(event).decode()
            entry = entry._replace(event=event)
        kind = type(event)
        self._events.append((sid, number, at_ms, wall_ms, kind.__name__, body))
        if kind in ADDED:
            name, amount = ADDED[kind]
            if count := amount(event):
                sums = self._added.setdefault(sid, [0] * len(SUMS))
                sums[_PLACES[name]] += count
        if kind in SAID:
            self._said.append((sid, number, SAID[kind], event.text))  # type: ignore[union-attr]  # each has it
        elif kind in CHANGES:
            self._changes[sid] |= CHANGES[kind](event, at_ms)
        match event:
            case events.CallBegan():
                self.begun[sid] = call_row(event, entry)
            case events.CallTakenOver():
                self._changes[sid] |= self._owner
            case events.CallEnded():
                self.ended.append(sid)
                self.measured.add(sid)
                self.metered.append(sid)
            case events.CallBilled():
                self.billed.append(sid)
                self.metered.append(sid)
            case events.AgentDisconnected():
                self.metered.append(sid)
            case events.DialRefused():  # the fallback of a call may be refused after its end
                self.measured.add(sid)
            case events.DoNotCall():
                self.barred.append(DoNotCallEntry(event.number, wall_ms, ASKED, sid))

    def write(self, connection: Connection, live: AbstractSet[str] = frozenset()) -> set[str]:
        """Write the rows. Return the calls of the batch that the database has.

        `live` are calls that the database is known to have, so that it is not asked for them.
        Entries of the other calls, which were erased, are dropped.
        """
        sql = Statements(connection)
        if self.begun:
            new = [self._owner | row for row in self.begun.values()]
            # Another server may have begun this call: a webhook that Twilio repeated elsewhere.
            sql.insert("calls", tuple(new[0]), [tuple(row.values()) for row in new], once=True)
        sids = {row[0] for row in self._events}
        known = sids & (live | self.begun.keys())
        if others := sids - known:
            known |= sql.known(others)
        whole = len(known) == len(sids)
        for table, columns, rows in (
            ("events", _EVENTS, self._events),
            ("utterances", _UTTERANCES, self._said),
        ):
            if kept := rows if whole else [row for row in rows if row[0] in known]:
                sql.insert(table, columns, kept)
        if self._added:
            sql.add(SUMS, [(*sums, sid) for sid, sums in self._added.items()])
        alike: dict[_Row, list[_Row]] = defaultdict(list)
        for sid, change in self._changes.items():
            alike[tuple(change)].append((*change.values(), sid))
        for columns, changed in alike.items():
            sql.change(columns, changed)
        return known


def without_nul(event: Event) -> Event:
    """Return the event with U+FFFD instead of NUL, which PostgreSQL's text cannot hold."""
    texts = {
        field.name: value.replace("\x00", "\ufffd")
        for field in dataclasses.fields(event)
        if isinstance(value := getattr(event, field.name), str)
    }
    return dataclasses.replace(event, **texts)  # type: ignore[arg-type]  # each a text before


class Statements:
    """The statements of a batch on one connection, in its database's SQL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sqlite = connection.dialect.name == "sqlite"
        self._mark = "?" if self._sqlite else "%s"

    def insert(
        self, table: str, columns: Sequence[str], rows: list[_Row], *, once: bool = False
    ) -> None:
        """Insert rows; with `once` those that are not there yet."""
        marks = ", ".join([self._mark] * len(columns))
        conflict = " ON CONFLICT DO NOTHING" if once else ""
        self._many(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}){conflict}",
            rows,
        )

    def change(self, columns: Iterable[str], rows: list[_Row]) -> None:
        """Set columns of calls. Each row ends with the CallSid."""
        values = ", ".join(f"{name} = {self._mark}" for name in columns)
        self._many(f"UPDATE calls SET {values} WHERE sid = {self._mark}", rows)

    def add(self, columns: Iterable[str], rows: list[_Row]) -> None:
        """Add to columns of calls. Each row ends with the CallSid."""
        values = ", ".join(f"{name} = {name} + {self._mark}" for name in columns)
        self._many(f"UPDATE calls SET {values} WHERE sid = {self._mark}", rows)

    def mark(self, process_id: str, line: int) -> None:
        """Note the last line of a process that the database has."""
        self._many(
            f"INSERT INTO applied (process, line) VALUES ({self._mark}, {self._mark})"
            " ON CONFLICT (process) DO UPDATE SET line = excluded.line",
            [(process_id, line)],
        )

    def known(self, sids: Iterable[str]) -> set[str]:
        """Return which of these calls the database has."""
        return {row[0] for row in self.of_calls("sid", sids)}

    def of_calls(self, columns: str, sids: Iterable[str]) -> list[_Row]:
        """Return columns of these calls, as far as the database has them."""
        query = f"SELECT {columns} FROM calls WHERE sid "
        if self._sqlite:
            wanted: str | list[str] = _encode(list(sids)).decode()
            query += "IN (SELECT value FROM json_each(?))"
        else:
            wanted = list(sids)
            query += "= ANY(%s)"
        found = self._connection.exec_driver_sql(query, (wanted,))
        return [tuple(row) for row in found]

    def _many(self, statement: str, rows: list[_Row]) -> None:
        self._connection.exec_driver_sql(statement, rows)
