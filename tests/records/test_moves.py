"""Calls that move between nodes: one record, in the order of the call, nothing stored twice."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from tests.fleet.directories import fleet_on
from tests.fleet.test_places import KEY, Place
from tests.records.test_store import PRICES, WALL, began, call, ended, rows

from offhook.calls import fleet_places
from offhook.config import RetentionSettings
from offhook.events import types as events
from offhook.events.types import CallEvent, Event
from offhook.journal.entries import InheritedLine, JournalEntry, decode, encode
from offhook.journal.live_files import LiveCallFile
from offhook.recordings.files import LocalFiles
from offhook.records import call_record, tables
from offhook.records.erasing import erase
from offhook.records.live_calls import live_entries
from offhook.records.models import EventRecord, UtteranceRecord
from offhook.records.retention import Retention
from offhook.records.store import RecordStore

SID = "CA1"
A, B, C = ("a" * 32, "b" * 32, "c" * 32)
HOUR_MS = 3_600_000


def lines(process_first: int, *happened: tuple[int, Event], wall: int = WALL) -> list[JournalEntry]:
    return [
        JournalEntry(number, SID, at_ms, wall + at_ms, event)
        for number, (at_ms, event) in enumerate(happened, process_first)
    ]


def inherited(of: str, entries: Sequence[JournalEntry], first: int) -> list[JournalEntry]:
    """Lines of another process as they are in the heir's journal, from `first` on."""
    found = []
    for number, entry in enumerate(entries, first):
        line = encode(CallEvent(SID, entry.at_ms, entry.event), entry.wall_ms)
        found.append(decode(number, InheritedLine(of, entry.number, line).encoded()))
    return found


# B's clock is an hour behind A's, and B started long before: by number and by clock its lines are
# older than A's. So are C's.
OF_A = lines(
    9000,
    (0, began()),
    (200, events.CallStarted()),
    (1000, events.CallerSaid("Hello?", 500)),
    (2000, events.AgentSaid("Good day.", "Good day.", 900, False, 1100)),
    (2500, events.KeyPressed("7")),
)
LATE_OF_A = lines(
    9005,
    (5000, events.CallerSaid("Are you there?", 4500)),
    (6000, events.AgentDisconnected(5900)),
    (6000, ended(duration_ms=6000)),
)
OF_B = lines(
    500,
    (3000, events.CallTakenOver(500, 2, "b")),
    (4000, events.CallerBack()),
    (7000, events.CallerSaid("It went on.", 6500)),
    wall=WALL - HOUR_MS,
)
OF_C = lines(
    100,
    (8000, events.CallTakenOver(500, 3, "c")),
    (9000, events.CallerSaid("And on.", 8500)),
    (9500, events.AgentDisconnected(1000)),
    (9600, ended(duration_ms=9600)),
    wall=WALL - 2 * HOUR_MS,
)
NODES = {A: "a", B: "b", C: "c"}
JOURNALS = {
    A: OF_A,
    B: [*inherited(A, OF_A[:4], 490), *OF_B],
    C: [*inherited(A, OF_A[:4], 80), *inherited(B, OF_B, 90), *OF_C],
}


def store_of(process: str) -> RecordStore:
    return RecordStore(
        f"machine {NODES[process]}",
        PRICES,
        process_id=process,
        node=NODES[process],
        after_call=True,
    )


def apply(engine: Engine, process: str, entries: Sequence[JournalEntry]) -> int:
    """Store lines of a process; return how many were refused."""
    with engine.begin() as connection:
        store = store_of(process)
        store.apply(connection, entries, entries[-1].number)
    return store.refused


def said(engine: Engine) -> list[str]:
    """What was said, as the record of the call has it."""
    with engine.connect() as connection:
        entries = call_record.shown(connection, SID).timeline
    return [entry.text for entry in entries if isinstance(entry, UtteranceRecord)]


def stored(engine: Engine) -> list[tuple[int, str]]:
    """Every event of the call in the order of the record."""
    found = tables.events.c
    with engine.connect() as connection:
        query = select(found.at_ms, found.kind).where(found.call_sid == SID).order_by(found.line)
        return [(row.at_ms, row.kind) for row in connection.execute(query)]


ALL_SAID = ["Hello?", "Good day.", "It went on.", "And on."]


def whole(engine: Engine) -> tuple[Any, ...]:
    """Everything that the database has of the call."""
    found = call(engine)
    assert (found["process"], found["node"]) == (C, "c")
    return (
        stored(engine),
        said(engine),
        {name: value for name, value in found.items() if name != "journal"},
        rows(engine, tables.utterances),
        rows(engine, tables.measures),
        len(rows(engine, tables.jobs)),
    )


@pytest.fixture
def right(engine: Engine) -> tuple[Any, ...]:
    """The record as it is when all goes well, and each line comes when it was written."""
    for process in (A, B, C):
        assert apply(engine, process, JOURNALS[process]) == 0
    result = whole(engine)
    with engine.begin() as connection:
        connection.execute(tables.calls.delete())
        connection.execute(tables.applied.delete())
    return result


