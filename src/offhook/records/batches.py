"""One batch of journal entries as rows, and the few statements that write them.

A server of 200 calls writes some 500 lines a second, all through this file: rows are tuples, the
SQL is text, and each statement goes to the driver's `executemany` once a batch.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from sqlalchemy import Connection

from offhook.events import types as events
from offhook.events.types import Event
from offhook.journal.entries import JournalEntry
from offhook.records.dnc import ASKED, DoNotCallEntry
from offhook.records.rows import ADDED, CHANGES, SAID, SUMS, Columns, call_row

_Row: TypeAlias = tuple[Any, ...]
_EventT = TypeVar("_EventT", bound=Event)

_EVENTS: Final = ("call_sid", "line", "at_ms", "wall_ms", "kind", "body")
_UTTERANCES: Final = ("call_sid", "line", "who", "text")
_PLACES: Final = {name: place for place, name in enumerate(SUMS)}
_METERED: Final = frozenset({events.CallEnded, events.CallBilled, events.AgentDisconnected})
_NUL_IN_JSON: Final = "\\u0000"

_encode: Final = msgspec.json.Encoder().encode


class Batch:
    """Rows of journal entries that were added in order, and changes of rows of `calls`.

    Every entry is of a call that the database has.

    Attributes:
        ended: CallSids of calls that ended.
        metered: CallSids of calls whose cost may have changed.
        billed: CallSids of calls of which Twilio told what it bills.
        measured: CallSids of calls that ended, or whose measures changed after their end.
    """

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.metered: list[str] = []
        self.billed: list[str] = []
        self.measured: set[str] = set()
        self._events: list[_Row] = []
        self._said: list[_Row] = []
        self._added: dict[str, list[int]] = {}
        self._changes: dict[str, Columns] = defaultdict(dict)

    def add(self, entry: JournalEntry) -> None:
        """Add an entry. It becomes a row of `events`, and perhaps more."""
        number, sid, at_ms, wall_ms, event, _ = entry
        body = _encode(event).decode()
        if _NUL_IN_JSON in body:
            event = without_nul(event)
            body = _encode(event).decode()
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
        elif kind is events.DialRefused:  # the fallback of a call may be refused after its end
            self.measured.add(sid)
        if kind in _METERED:
            self.metered.append(sid)
            if kind is events.CallEnded:
                self.ended.append(sid)
                self.measured.add(sid)
            elif kind is events.CallBilled:
                self.billed.append(sid)

    def change(self, call_sid: str, columns: Columns) -> None:
        """Change columns of a call."""
        self._changes[call_sid] |= columns

    def write(self, connection: Connection) -> None:
        """Write the rows, of calls that the database has."""
        sql = Statements(connection)
        if self._events:
            sql.insert("events", _EVENTS, self._events)
        if self._said:
            sql.insert("utterances", _UTTERANCES, self._said)
        if self._added:
            sql.add(SUMS, [(*sums, sid) for sid, sums in self._added.items()])
        alike: dict[_Row, list[_Row]] = defaultdict(list)
        for sid, change in self._changes.items():
            alike[tuple(change)].append((*change.values(), sid))
        for columns, changed in alike.items():
            sql.change(columns, changed)


def begin(connection: Connection, lines: Iterable[JournalEntry], owner: Columns) -> None:
    """Add the rows of the calls that begin in these lines. `owner` has the columns of the process.

    Another server may have begun one of them: a webhook that Twilio repeated elsewhere.
    """
    new: dict[str, Columns] = {}
    for line in lines:
        if isinstance(line.event, events.CallBegan):
            its = owner
            if line.origin is not None:  # Its folder and node are not known.
                its = {"journal": "", "process": line.origin.process_id, "node": ""}
            new.setdefault(line.call_sid, its | call_row(_clean(line.event), line))
    sql = Statements(connection)
    if new:
        for (sid,) in sql.of_calls("sid", new, table="erased_calls"):
            del new[sid]
    if new:
        rows = [tuple(new[sid].values()) for sid in sorted(new)]
        columns = tuple(next(iter(new.values())))
        sql.insert("calls", columns, rows, once=True)


def barred(lines: Iterable[JournalEntry]) -> list[DoNotCallEntry]:
    """Return the numbers that are never to be rung, as was said in these lines."""
    return [
        DoNotCallEntry(_clean(line.event).number, line.wall_ms, ASKED, line.call_sid)
        for line in lines
        if isinstance(line.event, events.DoNotCall)
    ]


def _clean(event: _EventT) -> _EventT:
    return without_nul(event) if _NUL_IN_JSON in _encode(event).decode() else event


def without_nul(event: _EventT) -> _EventT:
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

    def replace(self, table: str, columns: Sequence[str], rows: list[_Row]) -> None:
        """Insert rows, in place of those with the same value of the first column."""
        marks = ", ".join([self._mark] * len(columns))
        key, *others = columns
        given = ", ".join(f"{name} = excluded.{name}" for name in others)
        self._many(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            f" ON CONFLICT ({key}) DO UPDATE SET {given}",
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
        self.replace("applied", ("process", "line"), [(process_id, line)])

    def locked(self, sids: Iterable[str]) -> tuple[dict[str, str], set[str]]:
        """Return which of these calls the database has, with their processes, and the live ones.

        It locks them: so two machines that write of a call do it one after the other.
        """
        query = (
            "SELECT sid, process, duration_ms IS NULL FROM calls"
            f" WHERE sid {self._among} ORDER BY sid"
        )
        if not self._sqlite:
            query += " FOR NO KEY UPDATE"
        rows = self._rows(query, self._list(sids))
        return {sid: process for sid, process, _ in rows}, {sid for sid, _, live in rows if live}

    def of_calls(
        self, columns: str, sids: Iterable[str], *, table: str = "calls", key: str = "sid"
    ) -> list[_Row]:
        """Return columns of these calls, as far as the database has them."""
        return self._rows(
            f"SELECT {columns} FROM {table} WHERE {key} {self._among}", self._list(sids)
        )

    def stored(self, sids: Iterable[str], kinds: Iterable[str]) -> list[_Row]:
        """Return CallSid, time, kind and body of events of these kinds, by call in order."""
        return self._rows(
            "SELECT call_sid, at_ms, kind, body FROM events"
            f" WHERE call_sid {self._among} AND kind {self._among} ORDER BY call_sid, line",
            self._list(sids),
            self._list(kinds),
        )

    def there(self, entries: Collection[JournalEntry]) -> set[_Row]:
        """Return CallSid and number of those entries that are rows already."""
        if not entries:
            return set()
        sids = {entry.call_sid for entry in entries}
        numbers = {entry.number for entry in entries}
        return set(
            self._rows(
                "SELECT call_sid, line FROM events"
                f" WHERE call_sid {self._among} AND line {self._among}",
                self._list(sids),
                self._list(numbers),
            )
        )

    @property
    def _among(self) -> str:
        return "IN (SELECT value FROM json_each(?))" if self._sqlite else "= ANY(%s)"

    def _list(self, values: Iterable[Any]) -> str | list[Any]:
        return _encode(list(values)).decode() if self._sqlite else list(values)

    def _rows(self, query: str, *values: str | list[Any]) -> list[_Row]:
        # Fetched together: one by one they take several times as long.
        return [tuple(row) for row in self._connection.exec_driver_sql(query, values).all()]

    def _many(self, statement: str, rows: list[_Row]) -> None:
        self._connection.exec_driver_sql(statement, rows)
