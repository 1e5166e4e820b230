"""The audit log as requests are answered: kept in the database, which no answer waits for."""

import logging
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.types import Scope

from offhook.api.problems import ApiError
from offhook.api.reading import Readers
from offhook.records.database import clock_ms
from offhook.users import audit
from offhook.users.audit import AuditEntry, outcome_of

_log: Final = logging.getLogger("offhook.audit")

_ABOUT: Final = "offhook.about"
"""Key in the scope of a request: the call or user that it made or acted on."""


def acted_on(request: Request, about: str) -> None:
    """Name the call, user or agent of a request whose path does not name it."""
    request.scope[_ABOUT] = about


class AuditLog:
    """Writer of the audit log."""

    def __init__(self, engine: Engine, readers: Readers) -> None:
        self._engine = engine
        self._readers = readers

    async def note(self, scope: Scope, who: str, status: int) -> None:
        """Note a request that was answered, if its path leads to an operation.

        A database that is away costs the entry there, and neither the log's nor the answer.
        """
        operation: str | None = getattr(scope.get("route"), "operation_id", None)
        if operation is None:
            return
        named = next(iter(scope.get("path_params", {}).values()), "")
        about = str(scope.get(_ABOUT, named))

        def work() -> None:
            with self._engine.begin() as connection:
                write(connection, who, operation, about, status)

        try:
            await self._readers.run(work)
        except (ApiError, SQLAlchemyError) as error:
            _log.error(
                "E-API-26 the audit log in the database lacks an entry (%s): %s by %s, HTTP %d",
                type(error).__name__,
                operation,
                who,
                status,
            )


def write(connection: Connection, who: str, what: str, about: str, status: int) -> None:
    """Log an entry, and add it in the transaction of `connection`."""
    entry = AuditEntry(clock_ms(connection), who, what, about, status)
    audit.note(connection, entry)
    _log.info("%s by %s: %s", what, who or "nobody", outcome_of(status))
