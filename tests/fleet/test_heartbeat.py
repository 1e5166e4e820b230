"""Heartbeats on a real PostgreSQL: who is alive, who takes over what, and who must not."""

import asyncio
import time
from typing import Final

import pytest
from tests.fleet.directories import FACTS, Fleet, FleetNode, sid
from tests.forms import sized
from tests.waiting import until

from offhook.clock import LoopClock
from offhook.fleet.connection import Link
from offhook.fleet.places import LEASE_S, BegunCall, ClaimedCall, OwnState
from offhook.fleet.tokens import StreamTokens


async def long_gone(fleet: Fleet, node: FleetNode) -> None:
    """Have the node's lease be over."""
    await gone(fleet, node, 11)


async def gone(fleet: Fleet, node: FleetNode, seconds: int) -> None:
    """Have the node's last beat be so many seconds ago."""
    await fleet.ask(
        "UPDATE fleet_processes SET beat_at = clock_timestamp() - %s * interval '1 s'"
        " WHERE process_id = %s",
        seconds,
        node.directory.process_id,
    )


async def steady(fleet: Fleet, node: FleetNode) -> None:
    """Have the node's heartbeat be unbroken for a lease."""
    await node.beat()
    await fleet.ask(
        "UPDATE fleet_processes SET unbroken_since = clock_timestamp() - interval '11 s'"
        " WHERE process_id = %s",
        node.directory.process_id,
    )


async def begin(node: FleetNode, number: int) -> None:
    answer = await node.directory.begin(sid(number), FACTS, nonce=f"n{number}")
    assert answer == BegunCall(1)


BETWEEN: Final = 50
"""Races between two beats and two messages of ends."""


async def test_of_a_reaper_and_a_claimant_one_has_the_call_each_time(fleet: Fleet) -> None:
    """10,000 races in the long form."""
    races = sized(200, 10_000)
    dead, reaper, asked = [await fleet.node(name) for name in "abc"]
    await dead.beat()
    await long_gone(fleet, dead)
    wins = {"reaper": 0, "claimant": 0}
    for number in range(races):
        if number % BETWEEN == 0:
            await steady(fleet, reaper)
            await asked.beat()  # else what it has claimed would be reaped
            await asyncio.gather(reaper.directory.tell_ended(), asked.directory.tell_ended())
        await begin(dead, number)
        # Of two that begin at once the first is ahead: each is it every other time.
        if number % 2:
            reaped, claimed = await asyncio.gather(
                reaper.directory.reap(), asked.directory.claim(sid(number), 1)
            )
        else:
            claimed, reaped = await asyncio.gather(
                asked.directory.claim(sid(number), 1), reaper.directory.reap()
            )
        assert [call.epoch for call in reaped] == ([] if claimed is not None else [2])
        assert claimed is None or claimed.epoch == 2
        name, winner, loser = ("reaper", reaper, asked) if reaped else ("claimant", asked, reaper)
        assert (winner.directory.epoch_of(sid(number)), loser.directory.epoch_of(sid(number))) == (
            2,
            None,
        )
        wins[name] += 1
        winner.directory.held.end(sid(number))
        dead.directory.held.forget(sid(number))
    assert min(wins.values()) > 0, f"they did not race: {wins}"
    print(
        f"\n{races} races of a reaper and a claimant: one owner, {wins['reaper']} times the reaper"
    )


async def test_everybody_knows_who_is_there(fleet: Fleet) -> None:
    a, b = await fleet.node("a"), await fleet.node("b")
    b.heartbeat.state = lambda: OwnState(True, 7, 50)
    b.heartbeat.address = "http://10.0.0.2:5002"
    await b.beat()
    await a.beat()
    seen = {each.node: each for each in a.directory.processes.values()}
    assert seen.keys() == {"a", "b"}
    assert seen["a"].is_mine
    assert not seen["b"].is_mine
    assert seen["b"].is_alive
    assert (seen["b"].is_draining, seen["b"].live, seen["b"].capacity) == (True, 7, 50)
    assert seen["b"].address == "http://10.0.0.2:5002"
    assert a.directory.alive == 2
    await long_gone(fleet, b)
    await a.beat()
    assert a.directory.alive == 1
    await begin(a, 1)
    place = await b.directory.find(sid(1))
    assert place is not None
    assert (place.node, place.is_alive) == ("a", True)


