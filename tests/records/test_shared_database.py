"""Three nodes on one PostgreSQL: what each operator process may do, and what only one of them."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from tests.postgres import Postgres
from tests.records.test_store import began, ended, rows
from tests.target import answer, target
from tests.waiting import wait_until
from tests.whole_server import configured

from offhook.config import Config, RecordsSettings, WebhookSettings
from offhook.config.fleet_settings import FleetSettings
from offhook.events import types as events
from offhook.events.types import CallEvent
from offhook.journal.keeper import EventJournal
from offhook.outbound.ledger_file import FILE, LedgerFile
from offhook.records import follower as follower_module
from offhook.records import ledger_feed, tables
from offhook.records.live_calls import live_entries
from offhook.serving.record_keeping import RecordKeeping

LIMIT = 10**9
TOKEN = "a-token-of-the-operator"
SID = "CA" + "1" * 32


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database(migrated=True) as made:
        yield made.render_as_string(hide_password=False)


class Node:
    """A node: a data folder of its own, a call process's journal, and its operator's side."""

    def __init__(self, folder: Path, name: str, url: str, hook: str | None) -> None:
        base = configured("ws://127.0.0.1:1/")
        records = RecordsSettings(
            folder=folder / name,
            database=url,
            webhook=WebhookSettings(url=hook),
            webhook_secrets=(SecretStr("whsec_" + "ab12" * 10),),
        )
        server = base.server.model_copy(update={"api_token": SecretStr(TOKEN)})
        fleet = FleetSettings(
            node=name, address="http://127.0.0.1:5002", keys=(SecretStr("k" * 32),)
        )
        self.config: Config = dataclasses.replace(base, records=records, server=server, fleet=fleet)
        self.name = name
        self.keeping = RecordKeeping(self.config)
        self.journal = EventJournal(self.config.records.journals, LIMIT)

    def tell(self, at_ms: int, event: events.Event, sid: str = SID) -> None:
        self.journal(CallEvent(sid, at_ms, event))

    @property
    def is_stored(self) -> bool:
        return self.journal.waiting == 0


@contextlib.contextmanager
def nodes(
    folder: Path, url: str, hook: str | None = None, names: str = "ab"
) -> Iterator[list[Node]]:
    made = [Node(folder, name, url, hook) for name in names]
    with contextlib.ExitStack() as stack:
        for node in made:
            stack.enter_context(node.keeping)
            stack.enter_context(node.journal)
        yield made


def call(engine: Engine, sid: str = SID) -> dict[str, object]:
    return next(row for row in rows(engine, tables.calls) if row["sid"] == sid)


def test_each_ended_call_is_delivered_by_one_of_three(tmp_path: Path, url: str) -> None:
    with target(answer(204)) as hook, nodes(tmp_path, url, hook.url, "abc") as three:
        sids = [f"CA{number:032x}" for number in range(30)]
        for number, sid in enumerate(sids):
            node = three[number % 3]
            node.tell(0, began(), sid)
            node.tell(100, ended(duration_ms=100), sid)
            node.tell(110, events.CallBilled("completed", 1000), sid)
        received = hook.until(len(sids))
        engine = three[0].keeping.engine
        wait_until(lambda: all(row["done_ms"] for row in rows(engine, tables.jobs)))
        assert sorted(one.json["call"]["call"]["sid"] for one in received) == sids
        deliveries = [node.keeping.deliveries for node in three]
        # Each counts what it has delivered after the database knows of it.
        wait_until(
            lambda: sum(each.delivered for each in deliveries if each is not None) == len(sids)
        )


def test_a_call_that_goes_on_elsewhere_gets_no_end_from_its_dead_process(
    tmp_path: Path, url: str
) -> None:
    with nodes(tmp_path, url) as (a, b):
        engine = a.keeping.engine
        a.tell(0, began())
        a.tell(500, events.CallerSaid("Hello?"))
        wait_until(lambda: a.is_stored)
        folder = a.journal.folder
        a.journal.__exit__()
        b.tell(900, events.CallTakenOver(400, 2, "b"))
        wait_until(lambda: not folder.exists())
        found = call(engine)
        assert (found["node"], found["slug"]) == ("b", None)
        b.tell(2000, ended(duration_ms=2000))
        wait_until(lambda: b.is_stored)
        assert call(engine)["slug"] == "caller_hung_up"


def test_a_call_that_the_directory_has_gets_no_end(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is about to reap it needs it live; when the directory has its end, so does it."""
    monkeypatch.setattr(follower_module, "MOVED_S", 0.0)
    with nodes(tmp_path, url) as (a, _):
        engine = a.keeping.engine
        other = "CA" + "2" * 32
        a.tell(0, began())
        a.tell(0, began(), other)
        wait_until(lambda: a.is_stored)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO fleet_calls (call_sid, epoch, process_id, from_process,"
                    " answered_epoch, legs, budget, began_at, changed_at)"
                    " VALUES (:sid, 1, :process, '', 0, 0, '', now(), now())"
                ),
                {"sid": SID, "process": a.journal.process_id},
            )
        folder = a.journal.folder
        a.journal.__exit__()
        wait_until(lambda: call(engine, other)["slug"] == "server_died")
        assert call(engine)["slug"] is None
        assert folder.exists()
        with engine.begin() as connection:
            connection.execute(text("UPDATE fleet_calls SET ended_at = now()"))
        wait_until(lambda: not folder.exists())
        assert call(engine)["slug"] == "server_died"


def test_a_number_barred_in_a_call_of_one_node_is_barred_in_all(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_feed, "EVERY_S", 0.1)
    with nodes(tmp_path, url) as both:
        both[0].tell(0, began())
        both[0].tell(100, events.DoNotCall("+12025550177"))
        for node in both:
            ledger = LedgerFile(node.config.records.folder / FILE)
            wait_until(lambda ledger=ledger: "+12025550177" in ledger.barred())  # type: ignore[misc]
            ledger.close()


def test_a_live_call_of_one_node_is_no_business_of_another(tmp_path: Path, url: str) -> None:
    """It gets no end there, and is not on the board as its own: nothing would take it off."""
    with nodes(tmp_path, url) as (a, b):
        a.tell(0, began())
        wait_until(lambda: a.is_stored)
        assert (call(a.keeping.engine)["node"], call(a.keeping.engine)["slug"]) == ("a", None)
        with b.keeping.engine.connect() as connection:
            assert live_entries(connection, {b.journal.process_id: 0}, {events.CallBegan}) == []


def test_what_a_dead_node_leaves_waits_for_the_nodes_that_may_have_it(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nodes(tmp_path, url) as (a, b):
        engine = a.keeping.engine
        a.tell(0, began())
        wait_until(lambda: a.is_stored)
        folder = a.journal.folder
        a.journal.__exit__()
        b.tell(0, began(), "CA" + "2" * 32)
        wait_until(lambda: b.is_stored)
        assert folder.exists()
        assert call(engine)["slug"] is None
        monkeypatch.setattr(follower_module, "MOVED_S", 0.0)
        wait_until(lambda: not folder.exists())
        assert call(engine)["slug"] == "server_died"
