"""Erasing and retention: what is to go is gone from everywhere, and nothing else is."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from tests.records.test_store import WALL, WHOLE, apply, began, ended, lines, rows
from typer.testing import CliRunner

from offhook.cli import app
from offhook.config import Kept
from offhook.events import RecordingEnded, RecordingStarted
from offhook.recordings.files import LocalFiles
from offhook.records import database, erasing, tables
from offhook.records.retention import Retention

DAY_MS = 86_400_000


def two_calls(engine: Engine, folder: Path) -> LocalFiles:
    """One of +12025550142 with everything, recorded, and one of somebody else."""
    recordings = folder / "recordings"
    recordings.mkdir(parents=True)
    (recordings / "one.wav").write_bytes(b"RIFF")
    (recordings / "one.peaks").write_bytes(b"peaks")
    (recordings / "two.wav").write_bytes(b"RIFF")
    recorded = lines((1, RecordingStarted("one.wav")), (2, RecordingEnded(900)), first=90)
    apply(engine, [*WHOLE, *recorded])
    other = began(from_="+12025550199")
    events = ((0, other), (1, RecordingStarted("two.wav")), (5, WHOLE[4].event), (9, ended()))
    apply(engine, lines(*events, call_sid="CA2", first=200))
    return LocalFiles(recordings)


def counted(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            table.name: connection.scalar(
                select(func.count()).select_from(table).where(column == "CA1")
            )
            or 0
            for table, column in tables.of_calls()
        }


def test_a_callers_calls_are_gone_and_nobody_elses(engine: Engine, tmp_path: Path) -> None:
    files = two_calls(engine, tmp_path)
    assert sum(counted(engine).values()) > 10
    with engine.connect() as connection:
        chosen = erasing.select_calls(connection, number="+12025550142")
        promised = erasing.counts(connection, chosen)
    removed = erasing.erase(engine, files, tmp_path / "journal", chosen)
    assert set(counted(engine).values()) == {0}
    assert removed["calls"] == promised["calls"] == 1
    assert removed["utterances"] == promised["utterances"] == 3
    assert removed["messages"] == promised["messages"] == 1
    # Whoever does not want to be rung is not forgotten with the call.
    assert [row["number"] for row in rows(engine, tables.do_not_call)] == ["+12025550177"]
    assert sorted(path.name for path in (tmp_path / "recordings").iterdir()) == ["two.wav"]
    assert [row["sid"] for row in rows(engine, tables.calls)] == ["CA2"]
    assert len(rows(engine, tables.utterances)) == 1


def test_what_was_erased_is_not_in_the_file_any_more(tmp_path: Path) -> None:
    engine = database.open_engine(database.url_of(f"sqlite:///{tmp_path}/offhook.db"))
    database.upgrade(engine)
    files = two_calls(engine, tmp_path)
    erasing.erase(engine, files, tmp_path / "journal", ["CA1"])
    engine.dispose()
    left = b"".join(path.read_bytes() for path in tmp_path.glob("offhook.db*"))
    assert b"+12025550142" not in left
    assert b"Call back." not in left
    assert b"+12025550199" in left


def test_text_and_audio_go_each_at_its_own_age(engine: Engine, tmp_path: Path) -> None:
    files = two_calls(engine, tmp_path)
    kept = Retention(engine, files, "j", Kept(text_days=30, audio_days=7))
    kept.sweep(WALL + 6 * DAY_MS)
    assert len(rows(engine, tables.utterances)) == 4
    assert {row["recording"] for row in rows(engine, tables.calls)} == {"one.wav", "two.wav"}
    kept.sweep(WALL + 8 * DAY_MS)
    assert list((tmp_path / "recordings").iterdir()) == []
    assert {row["recording"] for row in rows(engine, tables.calls)} == {None}
    assert len(rows(engine, tables.utterances)) == 4
    kept.sweep(WALL + 31 * DAY_MS)
    calls = rows(engine, tables.calls)
    assert rows(engine, tables.utterances) == []
    assert rows(engine, tables.messages) == []
    assert {row["content"] for row in rows(engine, tables.functions)} <= {None, ""}
    assert [row["text_erased"] for row in calls] == [True, True]
    assert all("+1202" not in row["from_number"] for row in calls)
    # What is no text stays: how long it was, how it ended, what it cost.
    assert {row["slug"] for row in calls} == {"caller_hung_up"}
    assert {row["duration_ms"] for row in calls} == {90_000}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    engine = database.open_engine(database.url_of(f"sqlite:///{tmp_path}/offhook-data/offhook.db"))
    database.upgrade(engine)
    two_calls(engine, tmp_path / "offhook-data")
    engine.dispose()
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["calls", *arguments])
    return result.exit_code, result.output


def test_the_command_says_what_it_removed(house: Path) -> None:
    number = ("--number", "+12025550142", "--json")
    code, would = run("erase", *number, "--dry-run")
    assert code == 0
    assert json.loads(would)["removed"] == {}
    code, done = run("erase", *number)
    assert code == 0
    removed = json.loads(done)["removed"]
    assert removed["calls"] == 1
    assert removed["recordings"] == 1
    code, again = run("erase", *number)
    assert (code, json.loads(again)["removed"]) == (0, {})
    code, listed = run("list", "--json")
    assert "CA2" in listed
    assert "CA1" not in listed


def test_without_a_condition_nothing_is_erased(house: Path) -> None:
    code, _ = run("erase")
    assert code == 2
    assert "CA1" in run("list", "--json")[1]


def test_by_age(house: Path) -> None:
    code, done = run("erase", "--older-than", "36500", "--json")
    assert (code, json.loads(done)["removed"]) == (0, {})
