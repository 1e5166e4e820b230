"""The processes of other nodes in the shared database, of a real PostgreSQL."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine, func, text
from tests.link.test_link import outcome
from tests.postgres import Postgres

from offhook.link.fleet_lookup import CLOCK_S, FleetLookup, HintedProcess
from offhook.link.node_links import NodeLinks
from offhook.records import database, tables
from offhook.records.elsewhere import OwnedCall

SID = "CA" + "1" * 32
A, B, OLD_B, DEAD = "a" * 32, "b" * 32, "0" * 32, "d" * 32

_T = TypeVar("_T")


@pytest.fixture
def engine(postgres: Postgres) -> Iterator[Engine]:
    with postgres.database(migrated=True) as url:
        engine = database.open_lookup_engine(url)
        try:
            yield engine
        finally:
            engine.dispose()


def lookup(
    engine: Engine, *, node: str = "a", now: Callable[[], float] = lambda: 5.0
) -> FleetLookup:
    async def run(work: Callable[[], _T], /) -> _T:
        return work()

    return FleetLookup(engine, run, lambda now_ms: NodeLinks(node, b"k" * 32, now_ms), now)


def process(engine: Engine, process_id: str, node: str, *, ago_s: int = 0, **more: Any) -> None:
    """Enter a process whose last beat was so long ago; the newest is entered last."""
    now = func.clock_timestamp()
    row = {
        "process_id": process_id,
        "node": node,
        "address": f"http://{node}:5002",
        "version": "1",
        "is_draining": False,
        "live": 0,
        "capacity": 10,
        "started_at": now,
        "unbroken_since": now,
        "beat_at": now - text(f"interval '{ago_s} s'"),
        **more,
    }
    with engine.begin() as connection:
        connection.execute(tables.fleet_processes.insert().values(row))


def call(engine: Engine, process_id: str) -> None:
    now = func.clock_timestamp()
    row = {
        "call_sid": SID,
        "epoch": 1,
        "process_id": process_id,
        "from_process": "",
        "answered_epoch": 0,
        "legs": 1,
        "budget": "any",
        "began_at": now,
        "changed_at": now,
    }
    with engine.begin() as connection:
        connection.execute(tables.fleet_calls.insert().values(row))


async def test_the_owner_of_a_call_and_the_clock_of_the_database(engine: Engine) -> None:
    process(engine, A, "a")
    process(engine, B, "b")
    call(engine, B)
    ours = lookup(engine)
    owner = await ours.owner(SID)
    assert owner is not None
    assert owner.node == "b"
    assert await ours.owner(SID) == owner, "its connection is kept"
    with engine.connect() as connection:
        now_ms = connection.execute(
            text("SELECT 1000 * extract(epoch FROM clock_timestamp())::double precision")
        ).scalar_one()
    assert abs(ours.now_ms() - now_ms) < 60_000, "this machine's clock is not asked"
    assert await lookup(engine, node="b").owner(SID) is None, "it is the node's own"
    ours.close()


async def test_the_owner_of_a_moment_ago_is_known_while_the_clock_is(engine: Engine) -> None:
    process(engine, B, "b")
    call(engine, B)
    now = [5.0]
    ours = lookup(engine, now=lambda: now[0])
    ours.owners = {SID: OwnedCall(B, "b", "http://b:5002", 4), "own": OwnedCall(A, "a", "", 1)}
    assert ours.hinted(SID) is None, "no request can be signed yet"
    owner = await ours.owner(SID)
    assert owner is not None
    assert ours.hinted(SID) == HintedProcess(owner.process, 4)
    assert ours.hinted("own") is None
    assert ours.hinted("CA0") is None
    now[0] += CLOCK_S
    assert ours.hinted(SID) is None


async def test_a_look_up_over_connections_that_were_lost_is_asked_again(engine: Engine) -> None:
    """As after a restart of the database: nothing asks before each look-up if it still answers."""
    process(engine, B, "b")
    call(engine, B)
    ours = lookup(engine)
    assert await ours.owner(SID) is not None
    with engine.connect() as one, engine.connect() as other:
        others = "SELECT pg_terminate_backend(:pid)"
        pid = one.execute(text("SELECT pg_backend_pid()")).scalar_one()
        other.execute(text(others), {"pid": pid})
        other.invalidate()
    assert await ours.owner(SID) is not None


async def test_the_processes_of_other_nodes_that_live(engine: Engine) -> None:
    process(engine, A, "a")
    process(engine, DEAD, "c", ago_s=11)
    process(engine, OLD_B, "b", is_draining=True)
    process(engine, B, "b")
    ours = lookup(engine)
    found = await ours.others()
    assert [each.node for each in found] == ["b", "b"]
    with engine.begin() as connection:
        connection.execute(tables.fleet_processes.delete().where(text("node = 'b'")))
    assert await ours.others() == []


async def test_each_key_is_placed_by_one_node_that_takes_calls(engine: Engine) -> None:
    process(engine, A, "a")
    process(engine, OLD_B, "b", is_draining=True)
    process(engine, B, "b")
    process(engine, DEAD, "c", ago_s=11)
    at_a, at_b = lookup(engine), lookup(engine, node="b")
    counts = {"a": 0, "b": 0}
    for number in range(60):
        key = f"key {number}"
        seen_by_a, seen_by_b = await at_a.placing(key), await at_b.placing(key)
        assert (seen_by_a is None) != (seen_by_b is None), "both name the same node"
        found = seen_by_a or seen_by_b
        assert found is not None
        counts[found.node] += 1
    assert min(counts.values()) > 10
    with engine.begin() as connection:
        connection.execute(tables.fleet_processes.delete().where(text("process_id = :p")), {"p": B})
    assert await at_a.placing("any") is None, "the draining process takes none"


async def test_without_the_database_it_is_said(engine: Engine) -> None:
    ours = lookup(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE fleet_processes RENAME TO gone"))
    for asked in (ours.owner(SID), ours.placing("key")):
        error = await outcome(asked)
        assert error.code == "E-LINK-09"
    assert await ours.others() == []
