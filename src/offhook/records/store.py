"""Writing of journal lines as rows: a batch is one transaction, each line is applied once."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, bindparam, insert, select, update

from offhook.call.ending import Slug
from offhook.config import Prices
from offhook.events import types as events
from offhook.records import database, jobs, rows, tables
from offhook.records.dnc import ASKED, DoNotCallEntry, bar
from offhook.records.entries import JournalEntry
from offhook.records.prices import cost_micros
from offhook.records.rows import Row

_NUL: Final = "\x00"
"""PostgreSQL's text holds no NUL."""


class RecordStore:
    """Writes the lines of one journal.

    With `after_call` each call has a job (jobs.py) from the transaction on that writes its end.
    """

    def __init__(self, journal_id: str, prices: Prices, *, after_call: bool = False) -> None:
        self.journal_id: Final = journal_id
        self._prices = prices
        self._after_call = after_call

    def applied(self, connection: Connection) -> int:
        """Return the number of the last line that the database has; 0: none."""
        found = connection.scalar(
            select(tables.applied.c.line).where(tables.applied.c.journal == self.journal_id)
        )
        return found or 0

    def apply(self, connection: Connection, lines: Sequence[JournalEntry], last: int) -> list[str]:
        """Add lines in order, and mark those up to `last` as applied. Return calls that ended."""
        batch = _Batch(self.journal_id)
        for line in lines:
            batch.add(line)
        ended = batch.write(connection)
        self._cost(connection, batch.metered)
        self._add_jobs(connection, ended, batch.billed)
        self._mark(connection, last)
        return ended

    def end_orphaned(self, connection: Connection, first: int) -> list[str]:
        """End orphaned calls: those that began before line `first` and have no end. Return them."""
        calls = tables.calls.c
        return self._end(connection, (calls.journal == self.journal_id) & (calls.line < first))

    def end_lost(self, connection: Connection, before_ms: int) -> list[str]:
        """End the calls that began before that time of the wall clock. Return them.

        Their machine did not come back. If it ever does, the end that its journal has replaces
        this one.
        """
        return self._end(connection, tables.calls.c.started_ms < before_ms)

    def _end(self, connection: Connection, which: ColumnElement[bool]) -> list[str]:
        """End these calls, whose server died. Return those that had no end before."""
        calls, died = tables.calls.c, Slug.SERVER_DIED
        ended = (
            update(tables.calls)
            .where(which, calls.duration_ms.is_(None))
            .values(
                fault=died.fault,
                slug=died.slug,
                words=died.words,
                detail="",
                duration_ms=calls.last_ms,
            )
            .returning(calls.sid)
        )
        found = list(connection.scalars(ended))
        if found:
            self._cost(connection, found)
            self._add_jobs(connection, found, [])
        return found

    def since(self, connection: Connection, started_ms: int) -> list[str]:
        """Return the CallSids of calls that began at that time of the wall clock or later."""
        calls = tables.calls.c
        return list(connection.scalars(select(calls.sid).where(calls.started_ms >= started_ms)))

    def _add_jobs(
        self, connection: Connection, ended: Sequence[str], billed: Sequence[str]
    ) -> None:
        if self._after_call and (ended or billed):
            now_ms = database.clock_ms(connection)
            jobs.add(connection, ended, now_ms)
            jobs.hurry(connection, billed, now_ms)

    def _mark(self, connection: Connection, last: int) -> None:
        mark = database.insert(connection, tables.applied).values(
            journal=self.journal_id, line=last
        )
        connection.execute(
            mark.on_conflict_do_update(index_elements=["journal"], set_={"line": last})
        )

    def _cost(self, connection: Connection, call_sids: Sequence[str]) -> None:
        calls = tables.calls.c
        metered = connection.execute(
            select(
                calls.sid,
                calls.billed_ms,
                calls.stream_at_ms,
                calls.duration_ms,
                calls.agent_ms,
                calls.tier,
            ).where(calls.sid.in_(call_sids))
        )
        costs = []
        for sid, billed_ms, stream_at_ms, duration_ms, agent_ms, tier in metered:
            streamed = 0
            if stream_at_ms is not None and duration_ms is not None:
                streamed = duration_ms - stream_at_ms
            cost = cost_micros(
                self._prices,
                twilio_ms=billed_ms,
                stream_ms=streamed,
                agent_ms=agent_ms,
                tier=tier,
            )
            if cost is not None:
                costs.append({"of": sid, "cost_micros": cost})
        if costs:
            connection.execute(update(tables.calls).where(calls.sid == bindparam("of")), costs)


