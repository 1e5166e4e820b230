"""The parts of a process in a fleet, as its server opens them."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
from tests.fleet.directories import FACTS, fleet_on, sid
from tests.waiting import settled, until, until_it

from offhook.clock import LoopClock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import AppConfig, load, load_app
from offhook.errors import UserError
from offhook.events.types import CallBegan, CallEnded, CallerSaid, CallEvent
from offhook.fleet.parts import FleetParts
from offhook.fleet.places import BegunCall
from offhook.journal.keeper import EventJournal
from offhook.journal.reader import JournalReader
from offhook.link.neighbours import Neighbours
from offhook.observability.metrics.meter import Metrics
from offhook.serving.composition import ServerNeeds, compose_server

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


async def test_twilio_is_asked_nothing_about_a_call_that_was_lost_in_a_pause(
    config: AppConfig, tmp_path: Path
) -> None:
    """What a timer or a repeated request wants right after a pause waits for the epochs."""
    asked: list[str] = []
    vain: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        yield json.dumps({"sid": sid(2), "status": "completed"}).encode()

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path.rpartition("/")[2])
        return httpx2.Response(200, content=body())

    account = {"TWILIO_ACCOUNT_SID": "AC" + "1" * 32, "TWILIO_AUTH_TOKEN": "2" * 32}
    whole = load(None, {"DEEPGRAM_API_KEY": "key", **account})
    with EventJournal(tmp_path / "journal", LIMIT) as journal:
        async with (
            httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http,
            asyncio.TaskGroup() as group,
        ):
            tasks, fleet = ServerTasks(group), parts_of(config, journal)
            clock = LoopClock(asyncio.get_running_loop())
            calls = compose_server(
                ServerNeeds(
                    config=whole,
                    metrics=Metrics(),
                    subscribers=(),
                    watchers=(),
                    make_tap=None,
                    recordings=None,
                    journal=journal,
                    ledger=None,
                    dial_count=None,
                ),
                http,
                clock,
                tasks,
                failing=dict,
                faults=lambda: 0,
                fleet=fleet,
                neighbours=Neighbours(tmp_path / "journal", tasks),
            ).calls
            fleet.pulse.stop()
            for call_sid in (sid(1), sid(2)):
                calls.transfers._updates.hang_up(call_sid, partial(vain.append, call_sid))
            await settled()
            assert (asked, vain) == ([], [])
            calls.releasing.dropped(sid(1))  # as each call that another process has
            fleet.pulse.settle(clock.now())
    assert (asked, vain) == ([f"{sid(2)}.json"], [sid(1)])
