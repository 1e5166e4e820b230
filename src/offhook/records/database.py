"""The database: SQLite by default, PostgreSQL by its URL; and its schema's version."""

import sqlite3
import threading
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy import column as column_of
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)

from offhook.errors import UserError
from offhook.net.lost_ends import NODE_NOTICES, POSTGRES_NOTICES
from offhook.records.upgrade_progress import OnStep, UpgradeStep, unobserved
from offhook.text.extras import install_command

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

HEAD: Final = "0013"
"""The schema that this version of Offhook works with: the last of migrations/versions."""

_VERSIONS: Final = table("alembic_version", column_of("version_num"))

_MIGRATING: Final = threading.Lock()
"""Alembic keeps the migration that runs, and its connection, in globals of `alembic.context`. Two
threads that migrate at the same time each write on the other's connection, which ends the process.
"""

CONNECT_S: Final = 5
STATEMENT_S: Final = 15

STANDS_STILL_S: Final = 60.0
"""Seconds for which a transaction may stand still with its process. Then PostgreSQL ends it, as the
other nodes wait for its locks."""

_REFUSING: Final = frozenset({"08", "25", "28", "3D", "53", "55", "57", "58", "F0", "XX"})
"""Classes of SQLSTATE about the server: its connections, its room, its being read-only after
a fail-over, its faults. PostgreSQL's manual, Appendix A."""

_REFUSALS: Final = frozenset({"42501", "42P01", "42703", "3F000"})
"""SQLSTATEs for a missing privilege, table, column or schema: an administrator is at work."""


def url_of(text: str) -> URL:
    """Return a database's URL for SQLAlchemy. Raises UserError E-REC-03 for an unknown kind."""
    try:
        url = make_url(text)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UserError(
            "E-REC-03",
            "records.database is no URL of a database that Offhook knows.",
            "Write postgresql://user@host/name, or leave it out: SQLite needs nothing.",
        )
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    return url


LOOKUPS: Final = 2
"""Connections for look-ups, at most."""


def open_engine(url: URL) -> Engine:
    """Return an engine whose connections any thread may use. Nothing is connected yet.

    Raises UserError E-REC-01 when the file cannot be made, E-REC-08 without PostgreSQL's driver.
    """
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            _make_private(Path(url.database))
        engine = create_engine(url, connect_args={"timeout": 5.0}, hide_parameters=True)
        event.listen(engine, "connect", _set_pragmas)
        return engine
    return _postgres(url, pool_size=5, pool_pre_ping=True)


def _postgres(url: URL, **given: Any) -> Engine:
    options = (
        f"-c statement_timeout={STATEMENT_S * 1000} -c application_name=offhook"
        f" -c idle_in_transaction_session_timeout={round(STANDS_STILL_S * 1000)} {POSTGRES_NOTICES}"
    )
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_S, "options": options, **NODE_NOTICES}
    try:
        return create_engine(url, connect_args=arguments, hide_parameters=True, **given)
    except ImportError as error:  # also of a psycopg that finds no libpq
        raise UserError(
            "E-REC-08",
            f"The database is a PostgreSQL, and its driver cannot be loaded: {error}.",
            f"Install it: {install_command('postgres')}",
        ) from None


def open_lookup_engine(url: URL) -> Engine:
    """Return an engine for look-ups of one statement each, by which a person's command waits.

    Each is a message of its own: no transaction, and no question before it if the connection is
    there still. Whoever finds that it is not asks again. Raises UserError E-REC-08 as open_engine.
    """
    return _postgres(url, pool_size=LOOKUPS, max_overflow=0, isolation_level="AUTOCOMMIT")


def _make_private(path: Path) -> None:
    """Let only the owner read the file, which holds what was said. Raises UserError E-REC-01."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as error:
        raise UserError(
            "E-REC-01",
            f"The database {path} cannot be made: {error.strerror}.",
            "Let this user write there, or set records.folder in offhook.yaml.",
        ) from None


def _set_pragmas(connection: sqlite3.Connection, _: object) -> None:
    cursor = connection.cursor()
    # FULL: what is committed survives the end of the machine, as on PostgreSQL.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def insert(connection: Connection, into: Table) -> "sqlite.Insert | postgresql.Insert":
    """Return an INSERT with ON CONFLICT, which both databases have alike."""
    # Each is slow to import, and a process uses one of them.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(into)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(into)


def version(connection: Connection) -> str | None:
    """Return the version of the schema; None: no schema yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(select(_VERSIONS.c.version_num))


