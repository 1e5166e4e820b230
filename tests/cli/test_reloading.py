"""Another call process takes the place of one that has calls, and no call is dropped."""

import asyncio
import json
import re
import sqlite3
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import psutil
import pytest
from tests.cli.served import Serving, serving
from tests.waiting import ASKS_EVERY_S, GIVEN_UP_AFTER_S, until, until_it
from tests.whole_server import (
    ACCOUNT,
    ASK,
    GREET,
    HANG_UP,
    HOURS,
    TOKEN,
    RawStream,
    caller,
    fresh_sid,
)

from offhook.clock import LoopClock
from offhook.net import websocket
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.twilio.account.account import SimulatedAccount
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.account.server import serve
from offhook.testing.simulator.twilio.calls.network import SimulatedNetwork, simulated_network
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson, book
from offhook.testing.simulator.twilio.webhooks import RehearsedHost
from offhook.twilio import signature

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is one process on Windows")

PUBLIC = "https://voice.example.com"
OURS, DESK, ADA = "+12025550100", "+12025550199", "+12025550155"
GREETING = "Hello! How can I help you today?"
STAYS = ScenarioStep(wait=600)
AGENT = {
    "settings": {"greeting": GREETING},
    "transfer": {"destinations": {"desk": {"to": DESK, "describe": "the desk"}}},
    "keypad": {"timeout_seconds": 0.2, "actions": {"0": {"transfer": "desk"}}},
    "outbound": {"hours": "00:00-24:00"},
}


def configure(folder: Path, api_url: str, **server: Any) -> None:
    (folder / "agent.yaml").write_text(json.dumps(AGENT))
    config = {
        "server": {"max_lag_ms": 0, "public_url": PUBLIC, **server},
        "twilio": {"account_sid": ACCOUNT, "api_url": api_url},
        "lines": {OURS: "agent.yaml", "default": "agent.yaml"},
    }
    (folder / "offhook.yaml").write_text(json.dumps(config))


