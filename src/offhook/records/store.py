"""Writing of journal lines as rows: a batch is one transaction, each line is applied once."""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from offhook.call.ending import Slug
from offhook.call.unfinished_speech import UnfinishedSpeech
from offhook.config import Prices
from offhook.config.prices import Cost, cost_of
from offhook.events.types import CallEnded, CallEvent, CallReleased, RecordingStarted
from offhook.journal.entries import JournalEntry
from offhook.records import database, jobs, tables
from offhook.records.batches import Batch, Statements, barred, begin
from offhook.records.dnc import bar
from offhook.records.measures import measure
from offhook.records.moves import admit
from offhook.records.recounting import recount
from offhook.records.rows import AFTER_THE_END, streamed_ms
from offhook.records.timeline import StoredEvent, decoded


class RecordStore:
    """Writes the lines of the journal of one call process.

    `machine_id` is the data folder's, which all its processes share. Without a `process_id` the
    journal is that of an earlier version, which all processes of the folder shared too. With
    `after_call` each call has a job (jobs.py) from the transaction on that writes its end. `node`
    is the name of this machine in a fleet.

    Attributes:
        refused: Number of lines that came too late in the last batch: moves.py.
    """

    def __init__(
        self,
        machine_id: str,
        prices: Prices,
        *,
        process_id: str = "",
        after_call: bool = False,
        node: str = "",
    ) -> None:
        self.machine_id: Final = machine_id
        self.process_id: Final = process_id or machine_id
        self.refused = 0
        self._prices = prices
        self._after_call = after_call
        self._owner: Final = {"process": self.process_id, "node": node}
        self._is_alone: Final = not node
        self._steady: set[str] = set()
        """Live calls that the database has, which have never moved, and which only this journal
        can move: nobody erases a live call. Empty in a fleet, where other nodes move calls."""

    def applied(self, connection: Connection) -> int:
        """Return the number of the last line that the database has; 0: none."""
        found = connection.scalar(
            select(tables.applied.c.line).where(tables.applied.c.process == self.process_id)
        )
        return found or 0

    def apply(self, connection: Connection, lines: Sequence[JournalEntry], last: int) -> list[str]:
        """Add lines in order, and mark those up to `last` as applied. Return calls that ended."""
        # Another attempt after a failure asks the database for every call.
        steady, self._steady = self._steady, set()
        begin(connection, lines, {"journal": self.machine_id} | self._owner)
        admitted = admit(connection, self.process_id, lines, steady)
        self.refused = admitted.refused
        batch = Batch()
        for entry in admitted.entries:
            batch.add(entry)
            if isinstance(entry.event, RecordingStarted) and entry.origin is None:
                batch.change(entry.call_sid, {"journal": self.machine_id})
        for sid in admitted.own:
            batch.change(sid, self._owner)
        batch.write(connection)
        for number in barred(lines):
            bar(connection, number)
        recount(connection, admitted.irregular, admitted.moved)
        measure(connection, sorted(batch.measured | admitted.irregular))
        self._cost(connection, {*batch.metered, *admitted.irregular})
        self._add_jobs(connection, batch.ended, batch.billed)
        Statements(connection).mark(self.process_id, last)
        if self._is_alone:
            steady |= admitted.steady
            released = {line.call_sid for line in lines if isinstance(line.event, CallReleased)}
            steady.difference_update(batch.ended, admitted.irregular, released)
            self._steady = steady
        return batch.ended

    def forget(self, connection: Connection) -> None:
        """Forget how far the lines of a process went that is dead, and whose journal is gone."""
        which = tables.applied.c.process == self.process_id
        connection.execute(delete(tables.applied).where(which))

    def end_orphaned(self, connection: Connection, held: Collection[str] = ()) -> list[CallEvent]:
        """End the calls of this process that have no end: the process has died. Return the ends.

        Calls that another process has taken over or may take over, `held`, are left as they are.
        """
        calls = tables.calls.c
        which = (calls.process == self.process_id) & calls.sid.not_in(held)
        orphaned = self._end(connection, which)
        sids = [sid for sid, _ in orphaned]
        self._end_speech(connection, sids)
        measure(connection, sids)
        died = Slug.SERVER_DIED
        return [
            CallEvent(sid, ms, CallEnded(died.fault, died.slug, died.words, "", ms))
            for sid, ms in orphaned
        ]

    def has_live(self, connection: Connection) -> bool:
        """Return whether a call of this process has no end."""
        calls = tables.calls.c
        live = select(calls.sid).where(
            calls.process == self.process_id, calls.duration_ms.is_(None)
        )
        return connection.execute(live.limit(1)).first() is not None

    def _end_speech(self, connection: Connection, call_sids: Sequence[str]) -> None:
        """Add an AgentSaid for each utterance that the agent was in when the process died."""
        lines = tables.events.c
        batch = Batch()
        for sid in call_sids:
            query = select(lines.line, lines.at_ms, lines.wall_ms, lines.kind, lines.body)
            query = query.where(lines.call_sid == sid).order_by(lines.line)
            stored = [StoredEvent(*row) for row in connection.execute(query)]
            speech = UnfinishedSpeech()
            for row in stored:
                speech.take(decoded(row), row.at_ms)
            for number, (at_ms, said) in enumerate(speech.cut(), 1):
                last = stored[-1]
                batch.add(JournalEntry(last.line + number, sid, at_ms, last.wall_ms, said))
        if call_sids:
            batch.write(connection)

    def end_lost(self, connection: Connection, before_ms: int) -> list[str]:
        """End the calls that began before that time of the wall clock. Return them.

        Their machine did not come back. If it ever does, the end that its journal has replaces
        this one.
        """
        lost = [sid for sid, _ in self._end(connection, tables.calls.c.started_ms < before_ms)]
        measure(connection, lost)
        return lost

    def _end(self, connection: Connection, which: ColumnElement[bool]) -> list[tuple[str, int]]:
        """End these calls, whose server died. Return those that had no end, and their length."""
        calls, lines, died = tables.calls.c, tables.events.c, Slug.SERVER_DIED
        last_ms = select(func.max(lines.at_ms)).where(
            lines.call_sid == calls.sid, lines.kind.not_in(AFTER_THE_END)
        )
        ended = (
            update(tables.calls)
            .where(which, calls.duration_ms.is_(None))
            .values(
                fault=died.fault,
                slug=died.slug,
                words=died.words,
                detail="",
                duration_ms=func.coalesce(last_ms.scalar_subquery(), 0),
            )
            .returning(calls.sid, calls.duration_ms)
        )
        found = [(row.sid, row.duration_ms) for row in connection.execute(ended)]
        if found:
            sids = [sid for sid, _ in found]
            self._cost(connection, set(sids))
            self._add_jobs(connection, sids, [])
        return found

    def _add_jobs(
        self, connection: Connection, ended: Sequence[str], billed: Sequence[str]
    ) -> None:
        if self._after_call and (ended or billed):
            now_ms = database.clock_ms(connection)
            jobs.add(connection, ended, now_ms)
            jobs.hurry(connection, billed, now_ms)

    def _cost(self, connection: Connection, call_sids: Collection[str]) -> None:
        if not call_sids:
            return
        sql = Statements(connection)
        costs = []
        for sid, came_by, billed_ms, stream_at_ms, duration_ms, agent_ms, tier in sql.of_calls(
            "sid, came_by, billed_ms, stream_at_ms, duration_ms, agent_ms, tier", call_sids
        ):
            cost = cost_of(
                self._prices,
                twilio_ms=billed_ms,
                stream_ms=streamed_ms(came_by, stream_at_ms, duration_ms),
                agent_ms=agent_ms,
                tier=tier,
            )
            if cost is not None:
                costs.append((sum(cost), *cost, sid))
        if costs:
            sql.change(("cost_micros", *Cost._fields), costs)
