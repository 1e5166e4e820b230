"""The subscriber of a call process: what it is told is on the disk soon, whatever the disk does."""

import logging
import os
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.waiting import wait_until

from offhook.errors import UserError
from offhook.events import types as events
from offhook.events.types import CallEvent
from offhook.journal import keeper, segments
from offhook.journal.entries import InheritedLine, JournalEntry, decode
from offhook.journal.folders import machine_id, process_folders, read_process_info
from offhook.journal.keeper import EventJournal
from offhook.journal.reader import JournalReader
from offhook.journal.segments import SEGMENT_BYTES

LIMIT = 16_000_000
_T = TypeVar("_T")


def said(text: str) -> CallEvent:
    return CallEvent("CA0", 1, events.CallerSaid(text))


def texts(reader: JournalReader) -> list[str]:
    found = []
    while lines := reader.read(1000):
        for number, line in lines:
            event = decode(number, line).event
            assert isinstance(event, events.CallerSaid)
            found.append(event.text)
    return found


def more(reader: JournalReader, found: list[str]) -> list[str]:
    """Add what is new, and return all."""
    found += texts(reader)
    return found


def test_inherited_lines_come_before_what_the_heir_tells(tmp_path: Path) -> None:
    """In their order, and with the process and the number that they had."""
    with EventJournal(tmp_path / "dead", LIMIT) as dead, EventJournal(tmp_path, LIMIT) as heir:
        dead(said("one"))
        dead(said("two"))
        theirs = JournalReader(dead.folder)
        lines: list[InheritedLine] = []
        wait_until(lambda: len(grown(lines, of_process(dead, theirs))) == 2)
        heir.inherit(lines)
        heir(said("three"))
        reader = JournalReader(heir.folder)
        found: list[JournalEntry] = []
        wait_until(lambda: len(grown(found, entries(reader))) == 3)
    assert [entry.event for entry in found] == [
        events.CallerSaid(t) for t in ("one", "two", "three")
    ]
    first, second = lines[0].number, lines[1].number
    origins = [(dead.process_id, first), (dead.process_id, second), None]
    assert [entry.origin for entry in found] == origins


def grown(found: list[_T], new: list[_T]) -> list[_T]:
    found += new
    return found


def of_process(journal: EventJournal, reader: JournalReader) -> list[InheritedLine]:
    return [InheritedLine(journal.process_id, *line) for line in reader.read(1000)]


def entries(reader: JournalReader) -> list[JournalEntry]:
    return [decode(number, line) for number, line in reader.read(1000)]


def test_what_it_is_told_is_on_the_disk_soon(tmp_path: Path) -> None:
    with EventJournal(tmp_path, LIMIT) as journal:
        assert journal.machine_id == machine_id(tmp_path)
        assert process_folders(tmp_path) == [journal.folder]
        reader = JournalReader(journal.folder)
        found: list[str] = []
        for number in range(100):
            journal(said(f"line {number}"))
        wait_until(lambda: len(more(reader, found)) == 100)
        assert found == [f"line {number}" for number in range(100)]
        assert journal.state == "ok"
        assert journal.waiting == 100
        assert reader.first >> 12 >= journal.started_ms
        journal(said("last"))
    assert texts(reader) == ["last"], "leaving writes what is left"


def test_how_far_the_follower_is_shows(tmp_path: Path) -> None:
    with EventJournal(tmp_path, LIMIT) as journal:
        assert (journal.waiting, journal.lag_ms) == (0, 0)
        journal(said("one"))
        wait_until(lambda: journal.lag_ms > 0)
        reader = JournalReader(journal.folder, follows=True)
        assert texts(reader) == ["one"]
        journal(said("two"))
        assert journal.waiting == 2
        reader.done(reader.first)
        wait_until(lambda: journal.waiting == 1)
        assert texts(reader) == ["two"]
        reader.done(reader.first + 1)
        wait_until(lambda: journal.waiting == 0)
        wait_until(lambda: journal.lag_ms == 0)


