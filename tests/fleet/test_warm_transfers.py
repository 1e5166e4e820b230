"""People who are called for a caller when the caller's process dies: none is left alone."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx2
import pytest
from sqlalchemy.engine import URL
from tests.fleet.harness import Fleet, FleetCall, fleet
from tests.fleet.test_commands import Operator, events
from tests.fleet.twilio import AskedRequest
from tests.waiting import GIVEN_UP_AFTER_S, until, until_found, until_it

from offhook.testing.simulator.twilio.calls.ledger import NetworkLedger
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson

ANN, BOB, CAROL = NUMBERS = tuple(f"+1202555012{number}" for number in range(3))
PEOPLE: Final = {
    ANN: SimulatedPerson("no-answer"),
    BOB: SimulatedPerson(after_s=0.2, keys=("1",), talks_s=None),
    CAROL: SimulatedPerson(after_s=0.2, keys=("1",), talks_s=1.0),
}
AGENT: Final = f"""
phrases: {{whisper: "{{key}}?"}}
transfer:
  destinations:
    ann: {{to: "{ANN}", timeout_seconds: 250, warm: true}}
    bob: {{to: "{BOB}", warm: true}}
    carol: {{to: "{CAROL}", warm: true}}
"""


@asynccontextmanager
async def transferring(
    folder: Path, database: URL, *nodes: str
) -> AsyncIterator[tuple[Fleet, dict[str, FleetCall]]]:
    """Begin three transfers at node a. One node has no fleet.

    Ann's telephone rings; Carol and Bob wait in their conferences. Their callers leave when the
    agent's last words have lasted too long, as this agent never pauses: Carol's first.
    """
    running = fleet(
        folder,
        database,
        nodes=nodes,
        balancer=None,
        agent_file=AGENT,
        people=PEOPLE,
        is_alone=len(nodes) == 1,
    )
    async with (
        running as them,
        httpx2.AsyncClient(trust_env=False, verify=False, timeout=GIVEN_UP_AFTER_S) as http,
    ):
        them.front.pick = lambda path: them.node("a").netloc
        operator = Operator(them.node("a"), http)
        calls = {name: await them.call() for name in ("carol", "bob", "ann")}
        ledger = them.account.network.ledger
        for number, name in ((CAROL, "carol"), (BOB, "bob"), (ANN, "ann")):
            begun = await operator.do(calls[name].sid, "transfer", destination=name)
            assert begun.status_code == 200, begun.text
            await until(partial(ledger.rung_at, number))
            if name != "ann":
                await until(partial(_waits, ledger, calls[name].sid))
        yield them, calls


async def has_left(them: Fleet, call: FleetCall) -> bool:
    """Return whether another process would know that a caller has left for a conference."""
    (alone,) = (them.node("a").data / "journal" / "live").glob("*/" + call.sid)
    if b"JoinConference" not in alone.read_bytes():
        return False
    if len(them.nodes) == 1:
        return True
    rows = await them.rows("select facts from fleet_calls where call_sid = %s", call.sid)
    return b"JoinConference" in rows[0]["facts"]


async def until_told(call: FleetCall, name: bytes) -> None:
    """Wait until a caller's present agent is told of a transfer."""
    await until(lambda: any(name in words for words in call.sessions[-1].told))


@pytest.mark.long
@pytest.mark.parametrize("nodes", [("a",), ("a", "b")], ids=["its call process", "its node"])
async def test_nobody_is_left_alone_when_a_process_dies(
    tmp_path: Path, database: URL, nodes: tuple[str, ...]
) -> None:
    async with transferring(tmp_path, database, *nodes) as (them, calls):
        (process,) = them.node("a").pids("call")
        is_dead = False

        async def die_before(asked: AskedRequest) -> None:
            """Kill as Twilio is about to ask what comes after the stream of Carol's caller."""
            nonlocal is_dead
            if asked.call_sid != calls["carol"].sid or is_dead:
                return
            is_dead = True
            await until_it(lambda: has_left(them, calls["carol"]))
            if len(nodes) == 1:
                os.kill(process, signal.SIGKILL)
            else:
                them.node("a").kill()
                them.front.pick = lambda path: them.node("b").netloc

        them.front.before = die_before
        await until(lambda: is_dead)
        ledger = them.account.network.ledger
        (ann,), (bob,), (carol,) = map(ledger.rung_at, NUMBERS)
        await until(lambda: ann.ended_at is not None and bob.ended_at is not None)
        in_time = [asked.call_sid for asked in ledger.hang_ups if asked.in_time]
        assert sorted(in_time) == sorted([ann.call_sid, bob.call_sid])
        for name in ("ann", "bob"):
            await calls[name].back(2)
            await until_told(calls[name], name.encode())
            assert calls[name].sid not in [one.call_sid for one in ledger.joined]
        await asyncio.wait_for(calls["carol"].task, GIVEN_UP_AFTER_S)
        (conference,) = {one.conference for one in ledger.joined if one.call_sid == carol.call_sid}
        assert conference is not None
        assert {*ledger.together(conference)} == {carol.call_sid, calls["carol"].sid}
        (ended,) = await until_found(lambda: events(them, calls["carol"].sid, "CallEnded"), bool)
        assert "transferred" in str(ended)


def _waits(ledger: NetworkLedger, call_sid: str) -> bool:
    """Return whether a person waits for the caller of a call."""
    return any(call_sid in str(one.conference) for one in ledger.joined)