async def test_a_process_is_sure_of_its_calls_for_a_lease_after_a_beat(fleet: Fleet) -> None:
    a = await fleet.node("a")
    await begin(a, 1)
    assert a.heartbeat.owns(sid(1), 1)
    assert not a.heartbeat.owns(sid(1), 2)
    assert not a.heartbeat.owns(sid(2), 1)
    assert a.heartbeat._read_at is not None
    a.heartbeat._read_at -= LEASE_S
    assert not a.heartbeat.owns(sid(1), 1)
    await a.beat()
    assert a.heartbeat.owns(sid(1), 1)


async def test_a_dead_processs_calls_are_shared_by_the_survivors(fleet: Fleet) -> None:
    a, b, c = await fleet.node("a"), await fleet.node("b"), await fleet.node("c")
    for number in range(25):
        await begin(a, number)
    await steady(fleet, b)
    await steady(fleet, c)
    assert await b.directory.reap() == [], "it is alive"
    await long_gone(fleet, a)
    found: list[ClaimedCall] = []
    while len(found) < 25:
        both = await asyncio.gather(b.directory.reap(), c.directory.reap())
        assert all(both), "each takes a part"
        found += [call for calls in both for call in calls]
        if len(found) == 20:
            break
    rest = [*await b.directory.reap(), *await c.directory.reap()]
    found += rest
    assert sorted(call.call_sid for call in found) == [sid(number) for number in range(25)]
    assert {(call.epoch, call.from_node, call.nonce is None) for call in found} == {(2, "a", False)}
    lost: list[str] = []
    a.directory.held.fenced = lost.append
    await a.beat()
    assert sorted(lost) == [sid(number) for number in range(25)]
    assert not a.directory.held.sids


async def test_who_was_away_for_a_lease_takes_nothing_until_it_is_back_for_one(
    fleet: Fleet,
) -> None:
    a, b = await fleet.node("a"), await fleet.node("b")
    await begin(a, 1)
    await steady(fleet, b)
    await long_gone(fleet, b)
    await long_gone(fleet, a)
    assert await b.directory.reap() == []
    await b.beat()
    assert await b.directory.reap() == [], "its own heartbeat was broken"
    await steady(fleet, b)
    assert len(await b.directory.reap()) == 1


async def test_who_missed_two_beats_takes_nothing_from_those_who_missed_one_more(
    fleet: Fleet,
) -> None:
    """The database was away for some 8 s: the lease of one is over, and that of the other not."""
    a, b = await fleet.node("a"), await fleet.node("b")
    await begin(a, 1)
    await steady(fleet, b)
    await long_gone(fleet, a)
    await gone(fleet, b, 8)
    await b.beat()
    assert await b.directory.reap() == [], "the other node has had no time to beat"
    await a.beat()
    await steady(fleet, b)
    assert await b.directory.reap() == []


async def test_a_lease_that_is_over_fences_nobody(fleet: Fleet) -> None:
    a = await fleet.node("a")
    await begin(a, 1)
    lost: list[str] = []
    a.directory.held.fenced = lost.append
    await long_gone(fleet, a)
    await a.beat()
    await a.directory.read_epochs()
    assert lost == []
    assert await a.directory.spend(sid(1), "n1")


async def test_a_released_call_that_nobody_comes_for_is_taken(fleet: Fleet) -> None:
    a, b = await fleet.node("a"), await fleet.node("b")
    await begin(a, 1)
    assert await a.directory.release(sid(1))
    await steady(fleet, b)
    assert await b.directory.reap() == [], "Twilio may ask for it soon"
    await fleet.ask("UPDATE fleet_calls SET changed_at = clock_timestamp() - interval '11 s'")
    assert [call.call_sid for call in await b.directory.reap()] == [sid(1)]


