"""Retention: what is old enough goes, whoever sweeps and whatever happens to the sweeper."""

from pathlib import Path

from sqlalchemy import Engine
from tests.records.test_erasing import two_calls
from tests.records.test_store import WALL, rows

from offhook.config import Kept
from offhook.records import tables
from offhook.records.retention import Retention

DAY_MS = 86_400_000


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
    assert {row["content"] for row in rows(engine, tables.functions)} <= {None, ""}
    assert [row["text_erased"] for row in calls] == [True, True]
    assert all("+1202" not in row["from_number"] for row in calls)
    # What is no text stays: how long it was, how it ended, what it cost.
    assert {row["slug"] for row in calls} == {"caller_hung_up"}
    assert {row["duration_ms"] for row in calls} == {90_000}
