"""Retention: what is old enough goes, whoever sweeps and whatever happens to the sweeper."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.records.test_erasing import two_calls
from tests.records.test_store import PRICES, WALL, WHOLE, apply, began, ended, lines, rows
from tests.waiting import wait_until

from offhook.config import Prices, RetentionSettings
from offhook.events.types import AgentDisconnected, CallerSaid, CallStarted, RecordingStarted
from offhook.journal.entries import JournalEntry
from offhook.recordings.files import LocalFiles
from offhook.recordings.wav import StereoWriter
from offhook.records import erasing, queries, retention, tables
from offhook.records.filters import CallFilter
from offhook.records.retention import LOST_MS, Aging, Retention
from offhook.records.store import RecordStore

DAY_MS = 86_400_000


def test_text_and_audio_go_each_at_its_own_age(engine: Engine, tmp_path: Path) -> None:
    files = two_calls(engine, tmp_path)
    kept = Retention(
        engine, files, RecordStore("j", Prices()), RetentionSettings(text_days=30, audio_days=7)
    )
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
    bodies = "".join(row["body"] for row in rows(engine, tables.events))
    assert "A table?" not in bodies
    assert "Call back." not in bodies
    assert [row["text_erased"] for row in calls] == [True, True]
    assert all("+1202" not in row["from_number"] for row in calls)
    # What is no text stays: how long it was, how it ended, what it cost.
    assert {row["slug"] for row in calls} == {"caller_hung_up"}
    assert {row["duration_ms"] for row in calls} == {90_000}


def test_a_recording_that_another_machine_erased_goes_without_any_age(
    engine: Engine, tmp_path: Path
) -> None:
    here = two_calls(engine, tmp_path)
    elsewhere = LocalFiles(tmp_path / "elsewhere")
    removed, _ = erasing.erase(engine, elsewhere, tmp_path / "journal", ["CA1"])
    assert removed["recordings_elsewhere"] == 1
    assert (tmp_path / "recordings" / "one.wav").exists()
    with Retention(engine, here, RecordStore("j", Prices()), RetentionSettings()):
        wait_until(lambda: rows(engine, tables.unwanted_files) == [])
    assert [path.name for path in (tmp_path / "recordings").iterdir()] == ["two.wav"]


def test_a_fault_of_our_own_ends_no_thread(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    files = two_calls(engine, tmp_path)
    erasing.erase(engine, LocalFiles(tmp_path / "none"), tmp_path / "journal", ["CA1"])
    monkeypatch.setattr(retention, "AGAIN_S", 0.01)
    failures = [ValueError("what Ada said"), PermissionError(13, "what Ada said")]
    names = LocalFiles.names

    def fail_first(store: LocalFiles) -> list[str]:
        if failures:
            raise failures.pop()
        return names(store)

    monkeypatch.setattr(LocalFiles, "names", fail_first)
    with Retention(engine, files, RecordStore("j", Prices()), RetentionSettings()):
        wait_until(lambda: rows(engine, tables.unwanted_files) == [])
    assert "retention raised ValueError" in caplog.text
    assert "retention raised PermissionError" in caplog.text
    assert "what Ada said" not in caplog.text


def test_a_file_that_cannot_be_deleted_holds_up_no_other(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = two_calls(engine, tmp_path)
    delete = LocalFiles.delete

    def stuck(store: LocalFiles, name: str) -> None:
        if name == "one.wav":
            raise PermissionError(13, "Permission denied")
        delete(store, name)

    kept = Retention(engine, files, RecordStore("j", Prices()), RetentionSettings(audio_days=7))
    with monkeypatch.context() as patched:
        patched.setattr(LocalFiles, "delete", stuck)
        assert kept.sweep(WALL + 8 * DAY_MS).recordings == 1
    assert [path.name for path in (tmp_path / "recordings").iterdir()] == ["one.wav"]
    assert kept.sweep(WALL + 8 * DAY_MS).recordings == 1
    assert list((tmp_path / "recordings").iterdir()) == []


def test_a_call_whose_machine_never_comes_back_gets_an_end(engine: Engine, tmp_path: Path) -> None:
    """By whoever sweeps, an hour later than any call can last."""
    said = (
        (0, began()),
        (10, CallStarted()),
        (4000, CallerSaid("My name is Ada.")),
        (5000, AgentDisconnected(4000)),
    )
    apply(engine, lines(*said), journal="gone")
    apply(engine, lines((0, began()), call_sid="CA2"), journal="there")  # not a line but the first
    store = RecordStore("j", PRICES, after_call=True)
    sweeping = Retention(engine, LocalFiles(tmp_path), store, RetentionSettings())
    sweeping.sweep(WALL + LOST_MS)
    assert [row["duration_ms"] for row in rows(engine, tables.calls)] == [None, None]
    sweeping.sweep(WALL + LOST_MS + 1)
    first, second = rows(engine, tables.calls)
    assert (first["slug"], first["fault"]) == ("server_died", "offhook")
    assert (first["duration_ms"], second["duration_ms"]) == (5000, 0)
    assert first["cost_micros"] > 0
    assert [row["call_sid"] for row in rows(engine, tables.jobs)] == ["CA1", "CA2"]
    with engine.connect() as connection:
        assert queries.totals(connection, CallFilter()).live == 0
    # It does come back, and its journal knows better.
    back = lines((6000, CallerSaid("Bye.")), (90_000, ended()), first=50)
    apply(engine, back, journal="gone")
    sweeping.sweep(WALL + LOST_MS + 2)
    first = rows(engine, tables.calls)[0]
    assert (first["slug"], first["duration_ms"]) == ("caller_hung_up", 90_000)
    assert len(rows(engine, tables.jobs)) == 2


SWEEPER = """
import sys
from pathlib import Path
from offhook.config import Prices, RetentionSettings
from offhook.recordings.files import LocalFiles
from offhook.records import database
from offhook.records.retention import Retention
from offhook.records.store import RecordStore
engine = database.open_engine(database.url_of(sys.argv[1]))
ages = RetentionSettings(text_days=30, audio_days=7)
kept = Retention(engine, LocalFiles(Path(sys.argv[2])), RecordStore("j", Prices()), ages)
print("ready", flush=True)
sys.stdin.readline()
print(*kept.sweep(int(sys.argv[3])))
"""


@pytest.mark.long
def test_two_processes_that_sweep_at_once_do_it_once(
    engine: Engine, url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    count, told = 2 * erasing.BATCH_CALLS + 50, list[JournalEntry]()
    for number in range(count):
        (folder / f"{number}.wav").write_bytes(b"RIFF")
        events = (
            (0, began()),
            (1, RecordingStarted(f"{number}.wav")),
            (5, WHOLE[4].event),
            (9, ended()),
        )
        told += lines(*events, call_sid=f"CA{number:04}", first=len(told) + 1)
    live = lines((0, began()), call_sid="CA9999", first=len(told) + 1)
    told += [one._replace(wall_ms=WALL + 30 * DAY_MS) for one in live]
    apply(engine, told)
    command = [sys.executable, "-c", SWEEPER, url, str(folder), str(WALL + 30 * DAY_MS + 1000)]
    sweepers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for sweeper in sweepers:
        assert sweeper.stdout is not None
        assert sweeper.stdout.readline() == "ready\n"
    said = [sweeper.communicate("go\n", timeout=240)[0] for sweeper in sweepers]
    assert [sweeper.returncode for sweeper in sweepers] == [0, 0], said
    assert list(folder.iterdir()) == []
    assert rows(engine, tables.utterances) == []
    calls = rows(engine, tables.calls)
    assert len(calls) == count + 1
    assert [row["text_erased"] for row in calls] == [True] * count + [False]
    assert {row["recording"] for row in calls} == {None}
    if engine.dialect.name == "postgresql":  # where rows can be locked, each is erased once
        texts, recordings = zip(*(map(int, some.split()) for some in said), strict=True)
        assert (sum(texts), sum(recordings)) == (count, count)


def test_a_folder_that_is_gone_is_no_fault(engine: Engine, tmp_path: Path) -> None:
    files = two_calls(engine, tmp_path)
    shutil.rmtree(tmp_path / "recordings")
    kept = Retention(engine, files, RecordStore("j", Prices()), RetentionSettings(audio_days=7))
    kept.sweep(WALL + 8 * DAY_MS)
    assert {row["recording"] for row in rows(engine, tables.calls)} == {None}


def test_the_node_of_a_recording_whose_call_has_moved_writes_its_length(
    engine: Engine, tmp_path: Path
) -> None:
    here = two_calls(engine, tmp_path)
    with (tmp_path / "recordings" / "two.wav").open("wb") as file:
        StereoWriter(file).write(b"\xff" * 8000, b"\xff" * 8000)  # as a death leaves it

    def lengths() -> dict[str, int | None]:
        return {row["sid"]: row["recording_ms"] for row in rows(engine, tables.calls)}

    def sweep(machine_id: str, files: LocalFiles) -> None:
        Retention(engine, files, RecordStore(machine_id, Prices()), RetentionSettings()).sweep(WALL)

    sweep("another", here)
    sweep("j", LocalFiles(tmp_path / "empty"))
    assert lengths() == {"CA1": 900, "CA2": None}, "it is not theirs, or not there"
    sweep("j", here)
    assert lengths() == {"CA1": 900, "CA2": 1000}


HOUR_MS, HOUR_S = 3_600_000, 3600.0


def test_a_clock_that_jumps_an_hour_ahead_makes_nothing_old_for_a_day() -> None:
    aging = Aging()
    assert aging.now_ms(WALL, 100.0) == WALL
    assert aging.now_ms(WALL + HOUR_MS, 100.0 + HOUR_S) == WALL + HOUR_MS  # an hour has gone by
    jumped = 2 * HOUR_MS
    assert aging.now_ms(WALL + jumped, 100.0 + HOUR_S + 1) == WALL + HOUR_MS + 1000
    assert aging.now_ms(WALL + jumped + HOUR_MS, 101.0 + 2 * HOUR_S) == WALL + jumped + 1000
    # Set right again, it is believed at once.
    assert aging.now_ms(WALL + jumped, 101.0 + 2 * HOUR_S) == WALL + jumped
    late = 101.0 + 2 * HOUR_S
    assert aging.now_ms(WALL + 9 * HOUR_MS, late) == WALL + jumped
    day = 24 * HOUR_MS
    assert aging.now_ms(WALL + 9 * HOUR_MS + day, late + day / 1000) == WALL + 9 * HOUR_MS + day


def test_a_clock_that_jumps_back_makes_nothing_old() -> None:
    aging = Aging()
    aging.now_ms(WALL, 100.0)
    assert aging.now_ms(WALL - HOUR_MS, 101.0) == WALL - HOUR_MS
