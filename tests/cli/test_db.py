"""offhook db upgrade, and databases of another version."""

import json
import sys
from pathlib import Path
from unittest import mock

import pytest
from sqlalchemy import text
from tests.cli.in_process import offhook

from offhook.records import database
from offhook.text.extras import install_command


def test_it_says_from_which_schema_to_which(tmp_path: Path) -> None:
    first = offhook(tmp_path, "db", "upgrade")
    assert first.returncode == 0, first.stderr
    assert f"schema none → {database.HEAD}" in first.stdout
    again = offhook(tmp_path, "db", "upgrade")
    assert f"schema {database.HEAD}, nothing to do" in again.stdout
    answer = json.loads(offhook(tmp_path, "db", "upgrade", "--json").stdout)
    assert (answer["before"], answer["after"]) == (database.HEAD, database.HEAD)


def test_an_upgrade_shows_on_a_terminal_that_it_goes_on(tmp_path: Path) -> None:
    assert offhook(tmp_path, "db", "upgrade").stderr == ""
    shown = offhook(tmp_path, "db", "upgrade", "--json", FORCE_COLOR="1", COLUMNS="80")
    assert "upgrading the database" in shown.stderr
    assert json.loads(shown.stdout)["after"] == database.HEAD


def test_the_file_of_the_configuration_says_which_database(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("records:\n  folder: elsewhere\n")
    assert offhook(tmp_path, "db", "upgrade", "--config", "mine.yaml").returncode == 0
    assert (tmp_path / "elsewhere" / "offhook.db").is_file()


def test_a_database_of_another_version_is_not_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/offhook-data/offhook.db"
    engine = database.open_engine(database.url_of(url))
    database.upgrade(engine)
    for version, code in (("9999", "E-REC-04"), (None, "E-ASK-07")):
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM alembic_version"))
            if version is not None:
                added = text("INSERT INTO alembic_version VALUES (:version)")
                connection.execute(added, {"version": version})
        ended = offhook(tmp_path, "calls")
        assert ended.returncode == 1
        assert ended.stderr.startswith(code)
    engine.dispose()


@pytest.mark.parametrize("words", [("db", "upgrade"), ("calls",)])
def test_a_postgresql_without_its_driver_is_said_with_the_command(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    with mock.patch.dict(sys.modules, psycopg=None):
        ended = offhook(tmp_path, *words, OFFHOOK_DATABASE_URL="postgresql://me:canary@h/x")
        assert offhook(tmp_path, "db", "upgrade").returncode == 0, "SQLite needs none"
    assert ended.returncode == 1
    assert ended.stderr.startswith("E-REC-08")
    assert install_command("postgres") in ended.stderr
    assert "canary" not in ended.stderr


def test_a_database_that_cannot_be_reached_is_said_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://me:canary-word@127.0.0.1:9/x"
    for words in (["db", "upgrade"], ["calls"]):
        ended = offhook(tmp_path, *words, OFFHOOK_DATABASE_URL=url)
        assert ended.returncode == 1
        assert ended.stderr.startswith("E-REC-05")
        assert "canary" not in ended.stderr
