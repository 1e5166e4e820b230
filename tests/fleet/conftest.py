"""What tests of fleets share."""

import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.engine import URL
from tests.fleet.directories import Fleet, fleet_on, migrated
from tests.postgres import Postgres

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture
def database(postgres: Postgres) -> Iterator[URL]:
    """A database of the run's PostgreSQL with the present schema, for one fleet."""
    with postgres.database(migrated=True) as url:
        yield url


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    """The address of a migrated database, for the directories of a module's tests."""
    with migrated(postgres) as found:
        yield found


@pytest.fixture
async def fleet(url: str) -> AsyncIterator[Fleet]:
    """A fleet whose directory is empty."""
    async with fleet_on(url) as found:
        await found.ask("TRUNCATE fleet_processes, fleet_calls, fleet_lines, fleet_budgets")
        yield found
