"""A database that hangs, goes away and comes back: bounded waits, and all is told afterwards."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url
from tests.fleet.directories import FACTS, Fleet, FleetNode, fleet_on, sid
from tests.fleet.harness import unix_socket
from tests.fleet.relay import Relay, relay
from tests.postgres import Postgres
from tests.waiting import until, until_it

from offhook.fleet.places import BegunCall, CallPlace, DirectoryAwayError, NoRoom
from offhook.serving.server import Server


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def backends(fleet: Fleet) -> list[int]:
    rows = await fleet.ask(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'offhook-fleet'"
        " AND datname = current_database()"
    )
    return [row[0] for row in rows]


@asynccontextmanager
async def far(fleet: Fleet, **given: Any) -> AsyncIterator[tuple[FleetNode, Relay]]:
    """A node whose way to the database can be cut."""
    async with relay(unix_socket(make_url(fleet.url))) as way:
        host, port = way.address
        url = make_url(fleet.url).set(host=host, port=port, query={})
        yield await fleet.node("a", url=url.render_as_string(hide_password=False), **given), way


async def taken_epoch(fleet: Fleet, number: int) -> list[tuple[int, bool]]:
    return [
        (row[0], row[1])
        for row in await fleet.ask(
            "SELECT epoch, ended_at IS NOT NULL FROM fleet_calls WHERE call_sid = %s", sid(number)
        )
    ]


async def test_a_backend_that_hangs_costs_one_deadline_and_a_new_connection(fleet: Fleet) -> None:
    a = await fleet.here("a")
    assert await a.begin(sid(), FACTS, nonce="n") == BegunCall(1)
    with stopped(await backends(fleet)):
        both = await asyncio.gather(a.find(sid()), a.find(sid()), return_exceptions=True)
        assert [type(each) for each in both] == [DirectoryAwayError, DirectoryAwayError]
        await until(lambda: not a.is_away)
        assert (await a.find(sid())) is not None, "the next connection has a backend of its own"
    assert a.epoch_of(sid()) == 1


async def test_a_lock_that_nobody_gives_up_costs_a_deadline_and_no_connection(
    fleet: Fleet,
) -> None:
    a = await fleet.here("a")
    before = await backends(fleet)
    async with await psycopg.AsyncConnection.connect(fleet.url) as other:
        await other.execute("LOCK TABLE fleet_calls IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DirectoryAwayError, match=r"LockNotAvailable|QueryCanceled"):
            await a.begin(sid(), FACTS, nonce="n")
    assert not a.is_away
    assert await a.begin(sid(2), FACTS, nonce="n") == BegunCall(1)
    assert await backends(fleet) == before


async def test_what_changed_while_it_was_away_is_told_afterwards(fleet: Fleet) -> None:
    b = await fleet.here("b")
    async with far(fleet, most=9, nodes=2) as (node, way):
        a = node.directory
        for number in (1, 2, 3):
            assert await a.begin(sid(number), FACTS, nonce="n") == BegunCall(1)
        lost: list[str] = []
        a.held.fenced = lost.append
        way.cut()
        with pytest.raises(DirectoryAwayError):
            await a.find(sid(1))
        await until(lambda: a.is_away)
        for asked in (a.find(sid(1)), a.claim(sid(9), 1), a.begin(sid(4), FACTS, nonce="n")):
            with pytest.raises(DirectoryAwayError):
                await asked
        assert a.held.begin_away(sid(4), FACTS, nonce="four") == BegunCall(1), "within its share"
        assert a.held.begin_away(sid(5), FACTS, nonce="five") == NoRoom(4, 4)
        assert not a.held.spend_away(sid(4), "other")
        assert a.held.spend_away(sid(4), "four")
        assert not a.held.spend_away(sid(4), "four")
        a.held.end(sid(1))
        await a.renew(sid(2), "later")
        assert await b.claim(sid(3), 1) is not None
        way.restore()
        await until(lambda: not a.is_away)
    assert lost == [sid(3)]
    assert await taken_epoch(fleet, 1) == [(1, True)]
    assert await taken_epoch(fleet, 3) == [(2, False)]
    assert await taken_epoch(fleet, 4) == [(1, False)]
    assert await taken_epoch(fleet, 5) == []
    assert await b.claim(sid(2), 1, nonce="n") is None
    assert await b.claim(sid(2), 1, nonce="later") is not None
    assert await b.claim(sid(4), 1, nonce="four") is None, "it was spent"


async def test_a_new_token_takes_legs_with_it_that_are_not_told_yet(fleet: Fleet) -> None:
    """Such as those of a message that came too late, on a connection that goes on."""
    a = await fleet.here("a")
    assert await a.begin(sid(), FACTS, nonce="n") == BegunCall(1)
    assert a.held.add_leg_away(sid())
    await a.renew(sid(), "next")
    assert await fleet.ask("SELECT nonce, legs FROM fleet_calls") == [("next", 2)]
    held = a.held.find(sid())
    assert held is not None
    assert not held.is_stale


async def test_a_share_is_the_nodes_whatever_its_processes_and_however_many_nodes_live(
    fleet: Fleet,
) -> None:
    nodes = [await fleet.node(name, most=12, nodes=3) for name in "abcd"]
    held, budget = nodes[0].directory.held, nodes[0].directory.budget
    assert budget.share == 4, "as configured, before the first beat"
    for node in (*nodes, nodes[0]):
        await node.beat()
    assert budget.share == 3, "a fourth node is alive"
    held.beside = lambda: 2  # calls of the process that drains
    assert held.begin_away(sid(1), FACTS, nonce="n") == BegunCall(1)
    assert held.begin_away(sid(2), FACTS, nonce="n") == NoRoom(3, 3)
    assert not held.add_leg_away(sid(1))
    await fleet.ask("UPDATE fleet_processes SET beat_at = beat_at - interval '11 s'")
    await nodes[0].beat()
    assert budget.share == 4, "never more than as configured"


async def test_a_session_returned_while_it_was_away_is_not_counted_afterwards(
    fleet: Fleet,
) -> None:
    b = await fleet.node("b")
    async with far(fleet, most=4, nodes=2) as (node, way):
        a = node.directory
        for number in (1, 2):
            assert await a.begin(sid(number), FACTS, nonce="n") == BegunCall(1)
        assert await a.add_leg(sid(1))
        way.cut()
        with pytest.raises(DirectoryAwayError):
            await a.find(sid(1))
        await a.return_leg(sid(1))
        assert not await a.add_leg(sid(2)), "two of two are taken"
        a.held.end(sid(1))
        assert a.held.begin_away(sid(3), FACTS, nonce="n") == BegunCall(1)
        await a.return_leg(sid(2))
        assert await a.add_leg(sid(3))
        way.restore()
        await until(lambda: not a.is_away)
        await b.beat()
    rows = await fleet.ask("SELECT legs FROM fleet_calls WHERE ended_at IS NULL ORDER BY call_sid")
    assert rows == [(0,), (2,)]
    assert await fleet.taken() == 2


async def test_a_stopping_process_waits_for_a_database_that_is_away(fleet: Fleet) -> None:
    b = await fleet.node("b")
    await b.beat()
    async with far(fleet) as (node, way):
        await node.beat()
        released: list[bool] = []

        async def release_all(**_: Any) -> None:
            released.append(node.directory.is_away)

        live = {sid(): None}
        server: Any = SimpleNamespace(
            calls=SimpleNamespace(
                releasing=SimpleNamespace(release_all=release_all),
                registry=SimpleNamespace(live=live),
            ),
            _hurry=asyncio.Event(),
            _joined=SimpleNamespace(parts=SimpleNamespace(directory=node.directory)),
        )

        async def is_cut() -> None:
            way.cut()
            with pytest.raises(DirectoryAwayError):
                await node.directory.find(sid())

        await is_cut()
        async with asyncio.TaskGroup() as group:
            handing = group.create_task(Server._hand_over(server))
            done, _ = await asyncio.wait({handing}, timeout=0.05)
            assert not done
            way.restore()
        assert released == [False], "the database is back"
        await is_cut()
        server._hurry.set()
        await Server._hand_over(server)
        assert released == [False, True], "it was told to stop at once"
        server._hurry.clear()
        live.clear()
        await Server._hand_over(server)
        assert len(released) == 3, "its calls are over"


async def test_a_begin_whose_answer_was_lost_is_undone(fleet: Fleet) -> None:
    async with far(fleet, most=9) as (node, way):
        a = node.directory
        way.hold()
        with pytest.raises(DirectoryAwayError):
            await a.begin(sid(1), FACTS, nonce="n")
        with pytest.raises(DirectoryAwayError):
            await a.begin(sid(2), FACTS, nonce="n")
        assert a.held.begin_away(sid(2), FACTS, nonce="n") == BegunCall(1)
        way.restore()
        await until(lambda: not a.is_away)
        fleet.keep(node.lines.run)

        async def is_settled() -> bool:
            return await taken_epoch(fleet, 1) in ([], [(1, True)])

        await until_it(is_settled)
        assert await taken_epoch(fleet, 2) == [(1, False)]


async def test_a_file_that_was_taken_while_it_was_away_is_claimed_or_anothers(
    fleet: Fleet,
) -> None:
    a, b, c = await fleet.here("a"), await fleet.here("b"), fleet.unconnected("a").directory
    for number in (1, 2, 4):
        assert await a.begin(sid(number), FACTS, nonce="n") == BegunCall(1)
    assert await b.claim(sid(2), 1) is not None
    assert await a.claim(sid(4), 1) is not None, "it had come from elsewhere"
    lost: list[str] = []
    c.held.fenced = lost.append
    for number in (1, 2, 3, 4):
        c.held.claim_away(sid(number), a.process_id, 2, FACTS, nonce=None)
    fleet.keep(c.connection.serve)
    await until(lambda: not c.is_away)
    assert lost == [sid(2)]
    assert [c.epoch_of(sid(number)) for number in (1, 2, 3, 4)] == [2, None, 2, 3]
    assert await taken_epoch(fleet, 1) == [(2, False)]
    assert await taken_epoch(fleet, 3) == [(2, False)], "nobody knew it"


async def test_a_late_claim_whose_answer_was_lost_is_this_processs_own(fleet: Fleet) -> None:
    dead = await fleet.here("a")
    assert await dead.begin(sid(), FACTS, nonce="n") == BegunCall(1)
    async with far(fleet) as (node, way):
        next_one, lost = node.directory, list[str]()
        next_one.held.fenced = lost.append
        way.cut()
        with pytest.raises(DirectoryAwayError):
            await next_one.find(sid())
        await until(lambda: next_one.is_away)
        next_one.held.claim_away(sid(), dead.process_id, 2, FACTS, nonce=None)
        # What the round does whose answer is lost: the database has done it all the same.
        await fleet.ask(
            "UPDATE fleet_calls SET epoch = 2, process_id = %s, from_process = %s",
            next_one.process_id,
            dead.process_id,
        )
        await next_one.renew(sid(), "next")
        way.restore()
        await until(lambda: not next_one.is_away)
        assert (lost, next_one.epoch_of(sid())) == ([], 2)
        assert await next_one.spend(sid(), "next"), "the database is told what changed meanwhile"


async def test_a_call_of_a_process_that_died_before_the_files_is_claimed_after_its_lease(
    fleet: Fleet,
) -> None:
    """Two processes of a machine died in one outage: the database names the first."""
    first, second = await fleet.node("a"), fleet.unconnected("a").directory
    third, elsewhere = await fleet.node("a"), await fleet.node("b")
    for number in (1, 2, 3):
        begun = await first.directory.begin(sid(number), FACTS, nonce="n")
        assert begun == BegunCall(1)
    for each in (first, third, elsewhere):
        await each.beat()
    assert await elsewhere.directory.claim(sid(2), 1) is not None
    lost: list[str] = []
    third.directory.held.fenced = lost.append
    for number in (1, 2, 3):
        third.directory.held.claim_away(sid(number), second.process_id, 3, FACTS, nonce=None)
    await third.beat()
    assert lost == [sid(2)], "a process of another node has it"
    assert await taken_epoch(fleet, 1) == [(1, False)], "the first may live"
    first.directory.held.end(sid(3))
    await first.directory.tell_ended()
    await third.beat()
    assert lost == [sid(2), sid(3)], "it lived"
    await fleet.ask(
        "UPDATE fleet_processes SET beat_at = beat_at - interval '10 s' WHERE process_id = %s",
        first.directory.process_id,
    )
    await third.beat()
    assert (lost, third.directory.held.sids) == ([sid(2), sid(3)], (sid(1),))
    assert await taken_epoch(fleet, 1) == [(3, False)]


async def test_a_call_that_a_process_beside_goes_on_with_is_lost_after_a_lease(
    fleet: Fleet,
) -> None:
    beside, third = await fleet.node("a"), await fleet.node("a")
    assert await beside.directory.begin(sid(), FACTS, nonce="n") == BegunCall(1)
    await beside.beat()
    lost: list[str] = []
    third.directory.held.fenced = lost.append
    third.directory.held.claim_away(sid(), "0" * 32, 3, FACTS, nonce=None)
    await third.beat()
    assert lost == []
    third.directory.held._held[sid()].until = 0.0
    await third.beat()
    assert (lost, third.directory.held.sids) == ([sid()], ())


async def test_a_call_that_two_took_in_while_it_was_away_is_nobodys_loss(fleet: Fleet) -> None:
    a, b = fleet.unconnected("a").directory, fleet.unconnected("b").directory
    for each in (a, b):
        assert each.held.begin_away(sid(), FACTS, nonce=each.node) == BegunCall(1)
        fleet.keep(each.connection.serve)
    await until(lambda: not (a.is_away or b.is_away))
    assert (a.epoch_of(sid()), b.epoch_of(sid())) == (1, 1)
    rows = await fleet.ask("SELECT process_id FROM fleet_calls")
    first, second = (a, b) if rows == [(a.process_id,)] else (b, a)
    first.held.end(sid())
    await first.tell_ended()
    second.held.end(sid())
    await second.settle()
    assert await taken_epoch(fleet, 1) == [(1, True)]


async def test_a_call_that_the_database_lost_is_entered_again(fleet: Fleet) -> None:
    a = await fleet.here("a")
    assert await a.begin(sid(), FACTS, nonce="n") == BegunCall(1)
    await fleet.ask("TRUNCATE fleet_calls")
    await a.settle()
    assert await taken_epoch(fleet, 1) == [(1, False)]
    assert await a.spend(sid(), "n")


async def test_before_the_tables_are_there_it_is_away(postgres: Postgres) -> None:
    with postgres.database() as url:
        from offhook.records import database  # as the operator process does

        text = url.render_as_string(hide_password=False)
        async with fleet_on(text) as fleet:
            a = fleet.directory("a")
            await until(lambda: "tables" in a.connection.problem)
            with pytest.raises(DirectoryAwayError, match="tables are not there yet"):
                await a.begin(sid(), FACTS, nonce="n")
            assert a.held.begin_away(sid(), FACTS, nonce="n") == BegunCall(1)
            engine = database.open_engine(database.url_of(text))
            await asyncio.to_thread(database.upgrade, engine)
            await until(lambda: not a.is_away)
            assert await taken_epoch(fleet, 1) == [(1, False)]
            engine.dispose()


async def test_a_password_is_in_no_reason(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    url = make_url(fleet.url).set(host="127.0.0.1", port=1, password="CANARY", query={})
    a = fleet.directory("a", url=url.render_as_string(hide_password=False))
    await until(lambda: "not reached yet" not in a.connection.problem)
    with pytest.raises(DirectoryAwayError) as told:
        await a.find(sid())
    assert "CANARY" not in f"{told.value} {a.connection.problem} {caplog.text}"


async def test_a_place_stays_what_it_was_for_who_was_cancelled(fleet: Fleet) -> None:
    a = await fleet.here("a")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(a.begin(sid(), FACTS, nonce="n"))
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    await a.settle()
    await a.tell_ended()
    assert await taken_epoch(fleet, 1) in ([], [(1, True)])
    assert a.held.sids == ()
    assert isinstance(await a.begin(sid(2), FACTS, nonce="n"), BegunCall | CallPlace)
