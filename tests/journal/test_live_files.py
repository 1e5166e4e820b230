"""The files of live calls: what is left of them after a death, and who takes them."""

import os
import shutil
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.records.test_store import began
from tests.waiting import wait_until

from offhook.call.ending import Ending, Slug
from offhook.events import types as events
from offhook.events.types import CallEvent, Event
from offhook.journal import keeper
from offhook.journal.entries import JournalEntry, Origin, decode
from offhook.journal.keeper import EventJournal
from offhook.journal.live_files import FILE_BYTES, LIVE, LiveCallFiles, LiveLine, held_calls
from offhook.journal.reader import JournalReader

SID = "CA" + "1" * 32
FACTS = b'{"a":1}'


def ended() -> Event:
    return Ending(Slug.CALLER_HUNG_UP).event(5)


def kept(folder: Path) -> list[JournalEntry]:
    """Return the entries of a process's journal."""
    reader = JournalReader(folder)
    try:
        return [decode(number, line) for number, line in reader.read(1000)]
    finally:
        reader.close()


def files(root: Path) -> list[Path]:
    return sorted((root / LIVE).glob("*/*"))


def test_a_file_that_is_handed_over_while_it_is_looked_for_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The look found nothing yet, and removed what came right behind it: the call was lost."""
    with EventJournal(tmp_path, 10**8) as old, EventJournal(tmp_path, 10**8) as new:
        old.keep(SID, FACTS)
        wait_until(lambda: len(files(tmp_path)) == 1)
        open_ = os.open

        def too_early(path: Path, *arguments: int) -> int:
            monkeypatch.setattr(os, "open", open_)
            try:
                return open_(path, *arguments)
            finally:
                assert old.hand_over(SID, new.process_id)

        monkeypatch.setattr(os, "open", too_early)
        assert new.adopt(SID) is None
        adopted = new.adopt(SID)
        assert adopted is not None
        assert adopted.lines == [FACTS]
    assert "cannot be read" not in caplog.text


def test_a_live_call_has_a_file_for_its_owner_until_it_ends(tmp_path: Path) -> None:
    with EventJournal(tmp_path, 10**8) as journal:
        for number in range(20):
            sid = f"CA{number:032x}"
            journal.keep(sid, FACTS)
            journal(CallEvent(sid, 0, began()))
            journal(CallEvent(sid, 1, events.CallerSaid("Hello.")))
        wait_until(lambda: len(files(tmp_path)) == 20)
        wait_until(lambda: all(b"Hello" in path.read_bytes() for path in files(tmp_path)))
        assert held_calls(tmp_path) == {path.name for path in files(tmp_path)}
        assert b"CallBegan" not in files(tmp_path)[0].read_bytes(), "which nothing needs"
        for path in files(tmp_path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        opened = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(20):
            journal(CallEvent(f"CA{number:032x}", 2, ended()))
        wait_until(lambda: files(tmp_path) == [])
        assert len(list(Path("/proc/self/fd").iterdir())) == opened - 20
    assert list((tmp_path / LIVE).iterdir()) == []


def test_the_end_of_a_call_that_the_journal_has_no_room_for_removes_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next process would go on with a call that is over."""
    with EventJournal(tmp_path, 10**8) as journal:
        journal.keep(SID, FACTS)
        wait_until(lambda: len(files(tmp_path)) == 1)
        monkeypatch.setattr(keeper, "WAITING_BYTES", -1)
        journal(CallEvent(SID, 2, ended()))
        assert journal.lost == 1
        wait_until(lambda: files(tmp_path) == [])