async def test_the_recount_finds_what_the_budget_lost(fleet: Fleet) -> None:
    a = await fleet.node("a", most=5)
    await begin(a, 1)
    await begin(a, 2)
    for wrong in (0, 5):
        await fleet.ask("UPDATE fleet_budgets SET taken = %s", wrong)
        await a.beat()
        assert await fleet.taken() == 2
        assert a.directory.budget.taken == 2


async def test_the_database_forgets_what_is_an_hour_old(fleet: Fleet) -> None:
    a, b = await fleet.node("a"), await fleet.node("b")
    await begin(a, 1)
    await begin(a, 2)
    await begin(b, 3)
    a.directory.held.end(sid(1))
    await a.directory.tell_ended()
    await fleet.ask("UPDATE fleet_calls SET ended_at = ended_at - interval '61 min'")
    await fleet.ask(
        "UPDATE fleet_processes SET beat_at = beat_at - interval '61 min' WHERE node = 'b'"
    )
    a.heartbeat.beats = 0
    await a.beat()
    rows = await fleet.ask("SELECT call_sid FROM fleet_calls ORDER BY 1")
    assert rows == [(sid(2),), (sid(3),)]
    assert len(await fleet.ask("SELECT 1 FROM fleet_processes")) == 2, "b has a call"


async def test_the_heartbeat_runs_by_itself(fleet: Fleet) -> None:
    a, b = await fleet.node("a", runs=True), await fleet.node("b")
    await begin(b, 1)
    reaped: list[str] = []
    a.heartbeat.reaped = lambda call: reaped.append(call.call_sid)
    await steady(fleet, a)
    await long_gone(fleet, b)
    await until(lambda: reaped)
    assert reaped == [sid(1)]
    beats = a.heartbeat.beats
    await until(lambda: a.heartbeat.beats > beats)


async def test_of_a_stopping_process_nothing_is_left(fleet: Fleet) -> None:
    a, b = await fleet.node("a"), await fleet.node("b")
    await begin(a, 1)
    await a.heartbeat.leave()
    assert len(await fleet.ask("SELECT 1 FROM fleet_processes")) == 2, "it has a call"
    a.directory.held.end(sid(1))
    await a.directory.tell_ended()
    await a.heartbeat.leave()
    await b.beat()
    assert [each.node for each in b.directory.processes.values()] == ["b"]


async def test_a_process_that_was_stopped_reads_its_epochs_first(fleet: Fleet) -> None:
    a, b = await fleet.node("a"), await fleet.node("b")
    await begin(a, 1)
    await begin(a, 2)
    assert await b.directory.claim(sid(2), 1) is not None
    lost: list[str] = []
    a.directory.held.fenced = lost.append
    a.pulse.tick(fleet.clock.now() + 60)
    assert a.pulse.is_late(fleet.clock.now())
    fleet.keep(a.heartbeat.watch)
    await a.pulse.settled(fleet.clock.now)
    assert lost == [sid(2)]
    assert not a.pulse.is_late(fleet.clock.now())