@pytest.mark.parametrize("order", [*permutations((A, B, C))])
def test_the_record_is_the_same_in_whichever_order_the_nodes_journals_come(
    engine: Engine, right: tuple[Any, ...], order: Sequence[str]
) -> None:
    """The rows of A come last when its disk comes back, and not at all before."""
    for process in order:
        assert apply(engine, process, JOURNALS[process]) == 0
    assert whole(engine) == right
    assert said(engine) == ALL_SAID
    assert [kind for _, kind in stored(engine)] == [
        type(entry.event).__name__ for entry in (*OF_A, *OF_B, *OF_C)
    ]
    assert call(engine)["turns"] == 3
    assert call(engine)["slug"] == "caller_hung_up"


@pytest.mark.parametrize("order", [*permutations((A, B, C))])
def test_late_lines_of_a_fenced_process_are_refused_and_counted(
    engine: Engine, right: tuple[Any, ...], order: Sequence[str]
) -> None:
    """Its end, too, which would be that of a call that goes on."""
    refused = 0
    for process in order:
        late = LATE_OF_A if process == A else []
        refused += apply(engine, process, [*JOURNALS[process], *late])
    assert refused == len(LATE_OF_A)
    assert whole(engine) == right


def test_a_node_that_never_comes_back_takes_nothing_with_it_that_was_inherited(
    engine: Engine,
) -> None:
    apply(engine, C, JOURNALS[C])
    assert said(engine) == ALL_SAID
    found = call(engine)
    assert (found["agent"], found["from_number"]) == ("front-desk", "+12025550142")
    assert found["started_ms"] == WALL


def test_a_call_that_was_thought_dead_goes_on_where_it_was_taken_over(engine: Engine) -> None:
    apply(engine, A, OF_A)
    with engine.begin() as connection:
        assert [end.call_sid for end in store_of(A).end_orphaned(connection)] == [SID]
    assert len(rows(engine, tables.measures)) == len(rows(engine, tables.jobs)) == 1
    apply(engine, B, JOURNALS[B])
    assert (call(engine)["slug"], call(engine)["duration_ms"]) == (None, None)
    assert rows(engine, tables.measures) == rows(engine, tables.jobs) == []
    apply(engine, C, JOURNALS[C])
    assert call(engine)["duration_ms"] == 9600
    assert len(rows(engine, tables.measures)) == len(rows(engine, tables.jobs)) == 1


def test_an_erased_call_does_not_come_back_with_the_disk_of_a_node(
    engine: Engine, tmp_path: Path
) -> None:
    """Neither with its first node's, nor with that of one which had inherited it."""
    apply(engine, C, JOURNALS[C])
    files = LocalFiles(tmp_path / "recordings")
    assert erase(engine, files, tmp_path / "journal", [SID]).removed["calls"] == 1
    for process in (A, B):
        apply(engine, process, JOURNALS[process])
    assert rows(engine, tables.calls) == rows(engine, tables.events) == []


def test_texts_that_come_after_their_age_are_erased_as_well(engine: Engine, tmp_path: Path) -> None:
    apply(engine, C, JOURNALS[C])
    kept = Retention(
        engine,
        LocalFiles(tmp_path / "recordings"),
        store_of(C),
        RetentionSettings(text_days=1),
    )
    after_ms = WALL + 2 * 24 * HOUR_MS
    assert kept.sweep(after_ms).texts == 1
    apply(engine, A, JOURNALS[A])
    assert kept.sweep(after_ms).texts == 1
    assert rows(engine, tables.utterances) == []


def test_the_calls_of_this_machine_alone_are_read_for_who_watches(engine: Engine) -> None:
    """With all that they had before they came here, and nothing behind the last line seen."""
    apply(engine, B, JOURNALS[B])
    other = [line._replace(call_sid="CA2") for line in OF_A]
    apply(engine, A, other)
    with engine.connect() as connection:
        found = live_entries(connection, {B: 501}, {events.CallBegan, events.CallerSaid})
        assert found is not None
        assert [entry.event for entry in found] == [began(), OF_A[2].event]
        found = live_entries(connection, {B: 502}, {events.CallBegan, events.CallerSaid})
        assert found is not None
        assert [entry.event for entry in found] == [began(), OF_A[2].event, OF_B[2].event]
        assert live_entries(connection, {B: 503}, {events.CallBegan}) is None


def test_the_recording_stays_that_of_the_machine_that_has_it(
    engine: Engine, tmp_path: Path
) -> None:
    """Whichever node has the call last: it would take a file that it never had for deleted."""
    recorded = JournalEntry(9004, SID, 300, WALL + 300, events.RecordingStarted("CA1.wav"))
    apply(engine, A, [*OF_A[:4], recorded])
    apply(engine, C, JOURNALS[C])
    assert (call(engine)["journal"], call(engine)["node"]) == ("machine a", "c")
    kept = RetentionSettings(audio_days=1)
    for process in (C, A):
        folder = tmp_path / NODES[process]
        folder.mkdir()
        files = LocalFiles(folder)
        if process == A:
            files.create("CA1.wav").close()
        swept = Retention(engine, files, store_of(process), kept).sweep(WALL + 48 * HOUR_MS)
        assert swept.recordings == (process == A)
        assert (call(engine)["recording"] is None) == (process == A)


