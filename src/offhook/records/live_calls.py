"""Events of the calls that are live, for readers that have not followed them so far."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, func, select

from offhook.events.types import Event
from offhook.journal.entries import JournalEntry
from offhook.records import tables
from offhook.records.moves import place
from offhook.records.timeline import StoredEvent, decoded


def live_entries(
    connection: Connection, until: Mapping[str, int], kinds: Collection[type[Event]]
) -> list[JournalEntry] | None:
    """Return the entries of live calls, of these kinds, in the order of each call.

    `until` is the number of the last line of each call process of this data folder, by its id;
    entries beyond it are left out. Calls of other processes, which may be another machine's, are
    left out. Returns None while the database has not all lines up to there.
    """
    applied = {row.process: row.line for row in connection.execute(select(tables.applied))}
    if any(applied.get(process, 0) < line for process, line in until.items()):
        return None
    calls, lines, its = tables.calls.c, tables.events.c, tables.ownerships.c
    # Lines of an epoch have numbers of their own: moves.py.
    epoch = select(func.coalesce(func.max(its.epoch), 1)).where(
        its.call_sid == calls.sid, its.process == calls.process
    )
    query = (
        select(
            lines.call_sid,
            lines.line,
            lines.at_ms,
            lines.wall_ms,
            lines.kind,
            lines.body,
            calls.process,
            epoch.scalar_subquery(),
        )
        .join(tables.calls, calls.sid == lines.call_sid)
        .where(
            calls.duration_ms.is_(None),
            calls.process.in_(until),
            lines.kind.in_([kind.__name__ for kind in kinds]),
        )
        .order_by(lines.call_sid, lines.line)
    )
    entries = []
    for sid, line, at_ms, wall_ms, kind, body, process, present in connection.execute(query):
        if line > place(present, until[process]):
            continue
        event = decoded(StoredEvent(line, at_ms, wall_ms, kind, body))
        if event is not None:
            entries.append(JournalEntry(line, sid, at_ms, wall_ms, event))
    return entries