def recorded(folder: Path) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return the events of each call in their order, by its CallSid."""
    path = folder / "offhook-data" / "offhook.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as database:
        rows = database.execute("select call_sid, kind, body from events order by line").fetchall()
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for sid, kind, body in rows:
        found.setdefault(sid, []).append((kind, json.loads(body)))
    return found


def once(events: list[tuple[str, dict[str, Any]]], slug: str = "caller_hung_up") -> None:
    """Check that a call has one record with one beginning, greeting and end."""
    kinds = Counter(kind for kind, _ in events)
    assert kinds["CallBegan"] == kinds["CallStarted"] == kinds["CallEnded"] == 1, kinds
    said = [body["text"] for kind, body in events if kind == "AgentSaid"]
    assert said.count(GREETING) == 1, said
    assert [body["slug"] for kind, body in events if kind == "CallEnded"] == [slug]


async def post(server: Serving, path: str, **form: str) -> httpx2.Response:
    form = {"AccountSid": ACCOUNT, "To": OURS, "From": "+12025550142", **form}
    headers = {
        signature.HEADER: signature.sign(TOKEN, PUBLIC + path, form.items()),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
        return await http.post(server.url + path, content=urlencode(form), headers=headers)


async def stream(server: Serving, call_sid: str, document: str) -> RawStream:
    """Open the stream of a document as Twilio does."""
    found = re.search(r'name="token" value="([^"]+)"', document)
    assert found is not None, document
    opened = RawStream()
    await websocket.connect(
        f"ws://{server.url.removeprefix('http://')}/twilio",
        opened,
        headers={"x-twilio-signature": signature.sign(TOKEN, "wss://voice.example.com/twilio")},
        timeout=GIVEN_UP_AFTER_S,
        max_size=2**20,
    )
    opened.start(call_sid, found[1])
    return opened


async def ring(server: Serving) -> str:
    """Have the server call a person; return the CallSid."""
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
        answer = await http.post(
            await server.operator_url() + "/api/v1/calls",
            json={"to": ADA, "agent": "agent"},
            headers=server.headers | {"Idempotency-Key": "once"},
        )
    assert answer.status_code < 300, answer.text
    sid: str = answer.json()["call_sid"]
    return sid


@pytest.mark.long
async def test_a_reload_drops_no_call_whatever_it_is_doing(tmp_path: Path) -> None:
    people = {
        DESK: SimulatedPerson("busy", after_s=9.0),
        ADA: SimulatedPerson(after_s=9.0, caller=lambda: caller(GREET, ASK, GREET, HANG_UP)),
    }
    clock = LoopClock(asyncio.get_running_loop())
    nowhere = RehearsedHost("http://127.0.0.1:1/twilio/voice", TOKEN)
    async with simulated_network(ACCOUNT, nowhere, clock, book(people)) as network:
        account = SimulatedAccount(network, TOKEN, numbers=[AccountNumber(OURS)])
        async with serve(account) as api_url:
            configure(tmp_path, api_url)
            async with serving(tmp_path) as server, asyncio.TaskGroup() as group:
                network.host = RehearsedHost(server.url + "/twilio/voice", TOKEN, PUBLIC)
                await _reloaded(tmp_path, server, network, group)


async def _reloaded(
    folder: Path, server: Serving, network: SimulatedNetwork, group: asyncio.TaskGroup
) -> None:
    await server.operator_url()
    live = group.create_task(
        server.call(GREET, ScenarioStep(wait=12), ASK, GREET, HANG_UP, public_url=PUBLIC)
    )
    away = group.create_task(
        server.call(
            *(GREET, ScenarioStep(press="0"), ScenarioStep(wait=3), ASK, GREET, HANG_UP),
            network=network,
            public_url=PUBLIC,
        )
    )
    waiting = fresh_sid()
    document = (await post(server, "/twilio/voice", CallSid=waiting)).text
    rung = await ring(server)
    await server.until_said("caller is on the line", 2)
    await until(lambda: any(leg.to == DESK for leg in network.legs.values()))
    old = await server.reload()
    during = [group.create_task(server.call(public_url=PUBLIC)) for _ in range(2)]

    # A repeated webhook of a call that waits gets the same answer, and its stream is taken.
    assert (await post(server, "/twilio/voice", CallSid=waiting)).text == document
    opened = await stream(server, waiting, document)
    await until(lambda: len(opened.received) > 50)  # the greeting, of an agent dialled anew
    opened.channel.close()
    over = {"CallSid": waiting, "CallStatus": "completed"}
    await post(server, "/twilio/after", **over)

    reports: list[CallReport] = [await live, await away, *(await asyncio.gather(*during))]
    for report in reports:
        assert report.faults == []
        assert report.ending == "caller_hung_up", server.said[-6000:]
    assert len(reports[0].streams) == 1, "a live call is left alone"
    await until(lambda: network.legs[rung].over)
    await until(lambda: not psutil.pid_exists(old))
    assert await server.stop() == 0
    events = recorded(folder)
    assert set(events) == {rung, waiting, *(report.call_sid for report in reports)}
    for sid in events:
        if sid != waiting:
            once(events[sid])
    kinds = Counter(kind for kind, _ in events[waiting])
    assert kinds["CallBegan"] == kinds["CallEnded"] == kinds["CallStarted"] == 1
    heard = [body["text"] for kind, body in events[rung] if kind == "CallerSaid"]
    assert heard == [HOURS]
    assert "E-" not in re.sub("E-REC-0", "", server.said), server.said


async def until_talking(server: Serving, count: int) -> None:
    await server.until_said("caller is on the line", count)


def happened(folder: Path, kind: str) -> int:
    """Return how many events of a kind the database has."""
    path = folder / "offhook-data" / "offhook.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as database:
        found: int = database.execute(
            "select count(*) from events where kind = ?", (kind,)
        ).fetchone()[0]
    return found


def greeted(folder: Path) -> int:
    """Return how many calls have heard the agent; on a busy machine one hears it again soon."""
    path = folder / "offhook-data" / "offhook.db"
    query = "select count(distinct call_sid) from events where kind = 'AgentSaid'"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as database:
        found: int = database.execute(query).fetchone()[0]
    return found


async def hang_up(server: Serving, count: int) -> None:
    """Have the operator hang up on all live calls, of which there are this many."""
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
        sids: list[str] = []
        url = ""

        async def are_all_shown() -> bool:
            nonlocal sids, url
            # The operator process may be starting anew at this moment.
            with suppress(httpx2.TransportError, FileNotFoundError):
                url = await server.operator_url()
                answer = await http.get(url + "/api/v1/live/snapshot", headers=server.headers)
                if answer.status_code == 200:
                    sids = [row["call_sid"] for row in answer.json()["calls"]]
            return len(sids) == count

        await until_it(are_all_shown)
        for sid in sids:
            path = f"/api/v1/calls/{sid}/hang-up"
            answer = await http.post(url + path, headers=server.headers, json={})
            assert answer.status_code == 200, answer.text


async def test_calls_that_outlast_the_grace_go_on_in_the_next_process(tmp_path: Path) -> None:
    configure(tmp_path, "http://127.0.0.1:1", grace_seconds=0.5)
    async with serving(tmp_path) as server, asyncio.TaskGroup() as group:
        await server.operator_url()
        live = [group.create_task(server.call(GREET, STAYS, public_url=PUBLIC)) for _ in range(3)]
        await until(lambda: greeted(tmp_path) == 3, every_s=ASKS_EVERY_S)
        old = await server.reload()
        await until(lambda: happened(tmp_path, "CallerBack") == 3, every_s=ASKS_EVERY_S)
        await hang_up(server, 3)
        reports = await asyncio.gather(*live)
        await until(lambda: not psutil.pid_exists(old))
        assert await server.stop() == 0
    assert "3 calls are handed over" in server.said
    assert "E-PROC-01" not in server.said
    events = recorded(tmp_path)
    for report in reports:
        assert len(report.streams) == 2, "its stream was closed once, and Twilio asked"
        once(events[report.call_sid], "operator_hung_up")
        kinds = Counter(kind for kind, _ in events[report.call_sid])
        assert kinds["CallTakenOver"] == kinds["CallReleased"] == kinds["CallerBack"] == 1
        assert kinds["AgentConnected"] == 2


async def test_a_crash_of_either_process_during_a_reload_drops_no_call(tmp_path: Path) -> None:
    """Nor does one that hangs: the supervisor ends it after 15 s."""
    configure(tmp_path, "http://127.0.0.1:1")
    async with serving(tmp_path) as server, asyncio.TaskGroup() as group:
        await server.operator_url()
        first = group.create_task(server.call(GREET, STAYS, public_url=PUBLIC))
        await until_talking(server, 1)
        old = await server.reload()
        (new,) = set(server.pids("call")) - {old}
        second = group.create_task(server.call(GREET, STAYS, public_url=PUBLIC))
        await until(lambda: greeted(tmp_path) == 2, every_s=ASKS_EVERY_S)
        psutil.Process(new).kill()  # its call goes on in the next one, beside the one that drains
        await until(lambda: happened(tmp_path, "CallerBack") == 1, every_s=ASKS_EVERY_S)
        assert (await server.call(public_url=PUBLIC)).faults == []
        psutil.Process(old).suspend()
        await until(lambda: happened(tmp_path, "CallerBack") == 2, every_s=ASKS_EVERY_S)
        await hang_up(server, 2)
        reports = [await first, await second]
        assert await server.stop() == 0
    assert "a draining call process hangs, and is killed" in server.said
    assert "E-PROC-01 The call process has ended: SIGKILL, while it drained." in server.said
    events = recorded(tmp_path)
    for report in reports:
        assert len(report.streams) == 2
        once(events[report.call_sid], "operator_hung_up")


async def test_two_reloads_in_a_row_leave_the_calls_of_all_processes(tmp_path: Path) -> None:
    """And the server's capacity holds for all processes together."""
    configure(tmp_path, "http://127.0.0.1:1", capacity=3)
    async with serving(tmp_path) as server, asyncio.TaskGroup() as group:
        await server.operator_url()
        calls = []
        for count in (1, 2, 3):
            calls.append(group.create_task(server.call(GREET, STAYS, public_url=PUBLIC)))
            await until(lambda: greeted(tmp_path) == count, every_s=ASKS_EVERY_S)  # noqa: B023
            if count < 3:
                await server.reload(count)
        assert len(server.pids("call")) == 3
        full = (await post(server, "/twilio/voice", CallSid=fresh_sid())).text
        assert "<Stream" not in full, "two of the three calls are in the processes before"
        await hang_up(server, 3)  # the operator's side reaches each in its process
        reports = await asyncio.gather(*calls)
        assert [report.faults for report in reports] == [[]] * 3
        assert [len(report.streams) for report in reports] == [1] * 3
        await until(lambda: len(server.pids("call")) == 1, every_s=ASKS_EVERY_S)
        assert (await server.call(public_url=PUBLIC)).faults == [], "there is room again"
        assert await server.stop() == 0
    events = recorded(tmp_path)
    for report in reports:
        once(events[report.call_sid], "operator_hung_up")