def test_a_process_may_have_a_call_twice(engine: Engine) -> None:
    again = lines(
        9100, (8000, events.CallTakenOver(10, 3, "a")), (9000, events.CallerSaid("Back."))
    )
    apply(engine, B, JOURNALS[B])
    apply(engine, A, [*OF_A, *LATE_OF_A, *again])
    assert said(engine) == ["Hello?", "Good day.", "It went on.", "Back."]
    assert call(engine)["process"] == A


def test_what_a_node_tells_that_never_had_the_call_comes_last(engine: Engine) -> None:
    apply(engine, C, JOURNALS[C])
    billed = events.CallBilled("completed", 10_000)
    NODES["d" * 32] = "d"
    apply(engine, "d" * 32, [JournalEntry(3, SID, 0, WALL, billed)])
    assert stored(engine)[-1] == (0, "CallBilled")
    assert call(engine)["billed_ms"] == 10_000


@pytest.mark.parametrize("order", [(A, B), (B, A)])
def test_what_was_inherited_is_not_late(engine: Engine, order: Sequence[str]) -> None:
    """Two machines measure the time of a call: B's is behind A's here, by a second."""
    behind = [OF_B[0]._replace(at_ms=1000), OF_B[1]]
    journals = {A: OF_A[:4], B: [*inherited(A, OF_A[:4], 490), *behind]}
    assert sum(apply(engine, process, journals[process]) for process in order) == 0
    assert said(engine) == ["Hello?", "Good day."]


def test_that_a_process_was_fenced_is_no_late_line(engine: Engine) -> None:
    apply(engine, B, JOURNALS[B])
    fenced = JournalEntry(9010, SID, 20_000, WALL + 20_000, events.CallReleased("fenced", 1))
    assert apply(engine, A, [*OF_A, *LATE_OF_A, fenced]) == len(LATE_OF_A)
    assert (20_000, "CallReleased") in stored(engine)


def test_two_journals_with_the_same_number_do_not_meet(engine: Engine) -> None:
    apply(engine, A, lines(10, (0, began()), (100, events.CallerSaid("One."))))
    took = lines(10, (200, events.CallTakenOver(1, 2, "b")), (300, events.CallerSaid("Two.")))
    apply(engine, B, took)
    assert said(engine) == ["One.", "Two."]


def test_the_heir_shows_where_the_call_went_on(engine: Engine) -> None:
    apply(engine, B, JOURNALS[B])
    with engine.connect() as connection:
        entries = call_record.shown(connection, SID).timeline
    (taken,) = (one for one in entries if isinstance(one, EventRecord) and "goes on" in one.words)
    assert "node b" in taken.words


async def test_a_call_that_has_moved_is_taken_over_while_the_database_is_away(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B has the call from A, and dies; the next process of its machine cannot ask whose it is."""
    d = "d" * 32
    NODES[d] = "b"
    kept = [encode(CallEvent(SID, line.at_ms, line.event), line.wall_ms) for line in OF_B]
    monkeypatch.setattr(fleet_places, "CONNECT_LOOKS", 0)
    async with fleet_on("postgresql:///away") as fleet:
        heir = Place(fleet.unconnected("b"), fleet, {}, KEY)
        (taken,) = await heir.places.claim_files([LiveCallFile(SID, kept, B)])
    assert heir.directory.epoch_of(SID) == taken.epoch
    on = lines(
        700,
        (9000, events.CallTakenOver(100, taken.epoch, taken.node)),
        (9500, events.CallerSaid("And on.", 9100)),
        (9600, ended(duration_ms=9600)),
    )
    assert sum(apply(engine, *each) for each in ((A, OF_A), (B, JOURNALS[B]), (d, on))) == 0
    found = call(engine)
    assert (found["process"], found["duration_ms"], found["slug"]) == (d, 9600, "caller_hung_up")
    with engine.begin() as connection:
        assert store_of(B).end_orphaned(connection) == [], "it is not the dead process's"


def test_the_last_lines_of_a_dead_process_come_with_the_journal_of_the_next(engine: Engine) -> None:
    """The files of live calls had them, and its own journal not yet."""
    apply(engine, A, OF_A[:3])
    taken_over = lines(9100, (3000, events.CallTakenOver(500)), (9600, ended(duration_ms=9600)))
    assert apply(engine, B, [*inherited(A, OF_A[3:], 9090), *taken_over]) == 0
    assert said(engine) == ["Hello?", "Good day."]
    assert [kind for _, kind in stored(engine)][-3:] == ["KeyPressed", "CallTakenOver", "CallEnded"]
    assert (call(engine)["process"], call(engine)["duration_ms"]) == (B, 9600)


def test_without_a_fleet_a_take_over_is_as_it_was(engine: Engine) -> None:
    apply(engine, A, OF_A)
    plain = lines(9100, (3000, events.CallTakenOver(500)), (9600, ended(duration_ms=9600)))
    apply(engine, B, plain)
    assert rows(engine, tables.ownerships) == []
    assert (call(engine)["process"], call(engine)["duration_ms"]) == (B, 9600)
