"""The audit log: who did what, to which call or user, and with which outcome. No texts.

Plain functions on a connection.
"""

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from offhook.records import tables

KEPT_MS: Final = 400 * 24 * 3_600_000
"""Milliseconds for which an entry is kept."""

_entries: Final = tables.audit.c

_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry.

    Attributes:
        at_ms: Time in ms since 1970.
        who: Name of the principal; empty when nobody was signed in.
        what: Id of the operation in the API's document, such as hangUpCall.
        about: CallSid, or name of the user or agent; empty when it was about neither.
        status: HTTP status of the answer; 200 for a command that did it.
    """

    at_ms: int
    who: str
    what: str
    about: str
    status: int

    @property
    def outcome(self) -> str:
        """What became of it: done, refused or failed."""
        if self.status < 400:
            return "done"
        return "failed" if self.status >= 500 else "refused"


def note(connection: Connection, entry: AuditEntry) -> None:
    """Write an entry. What is about nothing that has a name is not repeated."""
    about = entry.about if _NAME.fullmatch(entry.about) else ""
    connection.execute(
        insert(tables.audit).values(
            at_ms=entry.at_ms,
            who=entry.who,
            what=entry.what[:64],
            about=about,
            status=entry.status,
        )
    )


def prune(connection: Connection, now_ms: int) -> None:
    """Remove the entries that are older than KEPT_MS."""
    connection.execute(delete(tables.audit).where(_entries.at_ms < now_ms - KEPT_MS))


def entries(
    connection: Connection, limit: int, before: int | None = None
) -> list[tuple[int, AuditEntry]]:
    """Return entries with their numbers, newest first, of those before a number."""
    asked = select(tables.audit).order_by(_entries.id.desc()).limit(limit)
    if before is not None:
        asked = asked.where(_entries.id < before)
    return [
        (row.id, AuditEntry(row.at_ms, row.who, row.what, row.about, row.status))
        for row in connection.execute(asked)
    ]
