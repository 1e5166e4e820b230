"""Snapshots of live calls over HTTP: of a call as it goes on, of many, and after a restart."""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import httpx2
import pytest
from tests.api.desk import Desk, desk
from tests.api.spec import spec_of_servers
from tests.cli.served import serving
from tests.console.calls import kept_call
from tests.waiting import until, until_found

from offhook.api.live_snapshot import LiveSnapshots
from offhook.events import types as events
from offhook.journal.entries import JournalEntry

GREETING = "Hello! How can I help you today?"
HOURS = "What are your opening hours?"
WHAT_ELSE = "Of course, what else?"
BEGAN = events.CallBegan("AC1", "shop", "standard", "inbound", "webhook", "+1", "+2", "{}")


Rows: TypeAlias = list[dict[str, Any]]


async def until_rows(rows: Callable[[], Awaitable[Rows]], wanted: Callable[[Rows], bool]) -> Rows:
    """Ask for the rows until they are so; return them."""
    return await until_found(rows, wanted)


async def snapshot(d: Desk) -> dict[str, Any]:
    answer = await d.ask("/api/v1/live/snapshot")
    (await spec_of_servers(d.ask)).check(answer)
    found: dict[str, Any] = answer.json()
    return found


async def test_a_call_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        assert (await snapshot(d))["calls"] == []
        async with kept_call(d.whole.origin) as call:
            await call.person.until_heard(GREETING)
            await call.person.until_quiet()
            call.person.say(HOURS)
            await call.person.until_heard(WHAT_ELSE)

            async def rows() -> Rows:
                return list((await snapshot(d))["calls"])

            (row,) = await until_rows(rows, lambda found: found[0]["turn_ms"] is not None)
            assert (row["call_sid"], row["from"], row["by"]) == (
                call.sid,
                "+12025550142",
                "webhook",
            )
            assert (row["turns"], row["agent_state"], row["caller_state"]) == (
                1,
                "connected",
                "connected",
            )
            assert row["last_words"] == {"who": "agent", "text": WHAT_ELSE}
            assert row["trouble"] is None
        await until(lambda: len(d.api.board) == 0)
        assert (await snapshot(d))["calls"] == []


async def test_a_thousand_live_calls(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for number in range(1000):
            d.api.tell("p", JournalEntry(number + 1, f"CA{number}", 0, number, BEGAN))
        d.api.tell("p", JournalEntry(1001, "CA999", 1, 1, events.StreamBroke("it was cut")))
        found = await snapshot(d)
        assert len(found["calls"]) == 1000
        first, second = found["calls"][:2]
        assert (first["call_sid"], second["call_sid"]) == ("CA999", "CA0")
        assert d.api.live.place_of(found["last_event_id"]) == d.api.live.last


async def test_a_call_goes_on_in_the_snapshots_of_a_new_operator_process(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as made,
        httpx2.AsyncClient(trust_env=False, verify=False, headers=made.headers) as http,
    ):

        async def rows() -> Rows:
            url = await made.operator_url()
            answer = await http.get(url + "/api/v1/live/snapshot")
            assert answer.status_code == 200, answer.text
            return list(answer.json()["calls"])

        await made.operator_url()
        async with kept_call(made.url) as call:
            await call.person.until_heard(GREETING)
            await call.person.until_quiet()
            call.person.say(HOURS)
            await call.person.until_heard(WHAT_ELSE)
            before = await until_rows(rows, lambda found: found[0]["speaking"] == "nobody")
            operator = await made.until_started("operator")
            os.kill(operator, signal.SIGKILL)
            (made.records / "operator.json").unlink()
            await made.until_started("operator", other_than=operator)
            assert await rows() == before
            call.person.say(HOURS)
            await until_rows(rows, lambda found: found[0]["turns"] == 2)
        await until_rows(rows, lambda found: not found)


async def test_a_database_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.api.live_snapshot.LOOK_S", 0.0)

    def unknown(self: LiveSnapshots, until: object, connection: object) -> None:
        return None

    async with desk(tmp_path) as d:
        with monkeypatch.context() as patch:
            patch.setattr(LiveSnapshots, "_read", unknown)
            answer = await d.ask("/api/v1/live/snapshot")
            assert (answer.status_code, answer.json()["code"]) == (503, "E-API-09")
        assert (await snapshot(d))["calls"] == []
