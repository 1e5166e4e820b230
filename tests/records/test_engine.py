"""What an error of the database tells of the rows that it was about."""

import traceback

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from offhook.records.database import open_engine, url_of

PRIVATE = "I-was-said-on-the-telephone"


def test_an_error_of_the_database_quotes_no_value() -> None:
    engine = open_engine(url_of("sqlite:///:memory:"))
    with engine.connect() as connection, pytest.raises(OperationalError) as error:
        connection.execute(text("INSERT INTO nowhere VALUES (:said)"), {"said": PRIVATE})
    assert "nowhere" in str(error.value)
    assert PRIVATE not in "".join(traceback.format_exception(error.value))
    engine.dispose()
