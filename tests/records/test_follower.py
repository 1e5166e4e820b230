"""The follower: lines of every process of a folder come into the database once, and in order."""

import struct
import threading
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Engine
from tests.records.test_record import Calls, said
from tests.records.test_store import began, ended, rows
from tests.waiting import wait_until

from offhook.config import Prices
from offhook.errors import UserError
from offhook.events import types as events
from offhook.events.types import CallEvent
from offhook.journal.entries import JournalEntry, encode
from offhook.journal.folders import make_machine_id, process_folders
from offhook.journal.keeper import EventJournal
from offhook.journal.live import LiveFollower
from offhook.journal.live_files import held_calls
from offhook.records import database, tables
from offhook.records import follower as follower_module
from offhook.records.follower import RecordFollower

LIMIT = 10**9


def follower_of(engine: Engine, root: Path, **how: object) -> RecordFollower:
    return RecordFollower(engine, root, Prices(), **how)  # type: ignore[arg-type]


def test_all_processes_of_a_folder_are_followed_at_once(engine: Engine, tmp_path: Path) -> None:
    root = tmp_path / "journal"
    with EventJournal(root, LIMIT) as one, EventJournal(root, LIMIT) as other:
        assert one.machine_id == other.machine_id
        assert len(process_folders(root)) == 2
        with follower_of(engine, root) as follower:
            first, second = Calls(one, 1), Calls(other, 2)
            for _ in range(5):
                first.say(10)
                second.say(10)
                wait_until(lambda: one.waiting == other.waiting == 0)
            assert set(said(engine)) == set(first.said) | set(second.said)
            assert follower.failing_since is None
            assert one.lag_ms == 0


def test_the_calls_of_a_dead_process_end_while_another_goes_on(
    engine: Engine, tmp_path: Path
) -> None:
    root = tmp_path / "journal"
    dead = EventJournal(root, LIMIT)
    told_ends: list[CallEvent] = []
    following = follower_of(engine, root, on_orphaned=told_ends.extend)
    with EventJournal(root, LIMIT) as alive, following:
        with dead:
            Calls(lambda told: dead(CallEvent("CA8", told.at_ms, told.event)), 1).say(3)
            calls = Calls(alive, 1)
            wait_until(lambda: dead.waiting == alive.waiting == 0)
            assert {row["slug"] for row in rows(engine, tables.calls)} == {None}
        wait_until(lambda: len(process_folders(root)) == 1)
        slugs = {row["sid"]: row["slug"] for row in rows(engine, tables.calls)}
        assert slugs == {"CA8": "server_died", "CA0": None}
        (end,) = told_ends
        assert isinstance(end.event, events.CallEnded)
        assert (end.call_sid, end.event.slug) == ("CA8", "server_died")
        wait_until(lambda: len(rows(engine, tables.applied)) == 1)
        calls.end()
    assert process_folders(root) != []
    with follower_of(engine, root):
        wait_until(lambda: process_folders(root) == [])
    assert {row["slug"] for row in rows(engine, tables.calls)} == {"server_died", "caller_hung_up"}


LIVE_SID = "CA" + "1" * 32


def died_under_a_call(root: Path, *more: events.Event) -> None:
    with EventJournal(root, LIMIT) as journal:
        tell_of_a_call(journal, *more)


def tell_of_a_call(journal: EventJournal, *more: events.Event) -> None:
    journal.keep(LIVE_SID, b"{}")
    journal(CallEvent(LIVE_SID, 0, began()))
    for event in (*more, events.CallerSaid("Hello.")):
        journal(CallEvent(LIVE_SID, 10, event))


def test_a_call_that_another_process_takes_over_is_its_own_from_then_on(
    engine: Engine, tmp_path: Path
) -> None:
    root = tmp_path / "journal"
    died_under_a_call(root)
    (dead,) = process_folders(root)
    with follower_of(engine, root):
        wait_until(lambda: len(rows(engine, tables.calls)) == 1)
        with EventJournal(root, LIMIT) as next_:
            assert [each.call_sid for each in next_.take_over()] == [LIVE_SID]
            next_(CallEvent(LIVE_SID, 900, events.CallTakenOver(880)))
            wait_until(lambda: not dead.exists())
            (row,) = rows(engine, tables.calls)
            assert (row["process"], row["slug"]) == (next_.process_id, None)
            next_(CallEvent(LIVE_SID, 1000, ended()))
            wait_until(lambda: next_.waiting == 0)
            (row,) = rows(engine, tables.calls)
            assert row["slug"] == "caller_hung_up"


