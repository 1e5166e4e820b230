"""What a command to a call on another node takes beside one to a call of the node itself.

    python -m bench.node_commands [--commands 500] [--calls 20]

Two nodes as they are in production: `offhook serve` each, over one PostgreSQL, with live calls at
the first. An operator mutes and unmutes the agents of these calls, in turn at the node that has
the call and at the other one, over the API. Exits with 1 when the p99 of the second is more than
BAR_MS above that of the first.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from tests.fleet.harness import Fleet, FleetCall, fleet
from tests.fleet.node import FleetNode
from tests.postgres import Postgres
from tests.whole_server import TOKEN

from offhook.bench.figures import spread

BAR_MS = 20.0
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


async def mute(http: httpx2.AsyncClient, node: FleetNode, call: FleetCall, *, on: bool) -> int:
    """Return the nanoseconds of one command."""
    began = time.perf_counter_ns()
    url = f"{node.operator_url}/api/v1/calls/{call.sid}/mute"
    answer = await http.post(url, json={"on": on}, headers=HEADERS)
    took_ns = time.perf_counter_ns() - began
    assert answer.status_code == 200, answer.text
    return took_ns


async def measure(running: Fleet, commands: int, calls: int) -> bool:
    """Print the figures; return whether the bar is kept."""
    here, other = running.node("a"), running.node("b")
    running.front.pick = lambda path: here.netloc
    live = await running.talking(calls)
    took: dict[str, list[int]] = {here.name: [], other.name: []}
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        for number in range(-20, commands):
            for node in (here, other):
                ns = await mute(http, node, live[number % calls], on=bool(number % 2))
                if number >= 0:  # the first ones open what stays open
                    took[node.name].append(ns)
    p99 = {}
    for name, where in ((here.name, "the node of the call"), (other.name, "another node")):
        found = spread(took[name])
        assert found is not None, "commands were measured"
        p99[name] = found.p99
        print(f"{where:22}  p50 {found.p50:6.1f}  p99 {found.p99:6.1f}  max {found.max:6.1f} ms")
    more = p99[other.name] - p99[here.name]
    print(f"{'more at p99':22}  {more:.1f} ms; the bar is {BAR_MS:g} ms")
    return more <= BAR_MS


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--calls", type=int, default=20)
    asked = parser.parse_args()
    postgres = Postgres()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="offhook-bench-") as folder,
            postgres.database() as url,
        ):
            async with fleet(Path(folder), url, nodes=("a", "b"), balancer=None) as running:
                return 0 if await measure(running, asked.commands, asked.calls) else 1
    finally:
        postgres.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