class _Batch:
    """Rows to insert by table, and what changes in the rows of calls and functions."""

    def __init__(self, journal_id: str) -> None:
        self.metered: list[str] = []
        self.billed: list[str] = []
        self._journal = journal_id
        self._new: dict[str, Row] = {}
        self._changes: dict[str, Row] = defaultdict(dict)
        self._agent_ms: dict[str, int] = defaultdict(int)
        self._inserts: dict[Table, list[Row]] = defaultdict(list)
        self._functions: list[Row] = []
        self._ended: list[str] = []
        self._barred: list[DoNotCallEntry] = []

    def add(self, entry: JournalEntry) -> None:
        sid, event, kind = entry.call_sid, entry.event, type(entry.event)
        change = self._changes[sid]
        if kind not in rows.WITHOUT_LAST_MS:
            change["last_ms"] = entry.at_ms
        if kind in rows.CALL_COLUMNS:
            change |= rows.CALL_COLUMNS[kind](event, entry)
        if kind in rows.FUNCTION_COLUMNS:
            self._function(sid, event.id, rows.FUNCTION_COLUMNS[kind](event))  # type: ignore[union-attr]  # of a function
        if kind in rows.NEW_ROWS:
            table, make = rows.NEW_ROWS[kind]
            self._inserts[table].append(
                {"call_sid": sid, "line": entry.number, **make(event, entry)}
            )
        match event:
            case events.CallBegan():
                self._new[sid] = rows.call_row(event, entry, self._journal)
            case events.CallEnded():
                self._ended.append(sid)
                self.metered.append(sid)
            case events.CallBilled():
                self.metered.append(sid)
                self.billed.append(sid)
            case events.AgentDisconnected():
                self._agent_ms[sid] += event.connected_ms
                self.metered.append(sid)
            case events.DoNotCall():
                self._barred.append(DoNotCallEntry(event.number, entry.wall_ms, ASKED, sid))

    def _function(self, sid: str, function_id: str, outcome: Row) -> None:
        """Keep the outcome of a function that was called in this batch or an earlier one."""
        for row in reversed(self._inserts[tables.functions]):
            if (row["call_sid"], row["id"]) == (sid, function_id):
                row |= outcome
                return
        self._functions.append({"of_call": sid, "of_id": function_id, **outcome})

    def write(self, connection: Connection) -> list[str]:
        for sid, row in self._new.items():
            row |= self._changes.pop(sid, {})
        if self._new:
            self._insert_new(connection)
        self._update_functions(connection)
        known = self._known(connection)
        for table, new in self._inserts.items():
            kept = [_clean(row) for row in new if row["call_sid"] in known]
            # Rows of one table name different columns; together, they must name the same.
            for columns in {tuple(row) for row in kept}:
                connection.execute(insert(table), [row for row in kept if tuple(row) == columns])
        for one in self._barred:
            bar(connection, one)
        calls = tables.calls.c
        for sid, change in self._changes.items():
            values = _clean(change)
            if self._agent_ms.get(sid):
                values["agent_ms"] = calls.agent_ms + self._agent_ms[sid]
            if values:
                connection.execute(update(tables.calls).where(calls.sid == sid).values(**values))
        return [sid for sid in self._ended if sid in known]

    def _update_functions(self, connection: Connection) -> None:
        if self._functions:
            functions = tables.functions.c
            connection.execute(
                update(tables.functions).where(
                    functions.call_sid == bindparam("of_call"),
                    functions.id == bindparam("of_id"),
                    functions.outcome.is_(None),
                ),
                [_clean(row) for row in self._functions],
            )

    def _insert_new(self, connection: Connection) -> None:
        for sid, row in self._new.items():
            row["agent_ms"] = self._agent_ms.pop(sid, 0)
        for columns in {tuple(row) for row in self._new.values()}:
            new = [_clean(row) for row in self._new.values() if tuple(row) == columns]
            # Another server may have begun this call: a webhook that Twilio repeated elsewhere.
            connection.execute(
                database.insert(connection, tables.calls).on_conflict_do_nothing(), new
            )

    def _known(self, connection: Connection) -> set[str]:
        """Return the calls that the database has: lines of an erased call are dropped."""
        asked = {row["call_sid"] for new in self._inserts.values() for row in new}
        asked |= set(self._ended)
        known = set(self._new)
        rest = sorted(asked - known)
        if rest:
            found = select(tables.calls.c.sid).where(tables.calls.c.sid.in_(rest))
            known |= set(connection.scalars(found))
        return known


def _clean(row: Row) -> Row:
    return {
        name: value.replace(_NUL, "\ufffd") if isinstance(value, str) else value
        for name, value in row.items()
    }