def test_beyond_the_limit_lines_wait_in_memory_and_then_they_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "WAITING_BYTES", 8_000_000)
    with EventJournal(tmp_path, LIMIT) as journal:
        told = 0
        while not journal.lost:
            journal(said(f"{told:06}" + "x" * 500_000))
            told += 1
            wait_until(lambda: journal._problem or not (journal._told_lines or journal._lines))
        assert 9 + 8 < told / 2 < 16 + 8 + 2, "MB: what segments hold, and memory"
        wait_until(lambda: journal.state == "losing lines")
        assert "E-REC-06 the journal takes no lines" in caplog.text
        wait_until(lambda: journal.filled > 0.6)
        size = sum(path.stat().st_size for path in journal.folder.glob("*.lines"))
        assert size <= LIMIT
        lost = journal.lost
        # The database comes back: all but what was lost is there, in order.
        reader = JournalReader(journal.folder, follows=True)
        found: list[str] = []

        def all_there() -> bool:
            found.extend(text[:6] for text in texts(reader))
            if reader.passed >= reader.first:
                reader.done(reader.passed)
            return len(found) >= told - lost

        wait_until(all_there)
        assert found == [f"{number:06}" for number in range(told - lost)]
        wait_until(lambda: journal.state == "ok")
        journal(said("and on"))
        wait_until(lambda: texts(reader) == ["and on"])
        assert journal.lost == lost


def test_a_disk_that_fails_for_a_while_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with EventJournal(tmp_path, LIMIT) as journal:
        journal(said("before"))
        reader = JournalReader(journal.folder)
        found: list[str] = []
        wait_until(lambda: len(more(reader, found)) == 1)
        pwrite = os.pwrite

        def fails(fd: int, data: bytes, at: int) -> int:
            if at >= segments.BEGIN:
                pwrite(fd, data[:30], at)
                raise OSError(5, "Input/output error")
            return pwrite(fd, data, at)

        with monkeypatch.context() as broken:
            broken.setattr(os, "pwrite", fails)
            journal(said("meanwhile"))
            wait_until(lambda: journal.state == "the disk takes no lines")
            journal(said("still"))
            assert texts(reader) == []
        wait_until(lambda: journal.state == "ok")
        wait_until(lambda: len(more(reader, found)) == 3)
        assert found == ["before", "meanwhile", "still"]
        assert journal.lost == 0
        assert reader.lost == 0
        assert caplog.text.count("the journal takes no lines") == 1


def test_a_fault_with_one_batch_keeps_no_other_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    with EventJournal(tmp_path, LIMIT) as journal:
        journal._lines.extend([b"two\nlines", b"of one batch"])
        journal._told += 2
        journal._thread.wake()
        wait_until(lambda: journal.lost == 2)
        journal(said("next"))
        reader = JournalReader(journal.folder)
        found: list[str] = []
        wait_until(lambda: more(reader, found) == ["next"])
        assert journal.state == "ok"
    assert "E-REC-06 the journal takes no lines (ValueError): 2 are lost" in caplog.text


def test_a_dead_thread_shows(tmp_path: Path) -> None:
    with EventJournal(tmp_path, LIMIT) as journal:
        journal._thread.stop(30)
        journal._thread._stopping.clear()
        assert journal.state == "the journal thread is dead"


def test_it_tells_other_processes_of_itself(tmp_path: Path) -> None:
    with EventJournal(tmp_path, LIMIT) as journal:
        assert read_process_info(journal.folder) is None
        journal.announce("1.2.3", "/run/control", 5005, "https://voice.example.com")
        info = read_process_info(journal.folder)
        assert info is not None
        assert (info.pid, info.version, info.control) == (os.getpid(), "1.2.3", "/run/control")
        assert (info.port, info.public_url) == (5005, "https://voice.example.com")
        (journal.folder / "process.json").write_text("{")
        assert read_process_info(journal.folder) is None


def test_two_that_start_at_once_share_the_folder_and_no_number(tmp_path: Path) -> None:
    with EventJournal(tmp_path, LIMIT) as one, EventJournal(tmp_path, LIMIT) as other:
        assert one.machine_id == other.machine_id
        assert abs(one._writer.first - other._writer.first) >= 1 << 22
        assert max(one._writer.first, other._writer.first) < 1 << 54


def test_little_space_is_taken_at_the_start(tmp_path: Path) -> None:
    with EventJournal(tmp_path, LIMIT) as journal:
        taken = [path.stat().st_size for path in journal.folder.glob("*.lines")]
        assert taken == [SEGMENT_BYTES] * 3
    assert process_folders(tmp_path) == []


def test_a_folder_that_cannot_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"E-REC-01.*12 MB"):
        EventJournal(tmp_path / "file", LIMIT)

    def full(path: Path) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segments, "create", full)
    with pytest.raises(UserError, match=r"E-REC-01.*No space"):
        EventJournal(tmp_path / "root", LIMIT)
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["id"]
