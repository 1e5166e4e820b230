"""What tests of fleets share."""

import sys
from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL
from tests.postgres import Postgres

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture
def database(postgres: Postgres) -> Iterator[URL]:
    """A database of the run's PostgreSQL with the present schema, for one fleet."""
    with postgres.database(migrated=True) as url:
        yield url