@pytest.mark.parametrize("death", ["before the journal", "after it"])
def test_no_line_is_lost_or_doubled_whenever_its_process_dies(tmp_path: Path, death: str) -> None:
    """The other way round, an utterance of which the journal had the end was ended once more."""
    said = events.CallerSaid("Hello.")
    with EventJournal(tmp_path, 10**8) as old:
        old.keep(SID, FACTS)
        old(CallEvent(SID, 1, events.CallerSaid("Before.")))
        wait_until(lambda: files(tmp_path) and b"Before" in files(tmp_path)[0].read_bytes())
        wait_until(lambda: len(kept(old.folder)) == 1)
    with EventJournal(tmp_path, 10**8) as dying:
        taken = dying.take_over()  # its own lines come behind those of another process
        append = dying._append_waiting
        hangs, has_written = threading.Event(), threading.Event()

        def dies() -> bool:
            if death == "after it":
                append()
            has_written.set()
            hangs.wait()
            return False

        dying._append_waiting = dies  # type: ignore[method-assign]
        dying(CallEvent(SID, 2, said))
        assert has_written.wait(60)
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("copy"))
        dying._append_waiting = append  # type: ignore[method-assign]
        hangs.set()
    assert [file.lines[0] for file in taken] == [FACTS]
    with EventJournal(copy, 10**8) as heir:
        (file,) = heir.take_over()
        assert decode(0, file.lines[-1]).event == said
        expected = 1 if death == "before the journal" else 0
        wait_until(lambda: len(kept(heir.folder)) == expected)
        own, inherited = kept(copy / dying.process_id), kept(heir.folder)
    assert [entry.event for entry in own + inherited] == [said]
    for entry in inherited:
        assert entry.origin == Origin(dying.process_id, dying._writer.first)


def test_a_line_that_comes_while_files_are_written_waits_for_them(tmp_path: Path) -> None:
    """It was in the journal at once, and in the file 40 ms later: a death in between doubled it."""
    with EventJournal(tmp_path, 10**8) as journal:
        journal.keep(SID, FACTS)
        wait_until(lambda: files(tmp_path) != [])
        write, comes = journal._live_files.write, iter(["Second.", "Third."])

        def slow(lines: Iterable[LiveLine]) -> set[str]:
            over = write(lines)
            for text in comes:
                journal(CallEvent(SID, 2, events.CallerSaid(text)))
            return over

        journal._live_files.write = slow  # type: ignore[method-assign]
        append, in_both = journal._append_waiting, list[bool]()

        def look() -> bool:
            appended = append()
            in_file = files(tmp_path)[0].read_bytes()
            in_both.extend(words_of(entry).encode() in in_file for entry in kept(journal.folder))
            return appended

        journal._append_waiting = look  # type: ignore[method-assign]
        journal(CallEvent(SID, 1, events.CallerSaid("First.")))
        wait_until(lambda: len(in_both) >= 3)
    assert all(in_both)
    assert [words_of(entry) for entry in kept(journal.folder)] == ["First.", "Second.", "Third."]


def words_of(entry: JournalEntry) -> str:
    assert isinstance(entry.event, events.CallerSaid)
    return entry.event.text


def test_a_call_whose_end_is_not_in_the_journal_yet_has_it_in_its_file(tmp_path: Path) -> None:
    made = LiveCallFiles(tmp_path, "a" * 32)
    assert made.write([LiveLine(SID, FACTS, begins=True)]) == set()
    assert made.write([LiveLine(SID, b"[1]"), LiveLine(SID, None), LiveLine(SID, b"[2]")]) == {SID}
    (path,) = files(tmp_path)
    assert path.read_bytes() == FACTS + b"\n[1]\n"
    back = [LiveLine(SID, None), LiveLine(SID, b"{}", begins=True), LiveLine(SID, b"[3]")]
    assert made.write(back) == set()
    assert path.read_bytes() == b"{}\n[3]\n"
    made.remove(SID)
    assert files(tmp_path) == []


def test_a_call_that_ends_at_once_and_one_that_was_refused_leave_nothing(tmp_path: Path) -> None:
    made = LiveCallFiles(tmp_path, "a" * 32)
    made.write([LiveLine(SID, FACTS, begins=True), LiveLine(SID, None), LiveLine(SID, b"[]")])
    made.write([LiveLine("CA0/../x", FACTS, begins=True), LiveLine(SID, None)])
    assert files(tmp_path) == []


