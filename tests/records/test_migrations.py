"""The schema: from every earlier version, with data in it, up to the present one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from offhook.errors import UserError
from offhook.net.lost_ends import POSTGRES_NOTICES
from offhook.records import database, tables

CALL_0001 = (
    "INSERT INTO calls (sid, account_sid, agent, direction, came_by, from_number, to_number,"
    " variables, journal, line, started_ms, last_ms, duration_ms, slug, agent_ms, tier,"
    " text_erased) VALUES ('CA1', 'AC1', 'desk', 'inbound', 'webhook', '+15550100142',"
    " '+15550100100', '{}', 'j', 7, 1795000000000, 900, 1000, 'caller_hung_up', 800, 'standard',"
    " FALSE)"
)
SAID_0001 = (
    "INSERT INTO utterances (call_sid, line, who, text, intended, end_ms, interrupted)"
    " VALUES ('CA1', 8, 'caller', 'A table for two.', 'A table for two.', 900, FALSE)"
)
LEFT_0003 = (
    "INSERT INTO messages (call_sid, line, at_ms, from_name, number, text)"
    " VALUES ('CA1', 9, 950, 'Ada', '', 'Call.')"
)
CALL_0008 = (
    "INSERT INTO calls (sid, account_sid, agent, direction, came_by, from_number, to_number,"
    " variables, journal, started_ms, duration_ms, slug, agent_ms, tier, text_erased, turns)"
    " VALUES ('CA1', 'AC1', 'desk', 'inbound', 'webhook', '+15550100142', '+15550100100', '{}',"
    " 'j', 1795000000000, 1000, 'caller_hung_up', 800, 'standard', FALSE, 1)"
)
SAID_0008 = (
    "INSERT INTO utterances (call_sid, line, who, text)"
    " VALUES ('CA1', 8, 'caller', 'A table for two.')"
)
EVENTS_0008 = (
    "INSERT INTO events (call_sid, line, at_ms, wall_ms, kind, body) VALUES"
    " ('CA1', 7, 0, 0, 'CallBegan', '{}'), ('CA1', 8, 900, 0, 'CallerSaid', '{}'),"
    " ('CA1', 9, 950, 0, 'MessageTaken', '{}')"
)


def rows_of(version: str) -> list[str]:
    """The statements that fill a database of that version with one call."""
    if version >= "0008":
        return [CALL_0008, SAID_0008, EVENTS_0008]
    return [CALL_0001, SAID_0001, *([LEFT_0003] if version >= "0003" else [])]


@pytest.mark.parametrize("version", database.revisions()[:-1])
def test_what_was_there_is_there_after_the_upgrade(empty: Engine, version: str) -> None:
    database.migrate(empty, version)
    with empty.begin() as connection:
        for statement in rows_of(version):
            connection.execute(text(statement))
    assert database.upgrade(empty) == (version, database.HEAD)
    with empty.connect() as connection:
        row = connection.execute(text("SELECT sid, turns, slug FROM calls")).one()
        assert tuple(row) == ("CA1", 1, "caller_hung_up")
        said = connection.scalar(text("SELECT text FROM utterances WHERE call_sid = 'CA1'"))
        assert said == "A table for two."
        stored = text("SELECT line, kind FROM events WHERE call_sid = 'CA1' ORDER BY line")
        left = [(9, "MessageTaken")] if version >= "0003" else []
        assert [tuple(row) for row in connection.execute(stored)] == [
            (7, "CallBegan"),
            (8, "CallerSaid"),
            *left,
        ]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_postgresql_that_vanishes_is_noticed_soon(engine: Engine) -> None:
    """libpq has been told so; nobody here can pull the plug of a network."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        told = driver.info.get_parameters()
    assert told["keepalives_idle"] == "5"
    idle_s, between_s = int(told["keepalives_idle"]), int(told["keepalives_interval"])
    assert 10 <= idle_s + between_s * int(told["keepalives_count"]) <= 20
    assert 10_000 <= int(told["tcp_user_timeout"]) <= 20_000


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_node_that_vanishes_is_noticed_soon(engine: Engine) -> None:
    """PostgreSQL has been told so: else the node's transactions keep their locks for hours."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        assert POSTGRES_NOTICES in driver.info.get_parameters()["options"]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_transaction_that_stands_still_gives_its_locks_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "STANDS_STILL_S", 0.1)
    engine = database.open_engine(database.url_of(url))
    lock = text("SELECT pg_advisory_xact_lock(1)")
    stopped = engine.connect()
    stopped.execute(lock)
    with engine.begin() as other:
        other.execute(lock)
    with pytest.raises(DBAPIError, match="idle-in-transaction"):
        stopped.execute(lock)
    stopped.close()
    engine.dispose()


def test_the_last_of_the_migrations_is_what_this_version_works_with() -> None:
    assert database.revisions()[-1] == database.HEAD


def test_the_migrations_make_the_tables_that_the_code_knows(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        found = compare_metadata(context, tables.metadata)
        # SQLAlchemy reads no expressions of an index back from SQLite.
        differences = [one for one in found if "index" not in str(one[0])]
        assert differences == []
        assert set(tables.metadata.tables) <= set(inspect(connection).get_table_names())


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    assert database.upgrade(engine) == (database.HEAD, database.HEAD)


def test_a_newer_version_is_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match="E-REC-04"):
        database.upgrade(engine)


def test_threads_that_migrate_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    engines = [
        database.open_engine(database.url_of(f"sqlite:///{tmp_path}/{number}.db"))
        for number in range(6)
    ]
    with ThreadPoolExecutor(len(engines)) as pool:
        found = list(pool.map(database.upgrade, engines))
    assert found == [(None, database.HEAD)] * len(engines)
    for engine in engines:
        with engine.connect() as connection:
            assert inspect(connection).has_table("calls")
        engine.dispose()
