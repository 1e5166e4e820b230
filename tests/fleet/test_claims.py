"""Calls whose webhook, stream and next question come to different nodes, of real processes."""

import functools
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy.engine import URL
from tests.api.test_live_snapshot import until_rows
from tests.fleet.harness import Fleet, FleetCall, fleet
from tests.fleet.node import FleetNode
from tests.waiting import until, until_found
from tests.whole_server import TOKEN

ONCE = {"CallBegan": 1, "CallStarted": 1, "CallEnded": 1}
"""Events that a call has once, however often it moves."""


async def shown(node: FleetNode) -> list[dict[str, Any]]:
    """The live calls, as the operator's side of a node shows them."""
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        answer = await http.get(
            f"{node.operator_url}/api/v1/live/snapshot",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
    found: list[dict[str, Any]] = answer.json()["calls"]
    return found


async def until_shown(node: FleetNode, at: dict[str, str]) -> None:
    """Wait until a node shows these calls, each at the node that has it."""

    def is_so(rows: list[dict[str, Any]]) -> bool:
        return {row["call_sid"]: row["node"] for row in rows} == at

    await until_rows(functools.partial(shown, node), is_so)


async def until_recorded(them: Fleet, call: FleetCall) -> dict[str, int]:
    """Wait until the record of a call is whole; return how often each event is in it."""
    query = "SELECT kind FROM events WHERE call_sid = %s ORDER BY line"

    async def rows() -> list[dict[str, Any]]:
        return await them.rows(query, call.sid)

    found = await until_rows(rows, lambda rows: {"kind": "CallEnded"} in rows)
    kinds = [row["kind"] for row in found]
    assert kinds[0] == "CallBegan"
    return {kind: kinds.count(kind) for kind in kinds}


def everything_to(fleet: Fleet, name: str) -> None:
    fleet.front.pick = lambda path: fleet.node(name).netloc


def webhooks_and_streams(fleet: Fleet, webhooks: str, streams: str) -> None:
    def pick(path: str) -> str:
        is_webhook = path.rpartition("/")[2] in ("voice", "after", "status", "stream-status")
        return fleet.node(webhooks if is_webhook else streams).netloc

    fleet.front.pick = pick


@pytest.mark.long
async def test_a_call_is_had_by_the_node_of_its_stream_and_outlives_it(
    tmp_path: Path, database: URL
) -> None:
    wanted: Any = {"balancer": None, "routed": False, "redacts": True}
    async with fleet(tmp_path, database, nodes=("a", "b"), **wanted) as them:
        # The stream comes to another node than the webhook.
        webhooks_and_streams(them, "a", "b")
        call = await them.call()
        assert await them.owner(call) is them.node("b")
        assert len(call.sessions) == 1, "no leg was dialled for nothing"
        await until_shown(them.node("a"), {call.sid: "b"})
        # The owner dies, and Twilio asks the other one.
        everything_to(them, "a")
        them.node("b").kill()
        await call.back(2)
        assert await them.owner(call) is them.node("a")
        assert [session.greets for session in call.sessions] == [True, False]
        # Another call's owner lives, and is asked by way of the other node.
        await them.node("b").start()
        everything_to(them, "b")
        second = await them.call()
        assert await them.owner(second) is them.node("b")
        everything_to(them, "a")
        await until_shown(them.node("b"), {call.sid: "a", second.sid: "b"})
        report = await second.hang_up()
        assert not report.faults
        await call.hang_up()
        # Two nodes have had it, of which one was killed: it has one record.
        recorded = await until_recorded(them, call)
        assert {kind: recorded.get(kind) for kind in ONCE} == ONCE
        assert recorded["CallTakenOver"] == 2
        await until_shown(them.node("b"), {})
        assert not [one for one in them.front.wrong() if one.failures or one.status is not None]


@pytest.mark.long
async def test_a_call_goes_on_whose_new_node_dies_before_it_could_tell_the_old_one(
    tmp_path: Path, database: URL
) -> None:
    wanted: Any = {"balancer": None, "routed": False, "lost": "a"}
    async with fleet(tmp_path, database, nodes=("a", "b"), **wanted) as them:
        webhooks_and_streams(them, "a", "b")
        call = await them.call(talks=False)
        await until(lambda: bool(call.sessions))
        # Before the old one has written a line of the call, and learnt from that.
        everything_to(them, "a")
        them.node("b").kill()
        await until_found(functools.partial(them.owner, call), lambda node: node is them.node("a"))
        await call.heard()
        await call.hang_up()
