"""Calls that went on in another process: whose line is whose, and which come too late.

In a fleet a call has one process at a time; `epoch` counts them, and CallTakenOver tells of each
but the first. `ownerships` has a row for each process of a call that has moved.

The number of a row of `events` is the line's number in the journal, with the epoch in front: so a
call's rows are in order whatever the clocks of two machines say, and two journals with the same
number do not meet.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete

from offhook.events.types import CallReleased, CallTakenOver
from offhook.journal.entries import JournalEntry
from offhook.records import database, tables
from offhook.records.batches import Statements
from offhook.records.rows import AFTER_THE_END

NUMBERS: Final = 1 << 54
"""Numbers of an epoch: more than any journal's (journal/README.md)."""

EPOCHS_MAX: Final = 500
"""Epochs that fit into a column. A process that never had the call writes into the last one."""


_KEPT: Final = AFTER_THE_END | {CallReleased.__name__}
"""Kinds of events that are never too late: they tell what happened outside of the call."""


class Ownership(NamedTuple):
    """A process that has had a call, from a line of its journal and a time of the call on."""

    call_sid: str
    epoch: int
    process: str
    line: int
    at_ms: int


def place(epoch: int, number: int) -> int:
    """Return the number of a row of `events`."""
    return (min(max(1, epoch), EPOCHS_MAX) - 1) * NUMBERS + number


def epoch_of(line: int) -> int:
    """Return the epoch of a row of `events`, by its number."""
    return line // NUMBERS + 1


@dataclass(slots=True)
class AdmittedLines:
    """Entries of a batch to store, with the moves of calls that they contain.

    Attributes:
        entries: The entries, numbered as rows of `events`.
        own: Calls that this process has had last.
        moved: Calls of which this batch says that they have moved.
        irregular: Calls with lines that did not come in the order of the call.
        steady: Live calls of these lines that the database has, and that have never moved.
        refused: Number of lines that came too late, now and from the database.
    """

    entries: list[JournalEntry] = field(default_factory=list)
    own: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    irregular: set[str] = field(default_factory=set)
    steady: set[str] = field(default_factory=set)
    refused: int = 0


def admit(
    connection: Connection,
    process_id: str,
    lines: Sequence[JournalEntry],
    steady: Collection[str] = (),
) -> AdmittedLines:
    """Return which lines of a process's journal are to be stored.

    Lines of calls that the database does not have are left out, and of calls that have moved: those
    that are there, and those that a process wrote after another one had taken the call over. The
    database is not asked about `steady` calls: it has them, and only these lines can say that one
    of them has moved.
    """
    asked = {line.call_sid for line in lines if line.call_sid not in steady or _tells_move(line)}
    if not asked:
        return AdmittedLines(list(lines))
    admitted = AdmittedLines()
    sql = Statements(connection)
    owners, live = sql.locked(asked)
    known = [line for line in lines if line.call_sid not in asked or line.call_sid in owners]
    owned = _ownerships(connection, owners)
    _add_new(connection, process_id, known, owners, owned, admitted)
    admitted.steady = live - owned.keys()
    if not owned and all(line.origin is None for line in known):  # as nearly always
        admitted.entries = known
        admitted.own = {line.call_sid for line in known if isinstance(line.event, CallTakenOver)}
        return admitted
    numbered = [_number(process_id, line, owned.get(line.call_sid, ())) for line in known]
    doubtful = [line for line in numbered if line.origin is not None or line.call_sid in owned]
    there = sql.there(doubtful)
    for line in numbered:
        if (line.call_sid, line.number) in there:
            continue
        its = owned.get(line.call_sid, ())
        if its and _is_late(line, its):
            admitted.refused += 1
            continue
        if its and line.number < place(its[-1].epoch, 0):
            admitted.irregular.add(line.call_sid)
        if line.origin is None and isinstance(line.event, CallTakenOver):
            epoch = line.event.epoch
            if not epoch or (its and epoch >= its[-1].epoch):
                admitted.own.add(line.call_sid)
        there.add((line.call_sid, line.number))
        admitted.entries.append(line)
    return admitted


def _tells_move(line: JournalEntry) -> bool:
    return line.origin is not None or isinstance(line.event, CallTakenOver)


def _add_new(
    connection: Connection,
    process_id: str,
    lines: Iterable[JournalEntry],
    owners: Mapping[str, str],
    owned: dict[str, list[Ownership]],
    admitted: AdmittedLines,
) -> None:
    """Add the ownerships that begin with these lines, and remove what is too late by them."""
    new: list[Ownership] = []
    inherited_ms: dict[str, int] = {}
    for line in lines:
        sid, event = line.call_sid, line.event
        if line.origin is not None:
            inherited_ms[sid] = max(line.at_ms, inherited_ms.get(sid, 0))
        if not isinstance(event, CallTakenOver) or not event.epoch:
            continue
        process, number = line.origin or (process_id, line.number)
        its = owned.setdefault(sid, [])
        if not its:
            its.append(Ownership(sid, 1, owners[sid], 0, 0))
            new.append(its[0])
        if all(one.epoch != event.epoch for one in its):
            # Two machines measure the time of a call: what was inherited is not late by that.
            since_ms = max(line.at_ms, inherited_ms.get(sid, 0))
            new.append(Ownership(sid, event.epoch, process, number, since_ms))
            its.append(new[-1])
            its.sort(key=lambda one: one.epoch)
            if its[-1] is new[-1]:
                admitted.moved.add(sid)
    if new:
        rows = [one._asdict() for one in new]
        connection.execute(database.insert(connection, tables.ownerships), rows)
        admitted.irregular.update(one.call_sid for one in new)
        admitted.refused += sum(_remove_late(connection, one) for one in new)


def _remove_late(connection: Connection, since: Ownership) -> int:
    """Remove rows of a call that earlier processes wrote after another one had taken it over."""
    stored, said = tables.events.c, tables.utterances.c
    late = (
        (stored.call_sid == since.call_sid)
        & (stored.line < place(since.epoch, 0))
        & (stored.at_ms > since.at_ms)
        & stored.kind.not_in(_KEPT)
    )
    gone = list(connection.scalars(delete(tables.events).where(late).returning(stored.line)))
    if gone:
        of_them = (said.call_sid == since.call_sid) & said.line.in_(gone)
        connection.execute(delete(tables.utterances).where(of_them))
    return len(gone)


def _ownerships(connection: Connection, sids: Collection[str]) -> dict[str, list[Ownership]]:
    columns = ", ".join(Ownership._fields)
    found: dict[str, list[Ownership]] = {}
    rows = Statements(connection).of_calls(columns, sids, table="ownerships", key="call_sid")
    for row in sorted(rows):
        found.setdefault(row[0], []).append(Ownership(*row))
    return found


def _number(process_id: str, line: JournalEntry, its: Sequence[Ownership]) -> JournalEntry:
    """Return the entry with the number of its row."""
    process, number = line.origin or (process_id, line.number)
    epoch = 1
    if its:
        own = [one for one in its if one.process == process]
        if own:
            epoch = max((one.epoch for one in own if one.line <= number), default=1)
        elif type(line.event).__name__ in AFTER_THE_END:
            epoch = EPOCHS_MAX
    at = place(epoch, number)
    return line if at == line.number else line._replace(number=at)


def _is_late(line: JournalEntry, its: Sequence[Ownership]) -> bool:
    if line.origin is not None or type(line.event).__name__ in _KEPT:
        return False
    return any(line.number < place(one.epoch, 0) and line.at_ms > one.at_ms for one in its)
