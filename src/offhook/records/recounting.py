"""Calls whose lines did not come in order: what is in `calls` is made anew of their events."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import Connection, delete, select, update

from offhook.records import tables
from offhook.records.rows import ADDED, CHANGES, SUMS, Columns
from offhook.records.timeline import StoredEvent, decoded

_NO_END: Final = dict.fromkeys(("fault", "slug", "words", "detail", "duration_ms"), None)
_AUDIO: Final = frozenset({"recording", "recording_ms"})
"""Columns that are not made anew once they are erased."""


def recount(connection: Connection, call_sids: Collection[str], moved: Collection[str]) -> None:
    """Make the columns of calls anew that derive from events.

    A call that has just `moved` and has no CallEnded is live, whatever end it was given before.
    """
    calls = tables.calls.c
    for sid in sorted(call_sids):
        columns = _columns(_events(connection, sid))
        one = calls.sid == sid
        if "duration_ms" not in columns and sid in moved:
            columns |= _NO_END
        was = connection.execute(select(calls.recording, calls.duration_ms).where(one)).one()
        if was.recording is None:
            columns = {name: value for name, value in columns.items() if name not in _AUDIO}
        # What came late may hold texts again: retention looks once more.
        columns["text_erased"] = False
        connection.execute(update(tables.calls).where(one).values(**columns))
        if was.duration_ms is not None and columns.get("duration_ms", 0) is None:
            _reopen(connection, sid)


def _reopen(connection: Connection, sid: str) -> None:
    """Remove what a call has since its end, which was none."""
    connection.execute(delete(tables.measures).where(tables.measures.c.call_sid == sid))
    jobs = tables.jobs.c
    connection.execute(delete(tables.jobs).where((jobs.call_sid == sid) & jobs.done_ms.is_(None)))


def _events(connection: Connection, sid: str) -> Iterable[StoredEvent]:
    stored = tables.events.c
    query = select(stored.line, stored.at_ms, stored.wall_ms, stored.kind, stored.body)
    rows = connection.execute(query.where(stored.call_sid == sid).order_by(stored.line))
    return [StoredEvent(*row) for row in rows]


def _columns(stored: Iterable[StoredEvent]) -> Columns:
    columns: Columns = dict.fromkeys(SUMS, 0)
    for row in stored:
        event: Any = decoded(row)
        kind = type(event)
        if kind in ADDED:
            name, amount = ADDED[kind]
            columns[name] += amount(event)
        if kind in CHANGES:
            columns |= CHANGES[kind](event, row.at_ms)
    return columns
