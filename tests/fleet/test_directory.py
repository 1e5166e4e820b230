"""The directory of calls on a real PostgreSQL: one owner, whoever asks, and whatever fails."""

import asyncio

from tests.fleet.directories import FACTS, Fleet, sid
from tests.forms import sized

from offhook.fleet.directory import CallDirectory
from offhook.fleet.places import BegunCall, CallPlace, ClaimedCall, NoRoom


async def begun(directory: CallDirectory, number: int = 1, nonce: str | None = "n") -> None:
    answer = await directory.begin(sid(number), FACTS, nonce=nonce)
    assert answer == BegunCall(1)


async def claimed(directory: CallDirectory, number: int = 1) -> ClaimedCall:
    place = await directory.find(sid(number))
    assert place is not None
    found = await directory.claim(sid(number), place.epoch)
    assert found is not None
    return found


async def test_a_call_has_one_place(fleet: Fleet) -> None:
    a, b = await fleet.here("a"), await fleet.here("b")
    assert await a.find(sid()) is None
    await begun(a)
    assert await b.find(sid()) == CallPlace(
        sid(), a.process_id, "", "", 1, False, False, False, False, True
    )
    again = await b.begin(sid(), FACTS, nonce="other")
    assert isinstance(again, CallPlace)
    assert (again.process_id, again.is_mine) == (a.process_id, False)
    assert (a.epoch_of(sid()), b.epoch_of(sid())) == (1, None)
    assert await fleet.taken() == 1


async def test_who_claims_has_it_and_the_one_before_is_fenced(fleet: Fleet) -> None:
    a, b = await fleet.here("a"), await fleet.here("b")
    await begun(a)
    lost: list[str] = []
    a.held.fenced = lost.append
    found = await claimed(b)
    assert (found.epoch, found.lines, found.nonce) == (2, [FACTS], "n")
    assert found.from_process == a.process_id
    assert 0 <= found.began_ago_s < 60
    assert await b.claim(sid(), 1) is None, "it is in another epoch by now"
    assert not await a.spend(sid(), "n")
    assert lost == [sid()]
    assert a.epoch_of(sid()) is None
    assert not await a.release(sid())
    assert await b.spend(sid(), "n")
    assert (await claimed(a)).nonce is None


async def test_a_token_is_spent_once_by_whoever_has_it(fleet: Fleet) -> None:
    a, b = await fleet.here("a"), await fleet.here("b")
    await begun(a, nonce="one")
    assert not await a.spend(sid(), "two")
    assert await b.claim(sid(), 1, nonce="two") is None
    assert await a.spend(sid(), "one")
    assert not await a.spend(sid(), "one")
    assert await b.claim(sid(), 1, nonce="one") is None, "replayed at another node"
    await a.renew(sid(), "three")
    found = await b.claim(sid(), 1, nonce="three")
    assert found is not None
    assert found.nonce is None
    assert not await a.spend(sid(), "three")


async def test_a_released_call_is_whoevers_comes(fleet: Fleet) -> None:
    a, b = await fleet.here("a"), await fleet.here("b")
    await begun(a)
    assert await a.release(sid())
    place = await b.find(sid())
    assert place is not None
    assert (place.process_id, place.epoch, place.is_alive) == ("", 1, False)
    assert (await claimed(b)).epoch == 2


async def test_an_ended_call_is_over_everywhere(fleet: Fleet) -> None:
    a, b = await fleet.here("a"), await fleet.here("b")
    await begun(a)
    a.held.end(sid())
    await a.tell_ended()
    assert await fleet.taken() == 0
    place = await b.find(sid())
    assert place is not None
    assert place.is_over
    assert await b.claim(sid(), 1) is None
    assert isinstance(await b.begin(sid(), FACTS, nonce=None), CallPlace)
    assert isinstance(await a.begin(sid(), FACTS, nonce=None), CallPlace)
    assert await fleet.taken() == 0
    assert await fleet.ask("SELECT facts, nonce FROM fleet_calls") == [(None, None)]


async def test_the_budget_is_everybodys(fleet: Fleet) -> None:
    a, b = await fleet.here("a", most=2), await fleet.here("b", most=2)
    await begun(a, 1)
    await begun(b, 2)
    assert await a.begin(sid(3), FACTS, nonce="n") == NoRoom(2, 2)
    assert not await a.add_leg(sid(1))
    b.held.end(sid(2))
    await b.tell_ended()
    assert await a.add_leg(sid(1))
    assert await fleet.taken() == 2
    await a.return_leg(sid(1))
    assert await fleet.taken() == 1


async def test_of_two_claimants_one_has_the_call_each_time(fleet: Fleet) -> None:
    """10,000 times in the long form."""
    many = sized(400, 10_000)
    a, b, c = await fleet.here("a"), await fleet.here("b"), await fleet.here("c")
    wins = {b: 0, c: 0}
    for number in range(many):
        await begun(a, number)
        both = await asyncio.gather(b.claim(sid(number), 1), c.claim(sid(number), 1))
        assert [each is None for each in both].count(True) == 1
        winner, loser = (b, c) if both[0] is not None else (c, b)
        assert (winner.epoch_of(sid(number)), loser.epoch_of(sid(number))) == (2, None)
        wins[winner] += 1
        winner.held.end(sid(number))
    assert min(wins.values()) > 0, "they did not race"
    print(f"\n{many} races of two claimants: one owner")


async def test_of_two_processes_that_begin_a_call_one_has_it(fleet: Fleet) -> None:
    many = sized(100, 2_000)
    a, b = await fleet.here("a", most=10_000), await fleet.here("b", most=10_000)
    for number in range(many):
        both = await asyncio.gather(
            a.begin(sid(number), FACTS, nonce="a"), b.begin(sid(number), FACTS, nonce="b")
        )
        assert sorted(type(each).__name__ for each in both) == ["BegunCall", "CallPlace"]
    assert await fleet.taken() == many


async def test_a_budget_is_not_overdrawn_by_those_who_ask_at_once(fleet: Fleet) -> None:
    many, most = sized(40, 1_000), 7
    nodes = [await fleet.here(name, most=most) for name in "abc"]
    for first in range(0, many, 10):
        asked = [nodes[n % 3].begin(sid(n), FACTS, nonce="n") for n in range(first, first + 10)]
        answers = await asyncio.gather(*asked)
        assert [isinstance(each, BegunCall) for each in answers].count(True) == most
        assert await fleet.taken() == most
        for node in nodes:
            for call_sid in node.held.sids:
                node.held.end(call_sid)
        await asyncio.gather(*(node.tell_ended() for node in nodes))
        assert await fleet.taken() == 0
