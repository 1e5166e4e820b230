"""Erasure of calls: rows, recordings and dead letters.

The order allows another attempt after a failure: files go first, because their names are in the
rows. Words leave the journals as soon as the database has them (follower.py).
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, bindparam, delete, func, select, update

from offhook.config import Prices
from offhook.errors import UserError
from offhook.events.types import EVENT_TYPES, PRIVATE
from offhook.journal.folders import (
    DEAD_LETTERS,
    EARLIER_DEAD_LETTERS,
    is_alive,
    machine_id,
    process_folders,
)
from offhook.journal.progress import last_lines, waiting_lines
from offhook.recordings import reading
from offhook.recordings.files import LocalFiles
from offhook.records import database, tables
from offhook.records.follower import RecordFollower

WAIT_S: Final = 10.0
"""Seconds that a running server may take to write what waits in its journal."""

BATCH_CALLS: Final = 200
"""Calls in one transaction, which bounds how long others wait for its locks."""

_PUBLIC_KINDS: Final = sorted(
    name
    for name, kind in EVENT_TYPES.items()
    if PRIVATE.isdisjoint(field.name for field in dataclasses.fields(kind))
)
"""Kinds of events that hold nothing of what was said or pressed, nor a number."""

_calls: Final = tables.calls.c


class Chosen(NamedTuple):
    """CallSids that were selected. Live calls are not erased: they are still being written."""

    over: list[str]
    live: list[str]


class Erasure(NamedTuple):
    """A count of what was removed by kind: tables' names, and files.

    `stuck` are recordings that could not be deleted, by name, and why. Their calls are gone.
    """

    removed: Counter[str]
    stuck: dict[str, str]


def select_calls(
    connection: Connection,
    *,
    number: str | None = None,
    call_sids: Sequence[str] | None = None,
    before_ms: int | None = None,
) -> Chosen:
    """Return the calls that meet all that is given; at least one condition must be.

    `number` is that of the other party: who called us, or whom we called. `before_ms` is a wall
    clock's time before which a call began.
    """
    query = select(_calls.sid, _calls.duration_ms)
    if number is None and call_sids is None and before_ms is None:
        raise ValueError("this would be every call")
    if number is not None:
        inbound = (_calls.direction == "inbound") & (_calls.from_number == number)
        query = query.where(
            inbound | (_calls.direction == "outbound") & (_calls.to_number == number)
        )
    if call_sids is not None:
        query = query.where(_calls.sid.in_(call_sids))
    if before_ms is not None:
        query = query.where(_calls.started_ms < before_ms)
    chosen = Chosen([], [])
    for sid, duration_ms in connection.execute(query):
        (chosen.live if duration_ms is None else chosen.over).append(sid)
    return chosen


def erase(engine: Engine, files: LocalFiles, journal: Path, call_sids: Sequence[str]) -> Erasure:
    """Remove these calls, which are over.

    `journal` is this machine's folder. A recording that is on another machine counts as
    `recordings_elsewhere`: its server deletes it (retention.py), as it does one that is stuck.
    Raises SQLAlchemyError; what is gone by then stays gone, the rest is as it was.
    """
    removed: Counter[str] = Counter()
    stuck: dict[str, str] = {}
    for batch in _batches(call_sids):
        removed += _erase(engine, files, journal, batch, stuck)
    for name in (DEAD_LETTERS, EARLIER_DEAD_LETTERS):
        removed["dead_letters"] += _erase_dead_letters(journal / name, call_sids)
    if removed["calls"]:
        database.empty_wal(engine)
    return Erasure(+removed, stuck)


def erase_texts(connection: Connection, call_sids: Sequence[str]) -> None:
    """Remove what was said and pressed in calls: events stay, with empty private fields."""
    said = tables.utterances
    connection.execute(delete(said).where(said.c.call_sid.in_(call_sids)))
    stored = tables.events.c
    query = select(stored.call_sid, stored.line, stored.body).where(
        stored.call_sid.in_(call_sids), stored.kind.not_in(_PUBLIC_KINDS)
    )
    emptied = [
        {"of": sid, "at": line, "body": without_texts(body)}
        for sid, line, body in connection.execute(query)
    ]
    if emptied:
        same = (stored.call_sid == bindparam("of")) & (stored.line == bindparam("at"))
        connection.execute(update(tables.events).where(same), emptied)


def without_texts(body: str) -> str:
    """Return JSON of an event, of any version, with empty private fields."""
    fields: dict[str, Any] = msgspec.json.decode(body)
    return msgspec.json.encode(fields | dict.fromkeys(PRIVATE & fields.keys(), "")).decode()


def require_all_gone(erasure: Erasure) -> None:
    """Raise UserError E-ERA-03 when recordings could not be deleted."""
    if erasure.stuck:
        name, why = next(iter(erasure.stuck.items()))
        raise UserError(
            "E-ERA-03",
            f"{len(erasure.stuck)} recordings could not be deleted, such as {name}: {why}."
            " Everything else is erased.",
            "Let the user of the server delete files there: it tries again every hour.",
        )


def counts(connection: Connection, call_sids: Sequence[str]) -> Counter[str]:
    """Return how much `erase` would remove, by kind. Recordings count wherever they are."""
    found: Counter[str] = Counter()
    for batch in _batches(call_sids):
        for table, of_call in tables.of_calls():
            rows = select(func.count()).select_from(table).where(of_call.in_(batch))
            found[table.name] += connection.scalar(rows) or 0
        recorded = select(func.count(_calls.recording)).where(_calls.sid.in_(batch))
        found["recordings"] += connection.scalar(recorded) or 0
    return +found


def settle(engine: Engine, journal: Path, prices: Prices, *, after_call: bool) -> None:
    """Write the lines of this data folder's journals to the database, so that `erase` finds them.

    A running server does so itself within moments. Raises UserError E-REC-05 when the database
    cannot be used, and E-ERA-01 when the server that runs does not get its lines into it.
    """
    database.upgrade(engine)
    if not machine_id(journal):
        return
    try:
        follower = RecordFollower(engine, journal, prices, after_call=after_call)
    except UserError as problem:
        if problem.code != "E-REC-02":
            raise
        _await_lines(journal)
    else:
        with follower:
            _await_lines(journal)


def _await_lines(journal: Path) -> None:
    """Wait until the database has every line that is in the journals now, and they are wiped.

    The folder of a dead process goes when its calls have their end.
    """
    give_up = time.monotonic() + WAIT_S
    last = last_lines(journal)
    dead = [folder for folder in process_folders(journal) if not is_alive(folder)]
    while (waiting := waiting_lines(journal, last)) or any(folder.exists() for folder in dead):
        if time.monotonic() > give_up:
            raise _still_waiting(waiting)
        time.sleep(0.05)


def _still_waiting(lines: int) -> UserError:
    return UserError(
        "E-ERA-01",
        f"Nothing was erased: {lines} lines of calls wait in the journal for the database.",
        "See in the server's log why the database does not take them, and then erase again.",
    )


def _erase(
    engine: Engine, files: LocalFiles, journal: Path, batch: Sequence[str], stuck: dict[str, str]
) -> Counter[str]:
    removed: Counter[str] = Counter()
    with engine.begin() as connection:
        unwanted = []
        recorded = select(_calls.recording, _calls.journal).where(
            _calls.sid.in_(batch), _calls.recording.is_not(None)
        )
        for name, owner in connection.execute(recorded).all():
            try:
                if reading.delete(files, name):
                    removed["recordings"] += 1
                    continue
            except OSError as error:
                stuck[name] = error.strerror or type(error).__name__
            except UserError as problem:  # not a valid name: no file of ours
                stuck[name] = problem.what.rstrip(".")
                continue
            else:
                if owner == machine_id(journal):
                    continue
                removed["recordings_elsewhere"] += 1
            unwanted.append({"name": name})
        moved = select(tables.ownerships.c.call_sid).distinct()
        moved = moved.where(tables.ownerships.c.call_sid.in_(batch))
        gone_for_good = database.insert(connection, tables.erased_calls).from_select(["sid"], moved)
        connection.execute(gone_for_good.on_conflict_do_nothing())
        if unwanted:
            later = database.insert(connection, tables.unwanted_files).on_conflict_do_nothing()
            connection.execute(later, unwanted)
        for table, of_call in tables.of_calls():
            gone = connection.execute(delete(table).where(of_call.in_(batch)))
            removed[table.name] += gone.rowcount
    return removed


def _erase_dead_letters(path: Path, call_sids: Sequence[str]) -> int:
    """Remove the dead letters of these calls. Return how many there were."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    sids = [sid.encode() for sid in call_sids]
    kept = [line for line in lines if not any(sid in line for sid in sids)]
    if len(kept) < len(lines):
        # In place: the server may be about to append to this very file.
        with path.open("r+b") as file:
            file.write(b"".join(kept))
            file.truncate()
    return len(lines) - len(kept)


def _batches(call_sids: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(call_sids), BATCH_CALLS):
        yield call_sids[at : at + BATCH_CALLS]
