"""The ledger of requested calls, as rows: outbound/ledger.py says what each method is for.

A key is forgotten when it is old by two measures: by the wall clock, and by the number of days on
which calls were requested since. A clock that jumps ahead and back makes one more such day, not
ninety; so it makes no key old, and no call that was requested before is placed again.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, select, update

from offhook.outbound.ledger import Placement
from offhook.records import tables
from offhook.records.database import insert

DAY_MS: Final = 24 * 3600 * 1000

KEPT_DAYS: Final = 90
"""Days for which a key is known, by either measure: a run over a list takes days."""

_placements: Final = tables.placements.c


def claim(connection: Connection, placement: Placement) -> Placement | None:
    """Take a key. Return None if it is ours now, else the placement that has it."""
    day = _day(connection, placement.made_ms)
    old = (_placements.made_ms < placement.made_ms - KEPT_DAYS * DAY_MS) & (
        _placements.day <= day - KEPT_DAYS
    )
    connection.execute(delete(tables.placements).where(old))
    row = insert(connection, tables.placements).values(
        key=placement.key,
        id=placement.id,
        fingerprint=placement.fingerprint,
        made_ms=placement.made_ms,
        day=day,
    )
    if connection.scalar(row.on_conflict_do_nothing().returning(_placements.key)) is not None:
        return None
    there = select(tables.placements).where(_placements.key == placement.key)
    found = connection.execute(there).one()
    return Placement(found.key, found.id, found.fingerprint, found.made_ms, found.sid)


def _day(connection: Connection, made_ms: int) -> int:
    """Return the number of a time's day: the last day's number, or the next if the date differs."""
    latest = select(_placements.day, _placements.made_ms).order_by(_placements.day.desc()).limit(1)
    found = connection.execute(latest).one_or_none()
    if found is None:
        return 1
    day: int = found.day
    return day if found.made_ms // DAY_MS == made_ms // DAY_MS else day + 1


def retake(connection: Connection, old: Placement, new: Placement) -> bool:
    """Replace a placement by a new attempt. Return False if it has changed or has a CallSid."""
    same = (_placements.id == old.id) & _placements.sid.is_(None)
    day = _day(connection, new.made_ms)
    values = {"id": new.id, "made_ms": new.made_ms, "day": day}
    changed = update(tables.placements).where(same).values(**values)
    return connection.execute(changed).rowcount == 1


def name(connection: Connection, placement_id: str, sid: str) -> None:
    """Keep the CallSid that Twilio gave to a placement."""
    unnamed = (_placements.id == placement_id) & _placements.sid.is_(None)
    connection.execute(update(tables.placements).where(unnamed).values(sid=sid))


def release(connection: Connection, placement: Placement) -> None:
    """Free the key of an attempt that became no call."""
    unnamed = (_placements.id == placement.id) & _placements.sid.is_(None)
    connection.execute(delete(tables.placements).where(unnamed))


def named(connection: Connection, sids: Sequence[str]) -> frozenset[str]:
    """Return which of these calls belong to a placement."""
    return frozenset(
        sid
        for sid in connection.scalars(select(_placements.sid).where(_placements.sid.in_(sids)))
        if sid is not None
    )
