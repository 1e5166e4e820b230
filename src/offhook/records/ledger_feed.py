"""The thread that keeps the ledger of a data folder in step with the database.

The ledger (outbound/ledger.py) decides about dials; the database shares the do-not-call list with
other machines, and has a copy of the keys of placed calls, from which a lost ledger is filled.
"""

import logging
import threading
from pathlib import Path
from typing import Final, Self

from sqlalchemy import Connection, Engine, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.errors import UserError
from offhook.outbound.ledger_file import DAY_MS, KEPT_DAYS, LedgerFile, Placement
from offhook.records import database, tables

_log: Final = logging.getLogger("offhook.records")

EVERY_S: Final = 4.0
"""Seconds between two looks at the database's list."""

WHOLE_EVERY: Final = 15
"""Looks after which the list is compared even if it seems to be the same."""

RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, EVERY_S)
"""Seconds to wait after a failure, and after each further one."""

START_S: Final = 5.0
"""Seconds that a starting process waits until the ledger is filled."""

BATCH: Final = 1000
"""Rows in one transaction: a dial waits for no more."""

_MODULUS: Final = 1_000_003

_numbers: Final = tables.do_not_call.c
_placements: Final = tables.placements.c


class LedgerFeed(ThreadOwner):
    """Fills the ledger at `path` once, and brings it every change of the database's list.

    A context manager. The ledger's numbers stay barred while the database cannot be reached.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._file = LedgerFile(path)
        self._seemed: tuple[object, ...] | None = None
        """Fingerprint of the list when it was compared last."""
        self._looks = 0
        self._failures = 0
        self._has_tried = threading.Event()
        self.thread = BackgroundThread("ledger feed", self._work)

    def __enter__(self) -> Self:
        super().__enter__()
        self._has_tried.wait(START_S)
        return self

    def _after_stop(self, *, in_time: bool) -> None:
        if in_time:
            self._file.close()

    def _work(self) -> float:
        try:
            if not self.thread.stopping:
                self._look()
        except (SQLAlchemyError, UserError) as error:
            return self._on_failure(error)
        if self._failures >= len(RETRY_S):
            _log.warning("the ledger has the database's do-not-call list again")
        self._failures = 0
        self._has_tried.set()
        return EVERY_S

    def _on_failure(self, error: SQLAlchemyError | UserError) -> float:
        self._failures += 1
        if self._failures == len(RETRY_S):  # a schema that is being made takes a moment
            if not isinstance(error, UserError):
                error = database.unreachable(self._engine, error)
            _log.error(
                "%s %s The ledger keeps the do-not-call list that it has. %s",
                error.code,
                error.what,
                error.fix,
            )
        return RETRY_S[min(self._failures, len(RETRY_S)) - 1]

    def _look(self) -> None:
        with self._engine.connect() as connection:
            if not self._file.is_filled:
                import_from(connection, self._file)
            seems = _seeming(connection)
            self._looks += 1
            if seems != self._seemed or self._looks % WHOLE_EVERY == 0:
                follow_list(connection, self._file)
                self._seemed = seems
        while self._file.uncopied(1):
            with self._engine.begin() as connection:
                until = copy_placements(connection, self._file)
            self._file.copied(until)


def import_from(connection: Connection, ledger: LedgerFile) -> None:
    """Fill a new ledger with the placements and the barred numbers of the database.

    Raises UserError E-ASK-07 as long as the database does not have the present schema.
    """
    database.require_head(connection)
    rows = connection.execute(select(tables.placements))
    placements = [
        (Placement(row.key, row.id, row.fingerprint, row.made_ms, row.sid), row.day) for row in rows
    ]
    ledger.fill(placements, connection.scalars(select(_numbers.number)))


def copy_placements(connection: Connection, ledger: LedgerFile) -> int:
    """Copy placements that have changed into the database. Return the number of the last change.

    Keys that the ledger has forgotten by their age are forgotten here, too.
    """
    changed = ledger.uncopied(BATCH)
    adding = database.insert(connection, tables.placements)
    given = {name: adding.excluded[name] for name in ("id", "fingerprint", "made_ms", "sid", "day")}
    upsert = adding.on_conflict_do_update(index_elements=["key"], set_=given)
    rows = [
        {
            "key": made.key,
            "id": made.id,
            "fingerprint": made.fingerprint,
            "made_ms": made.made_ms,
            "sid": made.sid,
            "day": day,
        }
        for made, day, _ in changed
    ]
    connection.execute(upsert, rows)
    made, day, until = changed[-1]
    is_old = _placements.made_ms < made.made_ms - KEPT_DAYS * DAY_MS
    connection.execute(delete(tables.placements).where(is_old, _placements.day <= day - KEPT_DAYS))
    return until


def follow_list(connection: Connection, ledger: LedgerFile) -> None:
    """Bring the changes of the database's do-not-call list into the ledger.

    A number that was barred in a call a moment ago is not in the database yet, and stays barred.
    """
    until = ledger.last_change()  # read before the list: what is barred later is not in it
    listed = frozenset(connection.scalars(select(_numbers.number)))
    barred = ledger.barred()
    added = [number for number in listed if not barred.get(number)]
    gone = [number for number, is_confirmed in barred.items() if is_confirmed]
    gone = [number for number in gone if number not in listed]
    for first in range(0, max(len(added), len(gone)), BATCH):
        last = first + BATCH
        ledger.follow(added[first:last], gone[first:last], until)


def _seeming(connection: Connection) -> tuple[object, ...]:
    """Return what differs as soon as a number is added or removed, but for a rare coincidence."""
    times = _numbers.since_ms
    about = select(func.count(), func.max(times), func.sum(times % _MODULUS))
    return tuple(connection.execute(about).one())
