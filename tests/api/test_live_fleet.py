"""The live calls of a fleet on one node: what the others write into the database is shown here."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text
from tests.link.test_fleet_lookup import SID as DIRECTORY_SID
from tests.link.test_fleet_lookup import call as directory_call
from tests.link.test_fleet_lookup import process
from tests.postgres import Postgres
from tests.records.test_moves import JOURNALS, LATE_OF_A, OF_A, A, B, C, apply
from tests.records.test_store import ended

from offhook.api import live_fleet
from offhook.api.live import LiveEvents
from offhook.api.live_board import TAKEN, LiveBoard
from offhook.api.live_fleet import LiveFleet
from offhook.config import Prices
from offhook.journal.entries import JournalEntry
from offhook.records import database
from offhook.records.elsewhere import CallsElsewhere, OwnedCall
from offhook.records.store import RecordStore

SID = "CA1"


@pytest.fixture
def engine(postgres: Postgres) -> Iterator[Engine]:
    with postgres.database(migrated=True) as url:
        made = database.open_engine(database.url_of(url.render_as_string(hide_password=False)))
        yield made
        made.dispose()


class Watcher:
    """What an operator process of node a shows, which has had the processes `own`."""

    def __init__(self, engine: Engine, folder: Path, own: str = "") -> None:
        self._engine = engine
        self._own = [own] if own else []
        self.board = LiveBoard("a")
        self.live = LiveEvents(run="r")
        self.fleet = LiveFleet(self.board, self.live, is_one=True)
        self.elsewhere = CallsElsewhere(engine, folder, TAKEN, lambda news: True)

    def look(self) -> None:
        with self._engine.connect() as connection:
            self.fleet.tell(self.elsewhere.look(connection, self._own))

    def tell(self, process: str, *entries: JournalEntry) -> None:
        """Lines of a journal of this node, as its follower tells them."""
        for entry in entries:
            self.board.take(process, entry)

    @property
    def row(self) -> dict[str, Any]:
        (found,) = self.board.rows()
        return found

    @property
    def told(self) -> list[str]:
        """Names of the events that a listener got."""
        sent, _ = self.live.after(0, None)
        lines = sent.decode().splitlines()
        return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]

    @property
    def changes(self) -> list[Any]:
        """What the events changed of the row."""
        sent, _ = self.live.after(0, None)
        data = [line[6:] for line in sent.split(b"\n") if line.startswith(b"data: ")]
        return [msgspec.json.decode(one).get("call", {}) for one in data]


def test_a_call_of_another_node_from_its_beginning_to_its_end(
    engine: Engine, tmp_path: Path
) -> None:
    watcher = Watcher(engine, tmp_path)
    watcher.look()
    apply(engine, B, OF_A[:2])
    watcher.look()
    assert (watcher.row["node"], watcher.row["caller_state"]) == ("b", "connected")
    apply(engine, B, OF_A[2:4])
    watcher.look()
    watcher.look()
    assert (watcher.row["turns"], watcher.row["last_words"]["text"]) == (1, "Good day.")
    apply(engine, B, [JournalEntry(9500, SID, 9000, 1, ended())])
    watcher.look()
    assert watcher.board.rows() == []
    assert watcher.told == ["CallBegan", "CallStarted", "CallerSaid", "AgentSaid", "CallEnded"]
    assert watcher.changes[-1] is None
    watcher.look()
    assert len(watcher.told) == 5, "each event is told once"


def test_the_owners_of_live_calls_of_other_nodes_are_known(engine: Engine, tmp_path: Path) -> None:
    process(engine, A, "a")
    process(engine, B, "b")
    directory_call(engine, B)
    elsewhere = Watcher(engine, tmp_path).elsewhere
    with engine.connect() as connection:
        found = elsewhere.look(connection, [A]).owners
        assert found == {DIRECTORY_SID: OwnedCall(B, "b", "http://b:5002", 1)}
        assert elsewhere.look(connection, [A, B]).owners == {}, "this node's own"


def test_calls_from_before_are_rows_whose_events_are_not_told(
    engine: Engine, tmp_path: Path
) -> None:
    apply(engine, B, OF_A[:4])
    watcher = Watcher(engine, tmp_path)
    watcher.look()
    assert watcher.row["turns"] == 1
    assert watcher.told == []
    apply(engine, B, OF_A[4:])
    watcher.look()
    assert watcher.told == ["KeyPressed"]
    assert watcher.changes == [watcher.row], "whoever has the snapshot from before gets all of it"


def test_a_call_that_moves_away_goes_on_here_as_the_other_node_tells_it(
    engine: Engine, tmp_path: Path
) -> None:
    """What the process here tells after that is not believed: it does not know that it lost it."""
    watcher = Watcher(engine, tmp_path, own=A)
    watcher.look()
    watcher.tell(A, *OF_A)
    apply(engine, A, OF_A)
    watcher.look()
    assert (watcher.row["node"], watcher.told) == ("a", [])
    apply(engine, B, JOURNALS[B])
    watcher.look()
    assert (watcher.row["node"], watcher.row["last_words"]["text"]) == ("b", "It went on.")
    assert watcher.told == ["CallTakenOver", "CallerBack", "CallerSaid"]
    watcher.tell(A, *LATE_OF_A)
    assert (watcher.row["node"], watcher.row["turns"]) == ("b", 2)
    apply(engine, C, JOURNALS[C])
    watcher.look()
    assert watcher.board.rows() == []


def test_a_call_that_comes_here_is_told_by_the_journal_of_this_node(
    engine: Engine, tmp_path: Path
) -> None:
    """Its row is made of what was inherited, or goes on if it was shown before."""
    for is_shown in (True, False):
        watcher = Watcher(engine, tmp_path, own=B)
        watcher.board = LiveBoard("b")
        watcher.fleet = LiveFleet(watcher.board, watcher.live, is_one=True)
        if is_shown:
            apply(engine, A, OF_A)
            watcher.look()
            assert watcher.row["node"] == "a"
        changes = [watcher.board.take(B, entry) for entry in JOURNALS[B]]
        assert (watcher.row["node"], watcher.row["turns"]) == ("b", 2)
        assert changes[4] is not None
        if not is_shown:
            assert changes[4]["agent"] == "front-desk", "pages that do not know it get all of it"
        watcher.look()
        assert watcher.row["turns"] == 2


def test_a_call_that_dies_with_its_node_ends_on_every_page(engine: Engine, tmp_path: Path) -> None:
    watcher = Watcher(engine, tmp_path)
    watcher.look()
    apply(engine, B, OF_A)
    watcher.look()
    with engine.begin() as connection:
        RecordStore("machine b", Prices(), process_id=B).end_orphaned(connection)
    watcher.look()
    assert watcher.board.rows() == []
    assert watcher.told[-1] == "CallEnded"


def test_a_node_that_is_away_is_shown_as_such(engine: Engine, tmp_path: Path) -> None:
    watcher = Watcher(engine, tmp_path)
    with engine.begin() as connection:
        for name, age_s, drains in (("a", 0, False), ("b", 60, False), ("c", 0, True)):
            connection.execute(
                text(
                    "INSERT INTO fleet_processes (process_id, node, address, version, is_draining,"
                    " live, capacity, started_at, beat_at, unbroken_since)"
                    " VALUES (:name, :name, '', '', :drains, 3, 20, now(),"
                    " now() - :age * interval '1 s', now())"
                ),
                {"name": name, "age": age_s, "drains": drains},
            )
    watcher.look()
    states = {node.name: node.state for node in watcher.fleet.nodes}
    assert states == {"a": "up", "b": "away", "c": "draining"}
    watcher.look()
    watcher.fleet.tell(None)
    assert {node.state for node in watcher.fleet.nodes} == {"unknown"}
    assert watcher.told == ["nodes", "nodes"], "only a change is told"


async def test_a_snapshot_waits_for_the_other_nodes_but_not_for_ever(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = LiveFleet(LiveBoard(), LiveEvents(), is_one=False)
    await asyncio.wait_for(alone.until_known(), 1)
    watcher = Watcher(engine, tmp_path)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(watcher.fleet.until_known())
        await asyncio.sleep(0)
        assert not waiting.done()
        watcher.look()
    assert waiting.done()
    monkeypatch.setattr(live_fleet, "KNOWN_S", 0.0)
    silent = Watcher(engine, tmp_path)
    await silent.fleet.until_known()
