"""Lines into rows: one batch, one transaction, each line once."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, bindparam, insert, select, update

from offhook.call.ending import Slug
from offhook.config import Prices
from offhook.events import types as events
from offhook.records import database, jobs, tables
from offhook.records.dnc import ASKED, DoNotCallEntry, bar
from offhook.records.entries import JournalEntry
from offhook.records.prices import cost_micros

_NUL: Final = "\x00"
"""PostgreSQL's text holds no NUL."""

Row = dict[str, Any]


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
        """Add lines in order; then those up to `last` are applied. Return the calls that ended."""
        batch = _Batch(self.journal_id)
        for line in lines:
            batch.add(line)
        ended = batch.write(connection)
        self._cost(connection, batch.metered)
        self._add_jobs(connection, ended, batch.billed)
        self._mark(connection, last)
        return ended

    def end_ghosts(self, connection: Connection, first: int) -> list[str]:
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
        """End those of these calls that have no end: they died with their server."""
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
        rows = connection.execute(
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
        for sid, billed_ms, stream_at_ms, duration_ms, agent_ms, tier in rows:
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

    # --- lines ---------------------------------------------------------------------------------

    def add(self, line: JournalEntry) -> None:
        sid, event = line.call_sid, line.event
        change = self._changes[sid]
        if isinstance(event, events.CallBegan):
            self._new[sid] = {
                "sid": sid,
                "account_sid": event.account_sid,
                "agent": event.agent,
                "direction": event.direction,
                "came_by": event.by,
                "from_number": event.from_,
                "to_number": event.to,
                "variables": event.variables,
                "journal": self._journal,
                "line": line.number,
                "started_ms": line.wall_ms - line.at_ms,
                "last_ms": line.at_ms,
                "agent_ms": 0,
                "tier": event.tier,
                "text_erased": False,
            }
            return
        if isinstance(event, events.CallBilled):
            change |= {"billed_status": event.status, "billed_ms": event.duration_ms}
            self.metered.append(sid)
            self.billed.append(sid)
            return
        if isinstance(event, events.FunctionFinishedLate):
            # Comes after the end, too.
            outcome = "done_late" if event.outcome == "answered" else "failed_late"
            self._function(
                line, event.id, outcome=outcome, content=event.content, after_ms=event.after_ms
            )
            return
        if isinstance(event, events.Dialled):
            # It may come after the call's end, from a server that does not know when it began.
            self._insert(
                tables.dials,
                line,
                wall_ms=line.wall_ms,
                kind=event.kind,
                destination=event.destination,
                to_number=event.to,
            )
            return
        change["last_ms"] = line.at_ms
        match event:
            case events.CallStarted():
                change["stream_at_ms"] = line.at_ms
            case events.CallEnded():
                change |= {
                    "fault": event.fault,
                    "slug": event.slug,
                    "words": event.words,
                    "detail": event.detail,
                    "duration_ms": event.duration_ms,
                }
                self._ended.append(sid)
                self.metered.append(sid)
            case events.AgentDisconnected():
                self._agent_ms[sid] += event.connected_ms
                self.metered.append(sid)
            case events.RecordingStarted():
                change["recording"] = event.name
            case events.RecordingEnded():
                change["recording_ms"] = event.length_ms
            case events.RecordingFailed():
                change["recording_fault"] = event.why
            case events.LookedUp():
                change |= {
                    "lookup": event.outcome,
                    "lookup_why": event.why,
                    "lookup_ms": event.after_ms,
                }
            case events.DelaysSampled():
                change["delays"] = msgspec.json.encode(event).decode()
            case _:
                self._add_row(line)

    def _add_row(self, line: JournalEntry) -> None:
        event, at_ms = line.event, line.at_ms
        match event:
            case events.CallerSaid():
                self._utterance(
                    line, "caller", event.text, event.text, event.start_ms, None, cut=False
                )
            case events.AgentSaid():
                self._utterance(
                    line,
                    "agent",
                    event.text,
                    event.intended,
                    event.start_ms,
                    event.heard_ms,
                    cut=event.interrupted,
                )
            case events.AgentConnected():
                self._insert(
                    tables.agent_sessions,
                    line,
                    request_id=event.request_id,
                    ready_at_ms=at_ms,
                    dialled_ms=event.after_ms,
                )
            case events.Answered():
                self._insert(
                    tables.turns,
                    line,
                    at_ms=at_ms,
                    first_byte_ms=event.first_byte_ms,
                    first_played_ms=event.first_played_ms,
                )
            case events.LatencyReported():
                self._insert(
                    tables.turns,
                    line,
                    at_ms=at_ms,
                    listen_ms=event.listen_ms,
                    think_ms=event.think_ms,
                    speak_ms=event.speak_ms,
                    total_ms=event.total_ms,
                )
            case events.KeyPressed():
                self._insert(tables.keys, line, at_ms=at_ms, digit=event.digit)
            case events.MessageTaken():
                self._insert(
                    tables.messages,
                    line,
                    at_ms=at_ms,
                    from_name=event.from_name,
                    number=event.number,
                    text=event.text,
                )
            case events.DoNotCall():
                self._barred.append(
                    DoNotCallEntry(event.number, line.wall_ms, ASKED, line.call_sid)
                )
            case events.TransferFailed():
                self._trouble(line, "caller", event.why, event.destination, None)
            case events.DialRefused():
                self._trouble(line, "caller", event.kind, event.why, None)
            case events.FunctionCalled():
                self._insert(
                    tables.functions,
                    line,
                    id=event.id,
                    name=event.name,
                    arguments=event.arguments,
                    called_ms=at_ms,
                )
            case events.FunctionAnswered():
                self._function(
                    line,
                    event.id,
                    outcome=event.outcome,
                    content=event.content,
                    after_ms=event.after_ms,
                )
            case events.FunctionDropped():
                self._function(line, event.id, outcome=event.why, content=None, after_ms=None)
            case events.AgentWarned():
                self._trouble(line, "agent", event.code, event.description, None)
            case events.ProtocolViolation():
                self._trouble(line, event.leg, None, event.what, None)
            case events.AudioDropped():
                self._trouble(line, event.leg, None, event.why, event.ms)
            case events.InterpreterHeld():
                self._trouble(line, None, None, f"{event.tool} at {event.where}", event.held_ms)
            case events.StreamTrouble():
                self._trouble(line, "caller", event.code, event.words, None)
            case _:
                pass  # Interrupted: the utterance that was cut says the same.

    def _utterance(
        self,
        line: JournalEntry,
        who: str,
        text: str,
        intended: str,
        start_ms: int | None,
        heard_ms: int | None,
        *,
        cut: bool,
    ) -> None:
        self._insert(
            tables.utterances,
            line,
            who=who,
            text=text,
            intended=intended,
            start_ms=start_ms,
            end_ms=line.at_ms,
            heard_ms=heard_ms,
            interrupted=cut,
        )

    def _function(self, line: JournalEntry, function_id: str, **outcome: Any) -> None:
        """Keep what became of a function: of this batch, or of an earlier one."""
        for row in reversed(self._inserts[tables.functions]):
            if (row["call_sid"], row["id"]) == (line.call_sid, function_id):
                row |= outcome
                return
        self._functions.append({"of_call": line.call_sid, "of_id": function_id, **outcome})

    def _trouble(
        self, line: JournalEntry, leg: str | None, code: str | None, words: str, ms: int | None
    ) -> None:
        kind = type(line.event).__name__
        self._insert(
            tables.troubles,
            line,
            at_ms=line.at_ms,
            kind=kind,
            leg=leg,
            code=code,
            words=words,
            ms=ms,
        )

    def _insert(self, table: Table, line: JournalEntry, **values: Any) -> None:
        self._inserts[table].append({"call_sid": line.call_sid, "line": line.number, **values})

    # --- rows ----------------------------------------------------------------------------------

    def write(self, connection: Connection) -> list[str]:
        for sid, row in self._new.items():
            row |= self._changes.pop(sid, {})
        if self._new:
            self._insert_new(connection)
        self._update_functions(connection)
        known = self._known(connection)
        for table, rows in self._inserts.items():
            kept = [_clean(row) for row in rows if row["call_sid"] in known]
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
            rows = [_clean(row) for row in self._new.values() if tuple(row) == columns]
            # Another server may have begun this call: a webhook that Twilio repeated elsewhere.
            connection.execute(
                database.insert(connection, tables.calls).on_conflict_do_nothing(), rows
            )

    def _known(self, connection: Connection) -> set[str]:
        """Return the calls that are there: lines of a call that was erased since are dropped."""
        asked = {row["call_sid"] for rows in self._inserts.values() for row in rows}
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