def test_a_call_that_nobody_takes_over_ends_after_a_while(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "journal"
    died_under_a_call(root)
    with follower_of(engine, root):
        wait_until(lambda: rows(engine, tables.applied) != [])
        (row,) = rows(engine, tables.calls)
        assert row["slug"] is None, "its file is there"
        monkeypatch.setattr(follower_module, "UNTAKEN_S", 0)
        wait_until(lambda: process_folders(root) == [])
    (row,) = rows(engine, tables.calls)
    assert (row["slug"], row["duration_ms"]) == ("server_died", 10)
    assert held_calls(root) == set()


def has_gone_on(root: Path) -> None:
    """What another process does with the call from its start to the call's end."""
    with EventJournal(root, LIMIT) as next_:
        assert [each.call_sid for each in next_.take_over()] == [LIVE_SID]
        next_(CallEvent(LIVE_SID, 900, events.CallTakenOver(880)))
        next_(CallEvent(LIVE_SID, 901, SPOKEN))
        next_(CallEvent(LIVE_SID, 1000, ended()))


SPOKEN: Final = events.AgentSaid("One", "One two.", 300, True, 20)


def one_ending_and_one_utterance(engine: Engine) -> None:
    (row,) = rows(engine, tables.calls)
    assert row["slug"] == "caller_hung_up"
    kinds = Counter(row["kind"] for row in rows(engine, tables.events))
    assert kinds["AgentSaid"] == kinds["CallTakenOver"] == 1


def test_a_call_that_is_taken_over_and_over_before_it_is_looked_for_is_not_ended_here(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when an upgrade, or a database that is locked, holds a follower that has just started."""
    root = tmp_path / "journal"
    died_under_a_call(root, events.AgentAnnounced(1, "One two."))
    upgrade = database.upgrade

    def takes_its_time(*given: Any) -> None:
        upgrade(*given)
        if held_calls(root):
            has_gone_on(root)

    monkeypatch.setattr(database, "upgrade", takes_its_time)
    with follower_of(engine, root):
        wait_until(lambda: process_folders(root) == [])
    one_ending_and_one_utterance(engine)


def test_a_call_that_begins_after_the_files_were_looked_at_is_not_ended_when_its_process_dies(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "journal"
    short = EventJournal(root, LIMIT)
    look, looks = RecordFollower._held, 0

    def looked(self: RecordFollower) -> set[str]:
        nonlocal looks
        looks += 1
        held = look(self)
        if looks == 3:
            with short:
                tell_of_a_call(short, events.AgentAnnounced(1, "One two."))
        elif looks == 6:
            has_gone_on(root)
        return held

    monkeypatch.setattr(RecordFollower, "_held", looked)
    with follower_of(engine, root):
        wait_until(lambda: looks > 6 and process_folders(root) == [])
    one_ending_and_one_utterance(engine)


def test_what_a_later_process_tells_of_a_call_waits_for_its_beginning(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much an earlier process left: a line without its call would be dropped."""
    root = tmp_path / "journal"
    with EventJournal(root, LIMIT) as earlier:
        calls = Calls(earlier, 1)
        calls.say(6000)
    with EventJournal(root, LIMIT) as later:
        later(CallEvent("CA0", 7000, events.CallerSaid("from the later process")))
        later(CallEvent("CA0", 7001, ended()))
    with follower_of(engine, root):
        wait_until(lambda: process_folders(root) == [])
    assert set(said(engine)) == {*calls.said, ("CA0", "from the later process")}
    assert [row["slug"] for row in rows(engine, tables.calls)] == ["caller_hung_up"]


def test_a_second_one_is_refused_or_waits(engine: Engine, tmp_path: Path) -> None:
    root = tmp_path / "journal"
    with follower_of(engine, root):
        with pytest.raises(UserError, match="E-REC-02"):
            follower_of(engine, root)
        standby = follower_of(engine, root, wait=True)
        assert not standby.is_following
        standby.__enter__()
        assert not standby.is_following
    with EventJournal(root, LIMIT) as journal:
        calls = Calls(journal)
        wait_until(lambda: standby.is_following and journal.waiting == 0)
        calls.say(3)
        wait_until(lambda: journal.waiting == 0)
        assert standby.failing_since is None
    standby.stop()
    assert set(said(engine)) == set(calls.said)


def test_the_journal_of_an_earlier_version_is_taken_over(engine: Engine, tmp_path: Path) -> None:
    root = tmp_path / "journal"
    owner = make_machine_id(root)
    written: list[bytes] = []
    calls = Calls(lambda told: written.append(encode(told, 1_795_000_000_000)))
    calls.say(20)
    segment = b"offhook journal 1\n" + owner.encode() + struct.pack("<Q", 1 << 20)
    segment = segment.ljust(64, b"\0")
    for number, line in enumerate(written, 1 << 20):
        segment += struct.pack("<II", len(line), zlib.crc32(line, number)) + line
    (root / "0001.lines").write_bytes(segment + bytes(999))
    (root / "0002.lines").write_bytes(bytes(999))
    (root / "lock").touch()
    with follower_of(engine, root):
        assert said(engine) == calls.said
        assert {row["slug"] for row in rows(engine, tables.calls)} == {"server_died"}
        assert [path.name for path in root.iterdir()] == ["id"]
    with follower_of(engine, root):
        assert said(engine) == calls.said


def test_a_backlog_is_written_in_rounds_while_others_are_looked_for(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.records.follower.ROUND_BATCHES", 2)
    monkeypatch.setattr("offhook.records.process_lines.BATCH_LINES", 50)
    root = tmp_path / "journal"
    with EventJournal(root, LIMIT) as dead:
        calls = Calls(dead, 1)
        calls.say(1000)
        calls.end()
    with follower_of(engine, root) as follower:
        assert follower.settled.is_set(), "not before the lines of the dead are there"
        assert said(engine) == calls.said
        wait_until(lambda: process_folders(root) == [])
    assert {row["slug"] for row in rows(engine, tables.calls)} == {"caller_hung_up"}


def test_stopping_leaves_no_words_for_live_events(engine: Engine, tmp_path: Path) -> None:
    root = tmp_path / "journal"
    go = threading.Event()

    def hang(process_id: str, entry: JournalEntry) -> None:
        go.wait(60)

    live = LiveFollower(root, hang)
    with live:
        with follower_of(engine, root, live=live), EventJournal(root, LIMIT) as journal:
            Calls(journal, 1).say(3)
        assert process_folders(root) == []
        go.set()


# --- live events ---------------------------------------------------------------------------------


class Watcher:
    """Someone who is told of live events."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, process_id: str, entry: JournalEntry) -> None:
        if isinstance(entry.event, events.CallerSaid):
            self.told.append(entry.event.text)
            if entry.event.text == "fault":
                raise ValueError


def test_live_events_come_without_any_database(tmp_path: Path) -> None:
    root = tmp_path / "journal"
    watcher = Watcher()
    with EventJournal(root, LIMIT) as before:
        before(CallEvent("CA0", 1, events.CallerSaid("before")))
        wait_until(lambda: not (before._told_lines or before._lines))
        wait_until(lambda: before._writer.next > before._writer.first)
        with LiveFollower(root, watcher) as live:
            wait_until(lambda: live.passed(before.process_id) >= before._writer.first)
            wanted = [f"line {number}" for number in range(50)]
            with EventJournal(root, LIMIT) as after:
                for text in wanted:
                    (before if len(text) % 2 else after)(
                        CallEvent("CA0", 1, events.CallerSaid(text))
                    )
                after(CallEvent("CA0", 1, events.CallerSaid("fault")))
                before(CallEvent("CA0", 1, events.CallerSaid("last")))
                wait_until(lambda: len(watcher.told) == 52)
            assert sorted(watcher.told) == sorted([*wanted, "fault", "last"])


def test_words_are_kept_until_live_events_have_them(engine: Engine, tmp_path: Path) -> None:
    """A database that is faster than the live events takes none of them away."""
    root = tmp_path / "journal"
    go, watcher = threading.Event(), Watcher()

    def slowly(process_id: str, entry: JournalEntry) -> None:
        assert go.wait(60)
        watcher(process_id, entry)

    live = LiveFollower(root, slowly)
    with live, EventJournal(root, LIMIT) as journal, follower_of(engine, root, live=live):
        calls = Calls(journal, 1)
        calls.say(20)
        wait_until(lambda: len(said(engine)) == 20)
        go.set()
        wait_until(lambda: journal.waiting == 0)
        wait_until(lambda: len(watcher.told) == 20)
    assert watcher.told == [text for _, text in calls.said]


def test_live_events_that_do_not_come_along_keep_no_words_for_ever(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.records.follower.UNTOLD_S", 0.2)
    root = tmp_path / "journal"
    go = threading.Event()

    def hang(process_id: str, entry: JournalEntry) -> None:
        go.wait(60)

    live = LiveFollower(root, hang)
    with live, EventJournal(root, LIMIT) as journal, follower_of(engine, root, live=live):
        Calls(journal, 1).say(20)
        wait_until(lambda: journal.waiting == 0)
        go.set()
