"""Erasing calls: rows, recordings, and what waits elsewhere. The journal is `journal.py`'s.

It is done in an order that lets it be done again: files first, since without the row nobody would
know their names.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection, Engine, delete, select, text
from sqlalchemy.dialects import postgresql, sqlite

from offhook.errors import Problem
from offhook.records import tables
from offhook.records.journal import SPOILT

BATCH_CALLS: Final = 200
"""Calls in one transaction, so that nobody waits long for its locks."""

PEAKS: Final = ".peaks"
"""What the name of a recording's peaks ends in (recordings/reading.py)."""

_NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")
_AGE: Final = re.compile(r"(\d{1,5})([hdw])")
_UNIT_MS: Final = {"h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}

_calls: Final = tables.calls.c


class Files(Protocol):
    """What is needed of the store of recordings."""

    def names(self) -> list[str]:
        """Every file there is."""

    def delete(self, name: str) -> None:
        """Remove one. Raises FileNotFoundError when it is not there."""


def number_of(words: str) -> str:
    """A number as calls have it. Raises Problem E-ERA-01: it cannot be one.

    A SIP address or the like, which has a colon, is taken as it is.
    """
    if ":" in words:
        return words.strip()
    number = re.sub(r"[\s().-]", "", words)
    if not _NUMBER.fullmatch(number):
        raise Problem(
            "E-ERA-01",
            "What was given is not a phone number in international form.",
            'Write + and the country first: --number "+1 202 555 0142".',
        )
    return number


def age_ms(words: str) -> int:
    """An age such as 90d in ms. Raises Problem E-ERA-02: it is none."""
    found = _AGE.fullmatch(words.strip().lower())
    if found is None:
        raise Problem(
            "E-ERA-02",
            "What was given is not an age.",
            "Write a number of hours, days or weeks: --older-than 90d.",
        )
    return int(found[1]) * _UNIT_MS[found[2]]


def select_calls(
    connection: Connection,
    *,
    number: str | None = None,
    call_sids: Sequence[str] | None = None,
    before_ms: int | None = None,
) -> list[str]:
    """CallSids of the calls that meet all that is given; at least one condition must be.

    `number` is that of the other party: who called us, or whom we called. `before_ms` is a wall
    clock's time before which a call began.
    """
    query = select(_calls.sid)
    if number is None and call_sids is None and before_ms is None:
        raise ValueError("this would be every call")
    if number is not None:
        inbound = (_calls.direction == "inbound") & (_calls.from_number == number)
        query = query.where(inbound | (_calls.direction == "outbound") & (_calls.to_number == number))
    if call_sids is not None:
        query = query.where(_calls.sid.in_(call_sids))
    if before_ms is not None:
        query = query.where(_calls.started_ms < before_ms)
    return list(connection.scalars(query))


def erase(engine: Engine, files: Files, journal: Path, call_sids: Sequence[str]) -> Counter[str]:
    """Remove these calls, and count what is removed by kind: tables' names, and files.

    `journal` is this machine's folder. A recording that is on another machine counts as
    `recordings_elsewhere`: its server deletes it (retention.py). Raises OSError for a file that
    cannot be deleted, and SQLAlchemyError; what is gone by then stays gone, the rest is as it was.
    """
    removed: Counter[str] = Counter()
    for batch in _batches(call_sids):
        removed += _erase(engine, files, journal, batch)
    removed["spoilt_lines"] += _erase_spoilt(journal / SPOILT, call_sids)
    if removed["calls"]:
        leave_nothing(engine)
    return +removed


def counts(connection: Connection, call_sids: Sequence[str]) -> Counter[str]:
    """What `erase` would remove, by kind. Recordings count wherever they are."""
    found: Counter[str] = Counter()
    for batch in _batches(call_sids):
        for table in tables.of_calls():
            of_call = table.c.get("call_sid", table.c.get("sid"))
            found[table.name] += len(connection.execute(select(of_call).where(of_call.in_(batch))).all())
        recorded = select(_calls.sid).where(_calls.sid.in_(batch), _calls.recording.is_not(None))
        found["recordings"] += len(connection.scalars(recorded).all())
    return +found


def delete_recording(files: Files, name: str) -> bool:
    """Remove a recording and its peaks; returns whether it was here."""
    with contextlib.suppress(FileNotFoundError):
        files.delete(name + PEAKS)
    try:
        files.delete(name)
    except FileNotFoundError:
        return False
    return True


def leave_nothing(engine: Engine) -> None:
    """Have SQLite's write-ahead log forget what was erased, as far as nobody is reading in it.

    The file itself holds zeros by then (secure_delete). PostgreSQL's VACUUM does the like.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))


def _erase(engine: Engine, files: Files, journal: Path, batch: Sequence[str]) -> Counter[str]:
    removed: Counter[str] = Counter()
    with engine.begin() as connection:
        elsewhere = []
        recorded = select(_calls.recording, _calls.journal).where(
            _calls.sid.in_(batch), _calls.recording.is_not(None)
        )
        for name, owner in connection.execute(recorded).all():
            if delete_recording(files, name):
                removed["recordings"] += 1
            elif owner != _identity(journal):
                elsewhere.append({"name": name})
        if elsewhere:
            dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
            unwanted = dialect.insert(tables.unwanted_files).on_conflict_do_nothing()
            connection.execute(unwanted, elsewhere)
            removed["recordings_elsewhere"] += len(elsewhere)
        for table in tables.of_calls():
            of_call = table.c.get("call_sid", table.c.get("sid"))
            gone = connection.execute(delete(table).where(of_call.in_(batch)))
            removed[table.name] += gone.rowcount
    return removed


def _erase_spoilt(path: Path, call_sids: Sequence[str]) -> int:
    """Lines of these calls that no database took."""
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


def _identity(journal: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return (journal / "id").read_text(encoding="ascii", errors="replace").strip()
    return ""


def _batches(call_sids: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(call_sids), BATCH_CALLS):
        yield call_sids[at : at + BATCH_CALLS]
