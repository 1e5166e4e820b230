"""offhook calls export: JSON Lines, CSV and recordings."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text, update
from tests.cli.in_process import offhook
from tests.postgres import Postgres
from tests.records.filling import Filler, sid_of

from offhook.cli.calls import export, record_access
from offhook.config import RecordsSettings
from offhook.records import database, tables
from offhook.records.filters import CallFilter


def test_json_lines(folder: Path) -> None:
    ended = offhook(folder, "calls", "export", "--output", "calls.jsonl")
    assert ended.returncode == 0, ended.stderr
    lines = (folder / "calls.jsonl").read_text().splitlines()
    assert [json.loads(line)["call"]["sid"] for line in lines] == [sid_of(n) for n in (3, 2, 1)]
    if os.name == "posix":
        assert (folder / "calls.jsonl").stat().st_mode & 0o077 == 0
    assert offhook(folder, "calls", "export").stdout.splitlines() == lines


def test_csv_holds_no_formula(folder: Path) -> None:
    ended = offhook(folder, "calls", "export", "--format", "csv")
    rows = list(csv.DictReader(ended.stdout.splitlines()))
    assert [row["sid"] for row in rows] == [sid_of(n) for n in (3, 2, 1)]
    assert rows[0]["from_number"] == "'=cmd()"
    assert (rows[1]["from_number"], rows[1]["slug"]) == ("+12025550142", "agent_lost")
    assert rows[1]["currency"] == "USD"


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_the_calls_of_a_file_are_counted(folder: Path, format_: str) -> None:
    arguments = ["calls", "export", "--format", format_, "--output", "calls"]
    assert offhook(folder, *arguments).stderr == "3 calls in calls\n"
    assert json.loads(offhook(folder, *arguments, "--json").stdout)["exported"] == 3


def test_progress_is_shown_on_a_terminal_and_nowhere_else(folder: Path) -> None:
    arguments = ["calls", "export", "--output", "calls.jsonl", "--json"]
    piped = offhook(folder, *arguments)
    assert piped.stderr == ""
    shown = offhook(folder, *arguments, FORCE_COLOR="1", COLUMNS="80")
    assert "exporting" in shown.stderr
    assert "3/3" in shown.stderr
    assert shown.stdout == piped.stdout


def test_recordings(folder: Path) -> None:
    arguments = ["calls", "export", "--format", "audio", "--output", "audio", "--json"]
    ended = offhook(folder, *arguments)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"exported": 1, "output": "audio", "missing": []}
    assert (folder / "audio" / f"{sid_of(2)}.wav").read_bytes() == b"RIFF of a call"
    (folder / "offhook-data" / "recordings" / "two.wav").unlink()
    ended = offhook(folder, *arguments)
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["missing"] == [sid_of(2)]


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_no_transaction_waits_for_a_slow_reader(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    """PostgreSQL would end it, and the export with it."""
    monkeypatch.setattr(record_access, "PAGE_MAX", 1)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        " AND datname = current_database()"
    )

    def lines_of(connection: Connection) -> Iterator[str]:
        calls = record_access.every(connection, CallFilter())
        return (
            export._csv(calls, "USD") if format_ == "csv" else export._jsonl(connection, calls, "")
        )

    with postgres.database(migrated=True) as url:
        records = RecordsSettings(database=url.render_as_string(hide_password=False))
        engine = database.open_engine(database.url_of(records.database))
        filler = Filler(engine)
        for number in range(3):
            filler.short(number)
        with record_access.opened(records) as connection:
            found = []
            for line in lines_of(connection):
                with engine.connect() as other:
                    found.append((bool(line), other.scalar(waiting)))
        engine.dispose()
    header = 1 if format_ == "csv" else 0
    assert found == [(True, 0)] * (3 + header)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../offhook.db", "E-AUD-03"),
        ("/etc/hostname", "E-AUD-03"),
        ("link.wav", "is not there"),
    ],
)
def test_no_path_leads_out_of_the_folder(folder: Path, name: str, said: str) -> None:
    data = folder / "offhook-data"
    (data / "recordings" / "link.wav").symlink_to(data / "offhook.db")
    engine = database.open_engine(database.url_of(f"sqlite:///{data}/offhook.db"))
    with engine.begin() as connection:
        calls = update(tables.calls).where(tables.calls.c.sid == sid_of(2))
        connection.execute(calls.values(recording=name))
    engine.dispose()
    for words in (
        ["export", "--format", "audio", "--output", "audio"],
        ["play", sid_of(2)],
    ):
        ended = offhook(folder, "calls", *words)
        assert ended.returncode == 1
        assert said in ended.stderr
    assert list((folder / "audio").iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(folder: Path) -> None:
    (folder / "file").touch()
    for words in (["--output", "file/x"], ["--format", "audio", "--output", "file"]):
        ended = offhook(folder, "calls", "export", *words)
        assert ended.returncode == 1
        assert ended.stderr.startswith("E-ASK-08")


@pytest.mark.parametrize("arguments", [["--format", "xml"], ["--format", "audio"], ["--json"]])
def test_wrong_use(folder: Path, arguments: list[str]) -> None:
    assert offhook(folder, "calls", "export", *arguments).returncode == 2
