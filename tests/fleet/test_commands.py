"""Commands, listening and Twilio's requests at a node that has not the call: real nodes."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from sqlalchemy.engine import URL
from tests.fleet.agent import TONE
from tests.fleet.harness import Fleet, FleetCall, fleet
from tests.fleet.node import FleetNode
from tests.fleet.twilio import PUBLIC
from tests.waiting import GIVEN_UP_AFTER_S, until, until_it
from tests.whole_server import ACCOUNT, TOKEN, RawStream, fresh_sid

from offhook.audio import FRAME_BYTES
from offhook.net import websocket
from offhook.twilio.signature import sign

PERSON = b"\x2a" * FRAME_BYTES
"""A frame of a person's that nothing else on the line resembles."""

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Operator:
    """A person at the API of one node."""

    def __init__(self, node: FleetNode, http: httpx2.AsyncClient) -> None:
        self.node = node
        self._http = http

    async def post(self, path: str, key: str | None = None, **body: Any) -> httpx2.Response:
        headers = HEADERS | ({"Idempotency-Key": key} if key is not None else {})
        url = f"{self.node.operator_url}/api/v1/calls{path}"
        return await self._http.post(url, json=body, headers=headers)

    async def do(self, sid: str, operation: str, **arguments: Any) -> httpx2.Response:
        return await self.post(f"/{sid}/{operation}", **arguments)

    async def does(self, sid: str, operation: str, **arguments: Any) -> httpx2.Response:
        """Do it, asking again as long as a busy owner does not answer in time."""
        async with asyncio.timeout(GIVEN_UP_AFTER_S):
            while True:
                done = await self.do(sid, operation, **arguments)
                if "E-LINK-07" not in done.text:
                    return done
                assert "Nothing was done." in done.text

    async def joins(self, sid: str, operation: str) -> RawStream:
        """Listen to a call, or take it over."""
        opened = await self.does(sid, operation)
        assert opened.status_code == 201, opened.text
        stream = RawStream()
        await websocket.connect(
            self.node.operator_url.replace("http", "ws") + opened.json()["stream"],
            stream,
            headers=HEADERS,
            timeout=GIVEN_UP_AFTER_S,
            max_size=2**20,
        )
        return stream


async def asked(node: FleetNode, path: str, **form: str) -> httpx2.Response:
    """One request of Twilio's, at that node."""
    form = {"AccountSid": ACCOUNT, "To": "+12025550100", "From": "+12025550142", **form}
    headers = {
        "X-Twilio-Signature": sign(TOKEN, PUBLIC + path, form.items()),
        "Content-Type": "application/x-www-form-urlencoded",
        "Host": PUBLIC.removeprefix("https://"),
    }
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=GIVEN_UP_AFTER_S) as http:
        return await http.post(node.url + path, content=urlencode(form), headers=headers)


async def events(running: Fleet, sid: str, kind: str) -> list[str]:
    """The events of a kind in the record of a call."""
    rows = await running.rows(
        "select body from events where call_sid = %s and kind = %s", sid, kind
    )
    return [row["body"] for row in rows]


@asynccontextmanager
async def two(folder: Path, database: URL) -> AsyncIterator[tuple[Fleet, Operator, Operator]]:
    """Two nodes without a balancer, of which the first gets every call, and their operators."""
    async with (
        fleet(folder, database, nodes=("a", "b"), balancer=None) as running,
        httpx2.AsyncClient(trust_env=False, verify=False, timeout=GIVEN_UP_AFTER_S) as http,
    ):
        a, b = running.node("a"), running.node("b")
        running.front.pick = lambda path: a.netloc
        yield running, Operator(a, http), Operator(b, http)


@pytest.mark.limit(900)
@pytest.mark.long
async def test_a_node_acts_on_the_calls_of_another(tmp_path: Path, database: URL) -> None:
    async with two(tmp_path, database) as (running, at_a, at_b):
        call = await running.call()
        for operator in (at_a, at_b):
            done = await operator.does(call.sid, "mute", on=True)
            assert done.status_code == 200, done.text
        refused = await at_b.does(call.sid, "transfer", destination="nobody")
        assert refused.status_code == 409, refused.text
        heard = await at_b.joins(call.sid, "listening")
        await until(lambda: any(b'"event":"media"' in one for one in heard.received))
        await _a_call_is_taken_over_at_another_node(call, heard, at_a, at_b)
        heard.channel.close()
        await _reports_reach_the_owner(running, call)
        assert (await at_b.does(call.sid, "hang-up")).status_code == 200
        await call.task
        assert (await at_b.does(call.sid, "mute", on=False)).status_code == 404
        assert (await at_b.does(call.sid, "hang-up")).json()["done"] is True
        assert (await at_b.does(fresh_sid(), "hang-up")).status_code == 404
        await until_it(lambda: _acted(running, call.sid, 7))
        assert len(await events(running, call.sid, "OperatorTookOver")) == 1
        assert len(await events(running, call.sid, "OperatorHandedBack")) == 1
        await _a_key_is_placed_once(running, at_a, at_b)
        await _an_order_to_a_stopped_node(running, at_a, at_b)


