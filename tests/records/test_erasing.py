"""Erasing: what is to go is gone from everywhere, and nothing else is."""

import contextlib
import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text
from tests.records.record import Record
from tests.records.test_store import WALL, WHOLE, apply, began, ended, lines, rows
from tests.waiting import wait_until
from typer.testing import CliRunner

from offhook.cli import app
from offhook.config import Prices, RetentionSettings
from offhook.errors import UserError
from offhook.events.types import CallerSaid, CallEvent, Event, RecordingEnded, RecordingStarted
from offhook.journal.entries import encode
from offhook.journal.folders import DEAD_LETTERS, EARLIER_DEAD_LETTERS, FileLock, make_machine_id
from offhook.journal.progress import last_lines, waiting_lines
from offhook.journal.writer import JournalWriter
from offhook.recordings.files import LocalFiles
from offhook.records import database, erasing, tables
from offhook.records import follower as follower_module
from offhook.records.follower import OPERATOR_LOCK
from offhook.records.retention import Retention
from offhook.records.store import RecordStore


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
        promised = erasing.counts(connection, chosen.over)
    removed, stuck = erasing.erase(engine, files, tmp_path / "journal", chosen.over)
    assert (chosen.live, stuck) == ([], {})
    assert set(counted(engine).values()) == {0}
    assert removed["calls"] == promised["calls"] == 1
    assert removed["utterances"] == promised["utterances"] == 3
    assert removed["events"] == promised["events"] == len(WHOLE) + 2
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


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    engine = database.open_engine(database.url_of(f"sqlite:///{tmp_path}/offhook-data/offhook.db"))
    database.upgrade(engine)
    two_calls(engine, tmp_path / "offhook-data")
    engine.dispose()
    return tmp_path


@contextmanager
def opened(house: Path) -> Iterator[Engine]:
    engine = database.open_engine(database.url_of(f"sqlite:///{house}/offhook-data/offhook.db"))
    yield engine
    engine.dispose()


def run(command: str, *arguments: str, asks: bool = False) -> tuple[int, str]:
    """Run a command; `erase` erases without asking."""
    sure = ["--yes"] if command == "erase" and not asks else []
    result = CliRunner().invoke(app, ["calls", command, *sure, *arguments])
    if isinstance(result.exception, UserError):  # printed by main
        return result.exit_code, f"{result.output}{result.exception}"
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


def told(*events: Event, call_sid: str = "CA1") -> list[CallEvent]:
    return [CallEvent(call_sid, at_ms, event) for at_ms, event in enumerate(events)]


def keep(journal: Path, *kept: CallEvent) -> None:
    """Leave lines as a killed call process does."""
    make_machine_id(journal)
    writer = JournalWriter(journal / ("b" * 32), 10**9, 7 << 48)
    writer.append([encode(call_event, WALL) for call_event in kept])
    writer.close()


def keep_waiting(journal: Path) -> None:
    """Leave a whole call that the journal has and the database has not."""
    keep(journal, *told(began(), CallerSaid("My name is Ada."), ended(), call_sid="CA5"))


def in_journal(journal: Path) -> bytes:
    found = b""
    for folder, _, names in os.walk(journal):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a follower removes what it has done
                found += (Path(folder) / name).read_bytes()
    return found


