"""Databases to test on: SQLite in a file, and a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.migrated import put
from tests.postgres import Postgres

from offhook.records import database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database, as a user writes it: empty, but for tests that take `engine`."""
    migrated = "engine" in request.fixturenames
    if request.param == "sqlite":
        if migrated:
            put(tmp_path / "offhook.db")
        yield f"sqlite:///{tmp_path}/offhook.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database(migrated=migrated) as of_postgres:
        yield of_postgres.render_as_string(hide_password=False)


@pytest.fixture
def empty(url: str) -> Iterator[Engine]:
    """A database without a schema."""
    engine = database.open_engine(database.url_of(url))
    yield engine
    engine.dispose()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A database with the present schema."""
    engine = database.open_engine(database.url_of(url))
    yield engine
    engine.dispose()