async def _a_call_is_taken_over_at_another_node(
    call: FleetCall, listener: RawStream, at_a: Operator, at_b: Operator
) -> None:
    """Whisper to the agent, speak with the caller, and hand back, at the node without the call."""
    (session,) = call.sessions
    whispered = await at_b.does(call.sid, "tell", text="They pay on Monday.")
    assert whispered.status_code == 200, whispered.text
    await until(lambda: any(b"They pay on Monday." in one for one in session.told))
    assert (await at_b.does(call.sid, "mute", on=False)).status_code == 200
    await until(lambda: TONE in call.caller.recent)

    person = await at_b.joins(call.sid, "take-over")
    spoken = json.dumps({"event": "media", "payload": b64encode(PERSON).decode()}).encode()
    async with asyncio.TaskGroup() as group:
        microphone = group.create_task(_speak(person, spoken))
        await until(lambda: PERSON in call.caller.recent and TONE not in call.caller.recent)
        await until(lambda: any(b64encode(PERSON)[:200] in one for one in listener.received))
        back = await at_a.does(call.sid, "hand-back", note="They pay on Monday.")
        assert back.status_code == 200, back.text
        microphone.cancel()
    await until(lambda: TONE in call.caller.recent)
    assert any(b"returned" in one for one in person.received), "the person is told"
    assert call.sessions == [session], "no agent was dialled anew"
    person.channel.close()


async def _speak(person: RawStream, spoken: bytes) -> None:
    while True:
        person.channel.send_text(spoken)
        await asyncio.sleep(0.02)  # as a microphone does


async def _reports_reach_the_owner(running: Fleet, call: FleetCall) -> None:
    """A report that the balancer has brought to the other node is of the call's process."""
    form = {"StreamEvent": "stream-error", "StreamError": "31924 - a fault", "CallSid": call.sid}
    form["StreamSid"] = "MZ" + "9" * 32
    answer = await asked(running.node("b"), "/twilio/n/a/stream-status", **form)
    assert answer.status_code == 204
    await until_it(lambda: _troubled(running, call.sid))


async def _troubled(running: Fleet, sid: str) -> bool:
    return len(await events(running, sid, "StreamTrouble")) == 1


async def _a_key_is_placed_once(running: Fleet, *operators: Operator) -> None:
    """Two requests with one key, at two nodes at once, are one call."""
    body = {"to": "+12025550143", "agent": "agent"}
    answers = await asyncio.gather(*(each.post("", key="k", **body) for each in operators))
    known = {answer.json().get("call_sid") for answer in answers if answer.status_code < 300}
    for answer in answers:
        assert answer.status_code in (200, 201, 409, 503), answer.text
    assert len(known) == 1, [answer.text for answer in answers]


async def _an_order_to_a_stopped_node(running: Fleet, at_a: Operator, at_b: Operator) -> None:
    """It is never carried out late; a node that drains has the other one take new calls."""
    a = at_a.node
    call = await running.call()
    done = await at_b.does(call.sid, "mute", on=True)  # the link is open
    assert done.status_code == 200, done.text
    a.pause()
    late = await at_b.do(call.sid, "mute", on=False)
    assert (late.status_code, late.json()["code"]) == (503, "E-LINK-07"), late.text
    a.wake()
    done = await at_b.do(call.sid, "mute", on=True)
    assert done.status_code == 200, done.text
    await until_it(lambda: _acted(running, call.sid, 2))
    a.terminate()
    await until_it(lambda: _drains(a))
    taken = await asked(a, "/twilio/voice", CallSid=fresh_sid())
    assert taken.status_code == 200
    assert "/twilio/n/b" in taken.text, taken.text


async def _acted(running: Fleet, sid: str, times: int) -> bool:
    return len(await events(running, sid, "OperatorActed")) == times


async def _drains(node: FleetNode) -> bool:
    answer = await node.ask("/readyz")
    return answer is not None and answer.json()["state"] == "draining"
