"""What a command to a call on another node takes beside one to a call of the node itself.

    python -m bench.node_commands [--commands 2000] [--calls 20] [--stale 3]

Two nodes as they are in production: `offhook serve` each, over one PostgreSQL, with live calls at
the first. An operator mutes and unmutes the agents of these calls over the API, at the node that
has the call and at the other one, which begins in turn. Apart from that two parts of the way are
timed: the directory's answer (a call that no node has is refused after it), and a round trip to
the other node's listener. Then the first node is stopped (SIGSTOP) in the middle of commands at
the second, and woken: each must have been refused, and none may be carried out late. Exits with 1
when the p99 at the other node is more than BAR_MS above that at the call's own, or when a stale
command was carried out.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx2
from tests.fleet.harness import Fleet, FleetCall, fleet
from tests.fleet.node import NODE_PORT, FleetNode
from tests.postgres import Postgres
from tests.waiting import until_it
from tests.whole_server import TOKEN, fresh_sid

from offhook.bench.figures import spread

BAR_MS = 20.0
SETTLE_S = 3.0
"""Seconds after which a command that was carried out is in the database."""

HERE = "at the node of the call"
OTHER = "at another node"
LOOK_UP = "look-up of a call that no node has"
CONNECTION = "connection to the other node"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


async def mute(http: httpx2.AsyncClient, node: FleetNode, call: FleetCall, *, on: bool) -> int:
    """Return the nanoseconds of one command."""
    began = time.perf_counter_ns()
    url = f"{node.operator_url}/api/v1/calls/{call.sid}/mute"
    answer = await http.post(url, json={"on": on}, headers=HEADERS)
    took_ns = time.perf_counter_ns() - began
    assert answer.status_code == 200, answer.text
    return took_ns


async def look_up(http: httpx2.AsyncClient, node: FleetNode) -> int:
    """Return the nanoseconds until a node knows of a call that no node has it."""
    began = time.perf_counter_ns()
    url = f"{node.operator_url}/api/v1/calls/{fresh_sid()}/mute"
    answer = await http.post(url, json={"on": True}, headers=HEADERS)
    took_ns = time.perf_counter_ns() - began
    assert answer.status_code == 404, answer.text
    return took_ns


async def round_trip(node: FleetNode) -> int:
    """Return the nanoseconds of a connection to a node's listener: what a link's way costs."""
    began = time.perf_counter_ns()
    _, writer = await asyncio.open_connection(node.address, NODE_PORT)
    took_ns = time.perf_counter_ns() - began
    writer.close()
    return took_ns


async def timed(running: Fleet, live: Sequence[FleetCall], commands: int) -> float:
    """Print how long commands take; return by how many ms one at another node takes longer."""
    here, other = running.node("a"), running.node("b")
    took = defaultdict[str, list[int]](list)
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
        for number in range(-20, commands):
            order = (here, other) if number % 2 else (other, here)
            for node, on in zip(order, (True, False), strict=True):  # each command changes it
                ns = await mute(http, node, live[number % len(live)], on=on)
                if number >= 0:  # the first ones open what stays open
                    took[HERE if node is here else OTHER].append(ns)
            if number >= 0 and number % 5 == 0:
                took[LOOK_UP].append(await look_up(http, other))
                took[CONNECTION].append(await round_trip(here))
    p99 = {}
    for where in (HERE, OTHER, LOOK_UP, CONNECTION):
        found = spread(took[where])
        assert found is not None, "commands were measured"
        p99[where] = found.p99
        print(f"{where:36}  p50 {found.p50:6.1f}  p99 {found.p99:6.1f}  max {found.max:6.1f} ms")
    return p99[OTHER] - p99[HERE]


async def stale(running: Fleet, call: FleetCall, times: int) -> tuple[int, int]:
    """Stop the call's node under commands at the other one; return refused ones, and late ones."""
    here, other = running.node("a"), running.node("b")

    async def acts() -> int:
        (row,) = await running.rows(
            "select count(*) from events where call_sid = %s and kind = 'OperatorActed'", call.sid
        )
        return int(row["count"])

    refused = asked = 0
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
        await mute(http, other, call, on=False)  # the link is open
        await asyncio.sleep(SETTLE_S)
        before = await acts()
        for _ in range(times):
            url = f"{other.operator_url}/api/v1/calls/{call.sid}/mute"
            here.pause()
            try:
                answer = await http.post(url, json={"on": True}, headers=HEADERS)
            finally:
                here.wake()
            asked += 1
            refused += answer.status_code == 503 and answer.json()["code"] == "E-LINK-07"
            await asyncio.sleep(SETTLE_S)  # what were carried out late would be recorded by now
        late = await acts() - before
        await mute(http, other, call, on=False)  # the record does work
        await until_it(lambda: _is(acts, before + late + 1))
    return refused, late


async def _is(count: Callable[[], Awaitable[int]], wanted: int) -> bool:
    return await count() == wanted


async def measure(running: Fleet, commands: int, calls: int, stale_ones: int) -> bool:
    """Print the figures; return whether the bars are kept."""
    running.front.pick = lambda path: running.node("a").netloc
    live = await running.talking(calls)
    more = await timed(running, live, commands)
    refused, late = await stale(running, live[0], stale_ones)
    print(
        f"in short: more at p99 {more:.1f} ms in {commands} commands, and the bar is {BAR_MS:g} ms;"
        f" {refused} of {stale_ones} stale ones refused, {late} of them run late"
    )
    return more <= BAR_MS and refused == stale_ones and not late


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commands", type=int, default=2000)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--stale", type=int, default=3, help="commands to a node that is stopped")
    asked = parser.parse_args()
    postgres = Postgres()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="offhook-bench-") as folder,
            postgres.database() as url,
        ):
            async with fleet(Path(folder), url, nodes=("a", "b"), balancer=None) as running:
                met = await measure(running, asked.commands, asked.calls, asked.stale)
                return 0 if met else 1
    finally:
        postgres.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
