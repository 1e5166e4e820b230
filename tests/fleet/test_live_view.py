"""The live view of real nodes: the operator's side of each shows the calls of all."""

import functools
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy.engine import URL
from tests.api.test_live_snapshot import until_rows
from tests.fleet.harness import fleet
from tests.fleet.node import FleetNode
from tests.whole_server import TOKEN

SNAPSHOT = "/api/v1/live/snapshot"


async def test_a_call_of_one_node_is_shown_by_the_other(tmp_path: Path, database: URL) -> None:
    async with fleet(tmp_path, database, nodes=("a", "b"), balancer=None) as made:
        call = await made.call()
        owner = await made.owner(call)

        async def rows(node: FleetNode) -> list[dict[str, Any]]:
            async with httpx2.AsyncClient(trust_env=False) as http:
                headers = {"Authorization": f"Bearer {TOKEN}"}
                answer = await http.get(node.operator_url + SNAPSHOT, headers=headers)
            found: list[dict[str, Any]] = answer.json()["calls"]
            return found

        for name in ("a", "b"):
            ask = functools.partial(rows, made.node(name))
            (row,) = await until_rows(ask, lambda found: len(found) == 1)
            assert (row["call_sid"], row["node"]) == (call.sid, owner.name)
        await call.hang_up()
        for name in ("a", "b"):
            await until_rows(functools.partial(rows, made.node(name)), lambda found: not found)