def clock_ms(connection: Connection) -> int:
    """Return the wall clock in ms since 1970: one clock for all servers that share a PostgreSQL."""
    if connection.dialect.name == "postgresql":
        found = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp()) * 1000"))
    else:
        found = connection.scalar(text("SELECT (julianday('now') - 2440587.5) * 86400000"))
    return round(found or 0)


def upgrade(engine: Engine, on_step: OnStep = unobserved) -> tuple[str | None, str]:
    """Bring the schema up to HEAD. Returns the versions before and after.

    `on_step` is told of each step of an upgrade as it begins; the making of the first tables is
    none.

    Raises UserError E-REC-04 when a newer Offhook has upgraded it, and E-REC-05 when the database
    cannot be reached or refuses.
    """
    try:
        with engine.connect() as connection:
            before = version(connection)
        if before == HEAD:
            return before, HEAD
        known = revisions()
        if before is not None and before not in known:
            raise _newer(before)
        migrate(engine, HEAD, unobserved if before is None else on_step)
        empty_wal(engine)
    except SQLAlchemyError as error:
        raise unreachable(engine, error) from None
    return before, HEAD


def empty_wal(engine: Engine) -> None:
    """Truncate SQLite's write-ahead log, unless it is being read.

    It still holds what was erased, which are zeros in the file itself by then (secure_delete), and
    all that an upgrade wrote. PostgreSQL's VACUUM does the like.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))


def require_head(connection: Connection) -> None:
    """Raise for a schema of another version; for callers that only read.

    Raises UserError E-REC-04 for a newer schema, E-ASK-07 for an older.
    """
    found = version(connection)
    if found == HEAD:
        return
    if found is not None and found not in revisions():
        raise _newer(found)
    raise UserError(
        "E-ASK-07",
        f"The database has schema {found or 'none'}, which is older than this Offhook ({HEAD}).",
        "Run: offhook db upgrade",
    )


def _newer(found: str) -> UserError:
    return UserError(
        "E-REC-04",
        f"The database has schema {found}, which is newer than this Offhook ({HEAD}).",
        "Use the Offhook that upgraded it, or a newer one.",
    )


def is_unavailable(error: Exception) -> bool:
    """Return whether the database itself refuses, whatever it is given; else a line is at fault."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return error.connection_invalidated or state in _REFUSALS or state[:2] in _REFUSING


def unreachable(engine: Engine, error: Exception) -> UserError:
    """Return the error for a database that cannot be used, without its password."""
    words = type(error).__name__
    if isinstance(error, DBAPIError) and error.orig is not None:
        words = str(error.orig).strip().splitlines()[0][:200] if str(error.orig) else words
    where = engine.url.render_as_string(hide_password=True)
    return UserError(
        "E-REC-05",
        f"The database {where} cannot be used: {words}.",
        "See that it runs, and that records.database names it; then run: offhook db upgrade",
    )


def revisions() -> list[str]:
    """Return every version of the schema, oldest first."""
    folder = resources.files("offhook.records.migrations.versions")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name[:4].isdigit())
    return [name[:4] for name in names]


def migrate(engine: Engine, to: str, on_step: OnStep = unobserved) -> None:
    """Upgrade the schema to a version. Only tests of older versions need it; else `upgrade`.

    One transaction, so that an upgrade that is interrupted leaves the schema and data as they were.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    with resources.as_file(resources.files("offhook.records.migrations")) as folder:
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        with _MIGRATING, engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Two servers that start at once upgrade one after the other.
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(706_401_337)")
            else:
                # Python's driver begins no transaction by itself before statements of a schema.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            config.attributes["applied"] = _counted(connection, to, on_step)
            command.upgrade(config, to)


def _counted(connection: Connection, to: str, on_step: OnStep) -> Callable[[], None]:
    """Tell of the first step; return what tells of the next one when a step has been applied."""
    before = version(connection) or ""
    due = [each for each in revisions() if before < each <= to]
    steps = iter([UpgradeStep(n, len(due), each) for n, each in enumerate(due, 1)])

    def begin_next() -> None:
        step = next(steps, None)
        if step is not None:
            on_step(step)

    begin_next()
    return begin_next
