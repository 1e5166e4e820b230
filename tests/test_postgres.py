"""What a test gets of the run's PostgreSQL: a database in which no other test has left anything."""

from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import URL
from tests.postgres import Postgres

AUDITED = (
    "INSERT INTO audit (at_ms, who, what, about, status) VALUES (1, 'ada', 'read', 'CA1', 200)"
    " RETURNING id"
)
INDEX = "SELECT indexname FROM pg_indexes WHERE tablename = 'calls' AND indexname LIKE 'calls_by%'"


def connected(url: URL) -> psycopg.Connection:
    text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(text, autocommit=True)


def ask(url: URL, statement: str) -> list[tuple[Any, ...]]:
    with closing(connected(url)) as link:
        cursor = link.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_a_database_comes_without_the_rows_and_connections_of_the_test_before(
    postgres: Postgres,
) -> None:
    with postgres.database(migrated=True) as first:
        assert ask(first, AUDITED) == [(1,)]
        ask(first, "INSERT INTO users VALUES ('ada', 'admin', 1, '')")
        left = connected(first)
    with closing(left), postgres.database(migrated=True) as second:
        assert second == first, "it is not copied once more"
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
        assert ask(second, "SELECT name FROM users") == []
        assert ask(second, AUDITED) == [(1,)]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE utterances RENAME TO gone",
        "ALTER TABLE utterances DROP COLUMN who",
        "DROP INDEX {index}",
        "CREATE TABLE more (x integer)",
        "UPDATE alembic_version SET version_num = '0001'",
        "DROP TABLE alembic_version",
        "ALTER DATABASE {database} SET default_transaction_read_only = on",
    ],
)
def test_a_database_that_a_test_has_changed_is_not_used_again(
    postgres: Postgres, change: str
) -> None:
    with postgres.database(migrated=True) as first:
        ((index, *_), *_) = ask(first, INDEX)
        ask(first, change.format(index=index, database=first.database))
    with postgres.database(migrated=True) as second:
        assert second != first
        assert ask(second, "SELECT count(*) FROM utterances") == [(0,)]