def test_what_waits_in_the_journal_of_a_server_that_is_down_is_erased(
    engine: Engine, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    keep_waiting(journal)
    assert b"Ada" in in_journal(journal)
    erasing.settle(engine, journal, Prices(), after_call=True)
    with engine.connect() as connection:
        chosen = erasing.select_calls(connection, number="+12025550142")
    assert (chosen.over, chosen.live) == (["CA5"], [])
    removed, _ = erasing.erase(engine, LocalFiles(tmp_path), journal, chosen.over)
    assert (removed["calls"], removed["utterances"], removed["jobs"]) == (1, 1, 1)
    assert b"Ada" not in in_journal(journal)
    assert rows(engine, tables.utterances) == []
    # Nor does it come back when the server starts.
    with Record(engine, journal, Prices()) as record:
        wait_until(lambda: record.waiting == 0)
    assert rows(engine, tables.calls) == []


def test_a_call_that_the_killed_server_left_open_is_over_then(
    engine: Engine, tmp_path: Path
) -> None:
    keep(tmp_path / "journal", *told(began(), CallerSaid("My name is Ada."), call_sid="CA5"))
    erasing.settle(engine, tmp_path / "journal", Prices(), after_call=False)
    with engine.connect() as connection:
        assert erasing.select_calls(connection, number="+12025550142") == (["CA5"], [])


def test_what_waits_in_the_journal_of_a_running_server_is_waited_for(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "SETTLING_S", 0.1)
    journal = tmp_path / "journal"
    keep_waiting(journal)
    database_is_back = threading.Timer(0.5, lambda: keep_out.rollback())
    with engine.connect() as connection, connection.begin() as keep_out:
        # The server cannot write until this is over.
        if engine.dialect.name == "sqlite":
            connection.execute(text("DELETE FROM unwanted_files"))
        else:
            connection.execute(text("LOCK TABLE calls IN EXCLUSIVE MODE"))
        with Record(engine, journal, Prices()):
            assert waiting_lines(journal, last_lines(journal)) == 3
            database_is_back.start()
            erasing.settle(engine, journal, Prices(), after_call=False)
            with engine.connect() as reading:
                chosen = erasing.select_calls(reading, number="+12025550142")
            assert chosen.over == ["CA5"]
            erasing.erase(engine, LocalFiles(tmp_path), journal, chosen.over)
            assert b"Ada" not in in_journal(journal)
    assert rows(engine, tables.calls) == []


def test_without_the_journals_lines_nothing_is_erased(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server has the journal, and its database takes nothing."""
    monkeypatch.setattr(erasing, "WAIT_S", 0.3)
    journal = house / "offhook-data" / "journal"
    keep_waiting(journal)
    lock = FileLock(house / "offhook-data" / OPERATOR_LOCK)
    assert lock.take()  # as another process has it
    code, said = run("erase", "--older-than", "1m")
    lock.close()
    assert (code, "E-ERA-01" in said, "3 lines" in said) == (1, True, True)
    listed = json.loads(run("list", "--json")[1])["calls"]
    assert sorted(call["sid"] for call in listed) == ["CA1", "CA2"]
    # The server is down; then they are taken, and erased.
    code, said = run("erase", "--older-than", "1m", "--json")
    assert (code, json.loads(said)["removed"]["calls"]) == (0, 3)
    assert b"Ada" not in in_journal(journal)


@pytest.mark.parametrize("name", [DEAD_LETTERS, EARLIER_DEAD_LETTERS])
def test_dead_letters_are_erased(engine: Engine, tmp_path: Path, name: str) -> None:
    two_calls(engine, tmp_path)
    journal = tmp_path / "journal"
    journal.mkdir()
    mine, other = (
        encode(CallEvent(sid, 5, CallerSaid("My name is Ada.")), WALL) + b"\n"
        for sid in ("CA1", "CA2")
    )
    (journal / name).write_bytes(mine + other)
    removed, _ = erasing.erase(engine, LocalFiles(tmp_path), journal, ["CA1"])
    assert removed["dead_letters"] == 1
    assert (journal / name).read_bytes() == other


def test_where_there_is_nobody_to_ask_nothing_is_erased(house: Path) -> None:
    for more in ([], ["--json"]):
        code, said = run("erase", "--older-than", "1m", *more, asks=True)
        assert (code, "E-ERA-06" in said, "--yes" in said) == (1, True, True)
    assert "CA1" in run("list", "--json")[1]
    assert run("erase", "--number", "+12025550111", asks=True)[0] == 0, "nothing to ask about"


@pytest.mark.parametrize(("answer", "is_erased"), [("y", True), ("n", False), ("", False)])
def test_a_person_is_asked_before_anything_is_erased(
    house: Path, monkeypatch: pytest.MonkeyPatch, answer: str, is_erased: bool
) -> None:
    (house / "rehearsal.wav").touch()
    monkeypatch.setattr("offhook.cli.calls.erase.is_person_there", lambda: True)
    for what, gone in ((["--older-than", "1m"], "CA1"), (["--rehearsals"], "rehearsal.wav")):
        result = CliRunner().invoke(app, ["calls", "erase", *what], input=f"{answer}\n")
        assert "To be removed for good:\n" in result.output
        assert (result.exit_code, "Removed:" in result.output) == (int(not is_erased), is_erased)
        assert ("Nothing was erased." in result.output) is not is_erased
        listed = run("list", "--json")[1] + str(list(house.iterdir()))
        assert (gone in listed) is not is_erased


def test_rehearsals_recordings_are_erased_by_themselves(house: Path) -> None:
    (house / "calls").mkdir()
    for name in ("rehearsal.wav", "calls/demo-abc123.wav", "song.wav"):
        (house / name).touch()
    code, said = run("erase", "--rehearsals", "--dry-run", "--json")
    assert (code, json.loads(said)["found"]) == (0, {"rehearsals": 2})
    code, said = run("erase", "--rehearsals", "--older-than", "1d", "--json")
    assert (code, json.loads(said)["removed"]) == (0, {"rehearsals": 0})
    code, said = run("erase", "--rehearsals", "--json")
    assert (code, json.loads(said)["removed"]) == (0, {"rehearsals": 2})
    assert (house / "song.wav").exists()
    assert "CA1" in run("list", "--json")[1]
    assert run("erase", "--rehearsals", "--number", "+12025550142")[0] == 2


def test_without_a_condition_nothing_is_erased(house: Path) -> None:
    code, _ = run("erase")
    assert code == 2
    assert "CA1" in run("list", "--json")[1]


def test_by_age(house: Path) -> None:
    code, done = run("erase", "--older-than", "99999d", "--json")
    assert (code, json.loads(done)["removed"]) == (0, {})
    with opened(house) as engine, engine.connect() as connection:
        ago_ms = database.clock_ms(connection) - WALL
    hours = ago_ms // 3_600_000
    assert run("erase", "--older-than", f"{hours + 1}h")[0] == 0
    assert len(json.loads(run("list", "--json")[1])["calls"]) == 2
    code, done = run("erase", "--older-than", f"{hours}h", "--json")
    assert (code, json.loads(done)["removed"]["calls"]) == (0, 2)


@pytest.mark.parametrize("age", ["90", "d", "-1d", "1.5h", "90 d", "a month", "90D", "999999d", ""])
def test_an_age_that_is_none(house: Path, age: str) -> None:
    code, said = run("erase", f"--older-than={age}")
    assert (code, "E-ERA-04" in said, "90d" in said) == (1, True, True)
    assert "CA1" in run("list", "--json")[1]


@pytest.mark.parametrize("number", ["12025550142", "+1 202 555 0142", "(202) 555-0142", "+0", ""])
def test_a_number_that_is_none_does_not_find_nothing_in_silence(house: Path, number: str) -> None:
    code, said = run("erase", f"--number={number}")
    assert (code, "E-ASK-01" in said, "country code" in said) == (1, True, True)
    assert "CA1" in run("list", "--json")[1]


def test_a_caller_without_a_number_is_found_exactly(house: Path) -> None:
    with opened(house) as engine:
        for number, name in enumerate(("anonymous", "client:ada"), 3):
            whole = ((0, began(from_=name)), (9, ended()))
            apply(engine, lines(*whole, call_sid=f"CA{number}", first=100 * number))
    code, done = run("erase", "--number", "anonymous", "--json")
    assert (code, json.loads(done)["removed"]["calls"]) == (0, 1)
    left = [call["sid"] for call in json.loads(run("list", "--json")[1])["calls"]]
    assert sorted(left) == ["CA1", "CA2", "CA4"]


def test_a_live_call_is_left_alone(house: Path) -> None:
    recordings = house / "offhook-data" / "recordings"
    (recordings / "three.wav").write_bytes(b"RIFF")
    live = ((0, began()), (1, RecordingStarted("three.wav")), (5, WHOLE[4].event))
    with opened(house) as engine:
        apply(engine, lines(*live, call_sid="CA3", first=300))
    number = ("--number", "+12025550142", "--json")
    code, said = run("erase", *number, "--dry-run")
    assert (code, "E-ERA-02" in said, "CA3" in said) == (1, True, True)
    code, said = run("erase", *number)
    told = json.loads(said.splitlines()[0])
    assert (code, told["removed"]["calls"], told["live"]) == (1, 1, ["CA3"])
    assert "E-ERA-02" in said
    assert (recordings / "three.wav").exists()
    with opened(house) as engine:
        assert len([row for row in rows(engine, tables.utterances) if row["call_sid"] == "CA3"])
        apply(engine, lines((9, ended()), call_sid="CA3", first=400))
    assert run("erase", *number)[0] == 0
    assert not (recordings / "three.wav").exists()


def test_a_file_that_cannot_be_deleted_holds_up_nothing_else(house: Path) -> None:
    recordings = house / "offhook-data" / "recordings"
    (recordings / "one.wav").unlink()
    (recordings / "one.wav").mkdir()  # which root cannot unlink either
    code, said = run("erase", "--older-than", "1m", "--json")
    told = json.loads(said.splitlines()[0])
    assert (code, told["removed"]["calls"], told["removed"]["recordings"]) == (1, 2, 1)
    assert told["stuck"] == {"one.wav": os.strerror(errno.EISDIR)}
    assert "E-ERA-03" in said
    assert "one.wav" in said
    assert json.loads(run("list", "--json")[1])["calls"] == []
    # The server deletes it as soon as it can.
    (recordings / "one.wav").rmdir()
    (recordings / "one.wav").write_bytes(b"RIFF")
    with opened(house) as engine:
        assert Retention(
            engine, LocalFiles(recordings), RecordStore("j", Prices()), RetentionSettings()
        ).sweep(WALL) == (0, 1)
        assert rows(engine, tables.unwanted_files) == []
    assert list(recordings.iterdir()) == []


def test_a_recording_whose_name_leads_elsewhere_is_not_touched(
    engine: Engine, tmp_path: Path
) -> None:
    files = two_calls(engine, tmp_path)
    (tmp_path / "elsewhere.wav").write_bytes(b"RIFF")
    apply(engine, lines((3, RecordingStarted("../elsewhere.wav")), first=500))
    removed, stuck = erasing.erase(engine, files, tmp_path / "journal", ["CA1"])
    assert (removed["calls"], list(stuck)) == (1, ["../elsewhere.wav"])
    assert (tmp_path / "elsewhere.wav").exists()
    assert rows(engine, tables.unwanted_files) == []