@pytest.mark.parametrize("length", range(16))
def test_whole_lines_of_a_torn_file_are_taken_and_it_is_written_on(
    tmp_path: Path, length: int
) -> None:
    whole = FACTS + b"\n" + b"[1,2]\n"
    folder = tmp_path / LIVE / ("d" * 32)
    folder.mkdir(parents=True)
    (folder / SID).write_bytes(whole[:length])
    made = LiveCallFiles(tmp_path, "a" * 32)
    (taken,) = made.take_over()
    assert taken.lines == [FACTS, b"[1,2]"][: whole[:length].count(b"\n")]
    made.write([LiveLine(SID, b"[3]")])
    (path,) = files(tmp_path)
    assert path.read_bytes().split(b"\n") == [*taken.lines, b"[3]", b""]
    assert not folder.exists()


def test_of_two_processes_one_takes_a_file_and_that_of_a_living_one_is_left_alone(
    tmp_path: Path,
) -> None:
    with EventJournal(tmp_path, 10**8) as living:
        living.keep(SID, FACTS)
        wait_until(lambda: len(files(tmp_path)) == 1)
        first = LiveCallFiles(tmp_path, "a" * 32)
        assert first.take_over() == []
    second = LiveCallFiles(tmp_path, "b" * 32)
    taken = first.take_over() + second.take_over()
    assert [each.call_sid for each in taken] == [SID]


def test_a_file_that_cannot_be_used_keeps_no_other_out(tmp_path: Path) -> None:
    folder = tmp_path / LIVE / ("d" * 32)
    (folder / "CA" / "folder").mkdir(parents=True)
    (folder / SID).write_bytes(FACTS + b"\n")
    (folder / "no CallSid").write_bytes(FACTS + b"\n")
    (folder / f"CA{'2' * 32}").symlink_to("/etc/passwd")
    with (folder / f"CA{'3' * 32}").open("wb") as large:
        large.truncate(FILE_BYTES + 1)
    taken = LiveCallFiles(tmp_path, "a" * 32).take_over()
    assert [each.call_sid for each in taken] == [SID]


def test_a_file_that_grows_too_large_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = LiveCallFiles(tmp_path, "a" * 32)
    made.write([LiveLine(SID, FACTS, begins=True)])
    for _ in range(5):
        made.write([LiveLine(SID, bytes(FILE_BYTES // 4))])
    assert files(tmp_path) == []
    assert caplog.text.count("E-REC-07") == 1
    # Its facts have changed, and another process would know of no conversation.
    made.write([LiveLine(SID, FACTS, begins=True), LiveLine(SID, b"line")])
    assert files(tmp_path) == []
    made.write([LiveLine(SID, None)])
    made.write([LiveLine(SID, FACTS, begins=True)])
    assert len(files(tmp_path)) == 1, "it was over, and has come back"
    made.write([LiveLine(SID, bytes(FILE_BYTES)), LiveLine(SID, None)])
    made.write([LiveLine(SID, FACTS, begins=True)])
    assert len(files(tmp_path)) == 1, "it was over as its file was given up"


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    with EventJournal(tmp_path, 10**8) as journal:
        journal.keep(SID, FACTS)
        journal(CallEvent(SID, 7, events.CallerSaid("Grüß\n Gott")))
    (taken,) = LiveCallFiles(tmp_path, "a" * 32).take_over()
    assert taken.lines[0] == FACTS
    assert decode(0, taken.lines[1]).event == events.CallerSaid("Grüß\n Gott")


def test_a_file_that_was_handed_over_is_whole_and_is_taken_once(tmp_path: Path) -> None:
    with EventJournal(tmp_path, 10**8) as old, EventJournal(tmp_path, 10**8) as new:
        for number in range(2):
            sid = f"CA{number:032x}"
            old.keep(sid, FACTS)
            old(
                CallEvent(sid, 1, events.CallerSaid("Hello."))
            )  # it waits, and nobody has written it
            assert old.hand_over(sid, new.process_id)
        new.keep(SID, FACTS)  # a call of its own, whose file is open
        adopted = new.adopt(f"CA{0:032x}")
        assert adopted is not None
        assert b"Hello" in adopted.lines[-1]
        assert new.adopt(adopted.call_sid) is None
        assert [file.call_sid for file in new.take_over()] == [f"CA{1:032x}"]
        assert new.take_over() == []
        assert not old.hand_over(SID, new.process_id)
        assert not old.hand_over(f"CA{0:032x}", "f" * 32)
