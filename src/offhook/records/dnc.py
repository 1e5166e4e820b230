"""The do-not-call list: numbers that must never be rung.

The owner of a number asks for it in a call, or the operator adds it. Plain functions on a
connection. Numbers are E.164. Erasing a call, and retention, leave the list as it is: a person who
does not want to be called must not be called after an erasure.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, select

from offhook.records import database, tables

_numbers = tables.do_not_call.c

ASKED: Final = "asked in a call"
"""The reason when the other party of a call said so."""


@dataclass(frozen=True, slots=True)
class DoNotCallEntry:
    """A barred number, since when (ms since 1970), and why. `in_call` is a CallSid, or None."""

    number: str
    since_ms: int
    why: str
    in_call: str | None


def is_barred(connection: Connection, number: str) -> bool:
    """Return whether a number is never to be called."""
    found = select(_numbers.number).where(_numbers.number == number)
    return connection.scalar(found) is not None


def barred(connection: Connection) -> list[DoNotCallEntry]:
    """Return every barred number, the latest first."""
    order = (_numbers.since_ms.desc(), _numbers.number)
    rows = connection.execute(select(tables.do_not_call).order_by(*order))
    return [DoNotCallEntry(**row._mapping) for row in rows]


def bar(connection: Connection, one: DoNotCallEntry) -> bool:
    """Add a number. Return False when it is there already, and leave it as it is."""
    adding = database.insert(connection, tables.do_not_call).values(
        number=one.number, since_ms=one.since_ms, why=one.why, in_call=one.in_call
    )
    added = adding.on_conflict_do_nothing().returning(_numbers.number)
    return connection.scalar(added) is not None


def unbar(connection: Connection, number: str) -> bool:
    """Take a number off the list. Return False when it was not on it."""
    gone = connection.execute(delete(tables.do_not_call).where(_numbers.number == number))
    return gone.rowcount > 0
