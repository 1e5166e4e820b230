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
    """An entry of the audit log, as it is written.

    `at_ms` is in ms since 1970. `who` is empty when nobody was signed in. `what` is the operation,
    by its `operationId` in the API's document, or the command. `about` is a CallSid, or the name
    of a user or agent; empty when it was about neither. `status` is the HTTP status of the answer;
    200 for a command that did it.
    """

    at_ms: int
    who: str
    what: str
    about: str
    status: int


@dataclass(frozen=True, slots=True)
class ListedAuditEntry(AuditEntry):
    """An entry of the audit log.

    `at_ms` is in ms since 1970. `who` is empty when nobody was signed in. `what` is the operation,
    by its `operationId` in this document, or the command. `about` is a CallSid, or the name of a
    user or agent; empty when it was about neither. `status` is the HTTP status of the answer; 200
    for a command that did it. `outcome` is done, refused or failed.
    """

    id: int
    outcome: str


def outcome_of(status: int) -> str:
    """Return what became of a request with that HTTP status: done, refused or failed."""
    if status < 400:
        return "done"
    return "failed" if status >= 500 else "refused"


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
) -> list[ListedAuditEntry]:
    """Return entries, newest first, of those before a number."""
    asked = select(tables.audit).order_by(_entries.id.desc()).limit(limit)
    if before is not None:
        asked = asked.where(_entries.id < before)
    return [
        ListedAuditEntry(**row._mapping, outcome=outcome_of(row.status))
        for row in connection.execute(asked)
    ]
