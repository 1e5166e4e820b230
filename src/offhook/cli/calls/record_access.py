"""Access to the record of calls, for commands that read or change it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from offhook import config as configuration
from offhook.config import RecordsSettings
from offhook.errors import UserError
from offhook.outbound import ledger_file
from offhook.outbound.ledger_file import LedgerFile
from offhook.recordings.files import LocalFiles
from offhook.records import database, queries
from offhook.records.filters import CallFilter
from offhook.records.models import CallSummary
from offhook.records.pages import PAGE_MAX


def records_of(config: Path | None) -> RecordsSettings:
    """Return the settings of the record: database, folders and prices."""
    return configuration.load_app(config, os.environ).records


@contextmanager
def engine_of(records: RecordsSettings) -> Iterator[Engine]:
    """Open the database and close it afterwards.

    Raises UserError E-REC-05 when it cannot be used.
    """
    engine = database.open_engine(database.url_of(records.database))
    try:
        yield engine
    except SQLAlchemyError as error:
        raise database.unreachable(engine, error) from None
    finally:
        engine.dispose()


@contextmanager
def opened(records: RecordsSettings) -> Iterator[Connection]:
    """Open a connection for queries, each a transaction of its own, and close it afterwards.

    Raises UserError E-ASK-06 when there is no record yet, E-ASK-07 and E-REC-04 when its schema
    belongs to another version, and E-REC-05 when the database cannot be used.
    """
    url = database.url_of(records.database)
    path = url.database
    if url.get_backend_name() == "sqlite" and not (path and Path(path).is_file()):
        raise UserError(
            "E-ASK-06",
            f"There is no record of calls yet: {path} is not there.",
            "Take a call with offhook serve, or name its offhook.yaml with --config.",
        )
    with engine_of(records) as engine:
        # PostgreSQL ends a transaction that stands still, such as for the reader of an export.
        single = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with single as connection:
            database.require_head(connection)
            yield connection


@contextmanager
def upgraded(config: Path | None) -> Iterator[Connection]:
    """Bring the database to this version's schema, and open a transaction for a change."""
    from offhook.cli.progress import waiting  # slow to import, and few commands upgrade

    with engine_of(records_of(config)) as engine:
        with waiting("upgrading the database") as tell:
            database.upgrade(engine, tell)
        with engine.begin() as connection:
            yield connection


@contextmanager
def ledger_of(records: RecordsSettings) -> Iterator[LedgerFile]:
    """Open the ledger of the data folder, which a running server uses, too."""
    ledger = LedgerFile(records.folder / ledger_file.FILE)
    try:
        yield ledger
    finally:
        ledger.close()


def every(connection: Connection, asked: CallFilter) -> Iterator[CallSummary]:
    """Yield all matching calls, page by page."""
    cursor = None
    while True:
        page = queries.find(connection, asked, PAGE_MAX, cursor)
        yield from page.calls
        cursor = page.next_cursor
        if cursor is None:
            return


def recording(records: RecordsSettings, name: str) -> BinaryIO | None:
    """Open the file of a recording. Return None when there is no such plain file.

    Raises UserError E-AUD-03 for a name that could lead out of the folder of recordings.
    """
    try:
        return LocalFiles(records.recordings).open(name)
    except OSError:
        return None
