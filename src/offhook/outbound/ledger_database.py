"""The SQLite file of the ledger: shared by processes, and replaced when it is corrupt.

Every transaction holds a shared lock of the file `ledger.db.lock`; a corrupt file is moved aside
under the exclusive lock. So no process claims a key in the old file while another has the new one.
"""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

from offhook.outbound.errors import TryLaterError

_log: Final = logging.getLogger("offhook.ledger")

BUSY_S: Final = 3.0
"""Seconds that a transaction waits for that of another process."""

AGAIN_S: Final = 5.0
"""Seconds after which a request that the ledger could not serve may be repeated."""

_VERSION: Final = 1
"""Version of the schema, in SQLite's user_version."""

_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE placements (
    key TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL,
    made_ms INTEGER NOT NULL, sid TEXT, day INTEGER NOT NULL, change INTEGER NOT NULL
);
CREATE INDEX placements_by_day ON placements (day);
CREATE INDEX placements_by_sid ON placements (sid);
CREATE INDEX placements_by_change ON placements (change);
CREATE TABLE barred (
    number TEXT PRIMARY KEY, change INTEGER NOT NULL, is_confirmed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE seen (mark INTEGER NOT NULL);
INSERT INTO meta VALUES ('change', 0), ('filled', 0), ('copied', 0);
PRAGMA user_version = 1;
COMMIT;
"""
"""`change` numbers the changes of a ledger. `is_confirmed`: the database has the number, too."""

_USED: Final = """
CREATE TABLE IF NOT EXISTS used (
    call TEXT PRIMARY KEY, caller TEXT NOT NULL, tier TEXT NOT NULL, ms INTEGER NOT NULL,
    boot TEXT NOT NULL, monotonic_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL
) WITHOUT ROWID
"""
"""Table of use by day and rate (`tier`). Beside the schema's version: an older
Offhook, which may go on beside this one, leaves the table alone."""

Row: TypeAlias = tuple[object, ...]


class _Saved(NamedTuple):
    """Statements that save a table from a corrupt file: it is read from either end."""

    types: tuple[type | tuple[type, ...], ...]
    forwards: str
    backwards: str
    insert: str


_SAVED: Final = {
    "placements": _Saved(
        (str, str, str, int, (str, type(None)), int, int),
        "SELECT * FROM placements ORDER BY rowid",
        "SELECT * FROM placements ORDER BY rowid DESC",
        "INSERT OR IGNORE INTO placements VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    "barred": _Saved(
        (str, int, int),
        "SELECT * FROM barred ORDER BY number",
        "SELECT * FROM barred ORDER BY number DESC",
        "INSERT OR IGNORE INTO barred VALUES (?, ?, ?)",
    ),
    "used": _Saved(
        (str, str, str, int, str, int, int),
        "SELECT * FROM used ORDER BY call",
        "SELECT * FROM used ORDER BY call DESC",
        "INSERT OR IGNORE INTO used VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    "seen": _Saved(
        (int,),
        "SELECT * FROM seen ORDER BY rowid",
        "SELECT * FROM seen ORDER BY rowid DESC",
        "INSERT INTO seen VALUES (?)",
    ),
}

_PARTS: Final = ("-wal", "-shm")
"""Suffixes of the files that SQLite keeps beside its own."""

Durability: TypeAlias = Literal["FULL", "NORMAL"]
"""FULL: a commit survives the end of the machine. NORMAL: it survives the end of the process."""

_T = TypeVar("_T")


class LedgerDatabase:
    """The file at `path`. Opened at the first use, and anew after a failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._durability: Durability | None = None

    def close(self) -> None:
        """Close the file; the next use opens it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do work that only reads. Raises TryLaterError E-OUT-23 when the file cannot be used."""
        return self._do(work, None)

    def change(
        self, work: Callable[[sqlite3.Connection], _T], durability: Durability = "NORMAL"
    ) -> _T:
        """Do work in a transaction. Raises TryLaterError E-OUT-23 when it is not on disk."""
        return self._do(work, durability)

    # --- inside --------------------------------------------------------------------------------

    def _do(self, work: Callable[[sqlite3.Connection], _T], durability: Durability | None) -> _T:
        """Do work, in a transaction if it changes the file; anew if the file was corrupt."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                return self._try(work, durability)
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
                self._replace(error)
            return self._try(work, durability)
        except (sqlite3.Error, OSError) as error:
            if durability is None or not _is_of_the_disk(error):
                self.close()  # the next use opens it: what is open cannot be read, or is not it
            raise _unusable(self._path, _words(error)) from None

    def _try(self, work: Callable[[sqlite3.Connection], _T], durability: Durability | None) -> _T:
        while True:
            if not self._is_there():
                with _locked(self._path, exclusive=True):
                    self._open()
            with _locked(self._path, exclusive=False):
                if self._is_there():  # else another process has just replaced it
                    return self._transact(work, durability)

    def _transact(
        self, work: Callable[[sqlite3.Connection], _T], durability: Durability | None
    ) -> _T:
        connection = self._connection
        assert connection is not None, "it was opened"
        if durability is None:
            return work(connection)
        if durability != self._durability:
            connection.execute(f"PRAGMA synchronous = {durability}")
            self._durability = durability
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _is_there(self) -> bool:
        """Return whether the file is open, and the one that has the name."""
        try:
            return self._connection is not None and self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        """Open the file, and make it if it is missing. The caller holds the exclusive lock."""
        self.close()
        if not self._path.exists():
            for suffix in _PARTS:  # SQLite would take them for parts of the new file
                _beside(self._path, suffix).unlink(missing_ok=True)
            # Never open a file that SQLite has open: closing it would drop SQLite's locks.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._inode = self._path.stat().st_ino
        connection = sqlite3.connect(
            self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._durability = connection, None

    def _replace(self, why: sqlite3.DatabaseError) -> None:
        """Move a corrupt file aside, make a new one, and save the rows that can be read."""
        self.close()
        with _locked(self._path, exclusive=True):
            if self._path.stat().st_ino != self._inode:
                return  # another process has done it
            number = 1
            while (aside := _beside(self._path, f".corrupt-{number}")).exists():
                number += 1
            self._path.rename(aside)
            for suffix in _PARTS:
                with contextlib.suppress(FileNotFoundError):
                    _beside(self._path, suffix).rename(_beside(aside, suffix))
            _log.error(
                "E-OUT-26 the ledger of calls, %s, is corrupt (%s): it is kept as %s, and a new"
                " one is filled from it and from the database",
                self._path,
                why,
                aside.name,
            )
            saved = {table: _rows_of(aside, table) for table in _SAVED}
            self._open()
            self._transact(lambda connection: _save(connection, saved), "FULL")


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the schema, if it is missing. Raises OSError for one of a newer Offhook."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise OSError(0, f"its schema, {version}, is newer than this Offhook")
    if version == 0:
        connection.executescript(_SCHEMA)
    connection.execute(_USED)


def _rows_of(path: Path, table: str) -> list[Row]:
    """Return the rows of a table of a corrupt file that can be read."""
    saved = _SAVED[table]
    found: dict[Row, None] = {}
    for query in (saved.forwards, saved.backwards):
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
        ):
            for row in connection.execute(query):
                found[row] = None
    types = saved.types
    return [row for row in found if len(row) == len(types) and all(map(isinstance, row, types))]


def _save(connection: sqlite3.Connection, found: dict[str, list[Row]]) -> None:
    """Add the rows of a corrupt file to a new one."""
    for table, rows in found.items():
        for row in rows:
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(_SAVED[table].insert, row)
    changes = [row[-1] for row in found["placements"]] + [row[1] for row in found["barred"]]
    last = max((change for change in changes if isinstance(change, int)), default=0)
    connection.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'change'", (last,))


@contextlib.contextmanager
def _locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock of a ledger, which orders its transactions and its replacement."""
    if os.name != "posix":
        yield  # a file that is open cannot be renamed there
        return
    import fcntl

    fd = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    # A schema whose pages were lost, or that is not ours.
    return code == sqlite3.SQLITE_ERROR and "no such" in str(error)


def _is_of_the_disk(error: sqlite3.Error | OSError) -> bool:
    """Return whether a change found no room or no lock, while what is open can still be read."""
    passing = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in passing


def _words(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__


def _unusable(path: Path, why: str) -> TryLaterError:
    """Return the error for a ledger that cannot be used: nobody is called without it."""
    return TryLaterError(
        "E-OUT-23",
        f"The ledger of calls, {path}, cannot be used: {why}. Nobody is called without it.",
        "Make room on its disk, and let this user write there. Calls that come in go on.",
        AGAIN_S,
    )