async def test_epochs_that_were_read_right_before_a_stop_let_nobody_go_on(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process was stopped in the middle of a beat: its answer had come before."""
    a = await fleet.node("a")
    await begin(a, 1)
    settle = a.directory.settling.settle

    async def and_be_stopped(link: Link) -> None:
        await settle(link)
        monkeypatch.setattr(fleet.clock, "now", lambda: time.monotonic() + 60)

    with monkeypatch.context() as patched:
        patched.setattr(a.directory.settling, "settle", and_be_stopped)
        await a.beat()
    assert a.pulse.is_late(fleet.clock.now())
    await a.beat()
    assert not a.pulse.is_late(fleet.clock.now())


async def test_without_the_database_it_goes_on_all_the_same(fleet: Fleet) -> None:
    a = await fleet.node("a")
    await begin(a, 1)
    a.directory.connection.problem = "it is away"
    a.pulse.tick(fleet.clock.now() + 60)
    fleet.keep(a.heartbeat.watch)
    await a.pulse.settled(fleet.clock.now)
    assert a.directory.held.sids == (sid(1),)


async def test_the_databases_clock_is_known_from_the_beats(fleet: Fleet) -> None:
    a = fleet.unconnected("a")
    assert a.heartbeat.now_ms() is None
    b = await fleet.node("b")
    rows = await fleet.ask("SELECT extract(epoch FROM clock_timestamp())::float8 * 1000")
    now_ms = b.heartbeat.now_ms()
    assert now_ms is not None
    assert abs(now_ms - rows[0][0]) < 60_000


async def test_a_call_of_ours_of_which_the_answer_was_lost_is_found(fleet: Fleet) -> None:
    a, b = await fleet.node("a"), await fleet.node("b")
    await begin(b, 1)
    await fleet.ask("UPDATE fleet_calls SET process_id = %s, epoch = 2", a.directory.process_id)
    await steady(fleet, a)
    found = await a.directory.reap()
    assert [(call.call_sid, call.epoch) for call in found] == [(sid(1), 3)]
    assert await a.directory.spend(sid(1), "n1")


class ClockApart(LoopClock):
    """A clock that is hours ahead of the others'."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ahead_s: float) -> None:
        super().__init__(loop)
        self.now = lambda: time.monotonic() + ahead_s


async def test_clocks_of_nodes_that_are_apart_make_no_difference(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await fleet.node("a")
    fleet.clock = ClockApart(asyncio.get_running_loop(), 7200)
    b = await fleet.node("b")
    real_s = time.time
    monkeypatch.setattr(time, "time", lambda: real_s() - 600)
    monkeypatch.setattr(time, "time_ns", lambda: round((real_s() - 600) * 1e9))
    ours, theirs = a.heartbeat.now_ms(), b.heartbeat.now_ms()
    assert ours is not None
    assert theirs is not None
    assert abs(ours - theirs) < 60_000
    await begin(a, 1)
    await b.beat()
    await steady(fleet, b)
    assert b.directory.alive == 2
    assert await b.directory.reap() == []
    found = await b.directory.claim(sid(1), 1)
    assert found is not None
    assert 0 <= found.began_ago_s < 60
    token = StreamTokens(["k" * 32], "a", "a", a.heartbeat.now_ms).issue(sid(1), 1, valid_s=300)
    assert StreamTokens(["k" * 32], "b", "b", b.heartbeat.now_ms).read(token[0]).nonce == token[1]


async def test_a_machine_whose_clocks_stood_still_holds_its_calls_until_it_knows_whose_they_are(
    fleet: Fleet,
) -> None:
    """No tick of its own is late, but the database's clock has gone on."""
    a, b = await fleet.node("a"), await fleet.node("b")
    await a.beat()
    await begin(a, 1)
    await begin(a, 2)
    place = await b.directory.find(sid(1))
    assert place is not None
    assert await b.directory.claim(sid(1), place.epoch) is not None
    told: list[tuple[str, bool]] = []
    a.directory.held.fenced = lambda call_sid: told.append(
        (call_sid, a.pulse.is_late(fleet.clock.now()))
    )
    a.heartbeat._database_s -= 60  # as it was before a pause of a minute
    await a.beat()
    assert told == [(sid(1), True)], "nothing is said meanwhile"
    assert not a.pulse.is_late(fleet.clock.now()), "the other call goes on"
    # A database that was away for a minute tells no pause.
    place = await b.directory.find(sid(2))
    assert place is not None
    assert await b.directory.claim(sid(2), place.epoch) is not None
    assert a.heartbeat._read_at is not None
    a.heartbeat._database_s -= 60
    a.heartbeat._read_at -= 60
    await a.beat()
    assert told[1:] == [(sid(2), False)]
