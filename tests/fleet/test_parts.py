"""The parts of a process in a fleet, as its server opens them."""

import asyncio
from pathlib import Path

import pytest
from tests.fleet.directories import FACTS, fleet_on, sid
from tests.waiting import until, until_it

from offhook.clock import LoopClock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import AppConfig, load_app
from offhook.errors import UserError
from offhook.events.types import CallBegan, CallEnded, CallerSaid, CallEvent
from offhook.fleet.parts import FleetParts
from offhook.fleet.places import BegunCall
from offhook.journal.keeper import EventJournal
from offhook.journal.reader import JournalReader

LIMIT = 64_000_000


@pytest.fixture
def config(url: str, tmp_path: Path) -> AppConfig:
    file = tmp_path / "offhook.yaml"
    file.write_text("fleet: {node: a, listen: '127.0.0.1:0'}\n")
    environ = {"OFFHOOK_FLEET_KEY": "k" * 32, "OFFHOOK_DATABASE_URL": url}
    return load_app(file, environ)


def parts_of(config: AppConfig, journal: EventJournal) -> FleetParts:
    settings = config.require_fleet()
    assert settings is not None
    return FleetParts(config, settings, journal, LoopClock(asyncio.get_running_loop()))


async def test_what_the_journal_keeps_is_in_the_database_with_its_numbers(
    config: AppConfig, tmp_path: Path, url: str
) -> None:
    """The record knows a line by journal and number, wherever it finds it."""
    began = CallBegan("AC1", "desk", "standard", "inbound", "webhook", "", "", "{}")
    with EventJournal(tmp_path / "journal", LIMIT) as journal:
        async with fleet_on(url) as fleet, asyncio.TaskGroup() as group:
            await fleet.ask("TRUNCATE fleet_processes, fleet_calls, fleet_lines, fleet_budgets")
            parts = parts_of(config, journal)
            assert parts.state.startswith("away: ")
            parts.start(ServerTasks(group))
            await until(lambda: parts.state == "ok")
            journal(CallEvent(sid(9), 0, began))  # of a call that is turned away
            journal(CallEvent(sid(9), 0, CallEnded("none", "server_full", "", "", 0)))
            journal(CallEvent(sid(1), 0, began))
            journal.keep(sid(1), FACTS)
            answer = await parts.directory.begin(sid(1), FACTS, nonce="n")
            assert answer == BegunCall(1)
            journal(CallEvent(sid(1), 5, CallerSaid("Hello?", 1)))
            await until_it(lambda: fleet.ask("SELECT 1 FROM fleet_lines HAVING count(*) = 2"))
            rows = await fleet.ask(
                "SELECT call_sid, process_id, number, line FROM fleet_lines ORDER BY number"
            )
            await parts.stop()
            assert len(await fleet.ask("SELECT 1 FROM fleet_processes")) == 1, "it has a call"
        folder = journal.folder
    kept = dict(JournalReader(folder).read(100))
    assert [(row[0], row[1]) for row in rows] == [(sid(1), folder.name)] * 2
    assert {row[2]: row[3] for row in rows}.items() <= kept.items(), "its number is the journal's"


async def test_without_the_driver_the_command_says_what_to_install(
    config: AppConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("offhook.fleet.")]:
        if name.rpartition(".")[2] in ("connection", "directory", "heartbeat", "live_lines"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with (
        EventJournal(tmp_path / "journal", LIMIT) as journal,
        pytest.raises(UserError, match="Install it") as told,
    ):
        parts_of(config, journal)
    assert told.value.code == "E-REC-08"
