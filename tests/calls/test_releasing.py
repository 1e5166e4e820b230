"""A call that its process gives up goes on in another one, and nobody hears of it twice."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.calls.interruptions import SID, Process, Servers
from tests.calls.test_interrupted import (
    GREETING,
    STAYS,
    asked,
    history,
    on_the_line,
    servers,
)
from tests.whole_server import ACCOUNT, ASK, GREET, HANG_UP, HOURS, caller, texts

from offhook.call.ending import Slug
from offhook.calls import releasing as module
from offhook.calls.call_entry import PendingCall
from offhook.calls.interrupted import DEATHS_MAX
from offhook.calls.places import TakenCall
from offhook.events.types import (
    AgentDisconnected,
    AgentSaid,
    CallEnded,
    CallerSaid,
    CallReleased,
    CallTakenOver,
)
from offhook.testing.simulator.twilio.stream import SimulatedStream


def released(of: Servers, process: Process, token: str | None = None) -> bool:
    """Have a process give the call up to another one of its machine."""
    return asyncio.run(process.calls.releasing.release(SID, to="the next one", token=token))


def adopted(process: Process, **more: object) -> bool:
    """Have another process go on with it."""
    file = process.journal.adopt(SID)
    assert file is not None
    return process.calls.interrupted.go_on(TakenCall(file.call_sid, file.lines, **more))  # type: ignore[arg-type]


def test_a_released_call_goes_on_in_another_process_with_its_conversation() -> None:
    of = servers()
    on_the_line(of, caller(GREET, ASK, GREET, STAYS))
    of.clock.run(10)
    before, after = of.now, of.begin_beside()
    assert released(of, before)
    assert before.calls.registry.live == {}
    assert before.calls.registry.find(SID) is None, "it is not over"
    assert isinstance(before.events[-1], CallReleased)
    assert [type(each) for each in before.events].count(AgentDisconnected) == 1
    assert not [each for each in before.events if isinstance(each, CallEnded)]
    assert adopted(after)
    of.clock.run(1)
    stream = after.stream(caller(ASK, GREET, HANG_UP), asked(after))
    of.clock.run(20)
    assert stream.bursts
    assert len(texts(after.events, CallerSaid)) == 1
    assert history(after)[:2] == [("assistant", GREETING), ("user", HOURS)]
    (ended,) = (each for each in after.events if isinstance(each, CallEnded))
    assert ended.slug == "caller_hung_up"
    assert before.happened[-1].event == CallReleased("handed_over")
    assert len(before.agents) == 1
    assert before.agents[0].closed is not None


def test_what_the_agent_was_saying_counts_as_far_as_it_was_heard() -> None:
    of = servers()
    of.now.stream(caller(STAYS), of.announce().token)
    of.clock.run(1.2)
    assert released(of, of.now)
    (said,) = (each for each in of.now.events if isinstance(each, AgentSaid))
    assert said.interrupted
    assert said.heard_ms > 0


def test_a_call_is_given_up_for_its_own_stream_alone() -> None:
    of = servers()
    token = of.announce().token
    assert token is not None
    before, after = of.now, of.begin_beside()
    assert not released(of, before, token + "x")
    assert before.calls.registry.live
    assert released(of, before, token)
    assert adopted(after)
    after.stream(caller(GREET, HANG_UP), token)
    of.clock.run(10)
    assert after.refused == []
    assert texts(after.events, AgentSaid) == [GREETING]


def test_a_call_is_given_up_whose_stream_comes_before_twilio_has_answered_our_request() -> None:
    of = servers()
    before, after = of.now, of.begin_beside()
    named: list[str] = []
    agent = before.calls.agents.agent_for(None)
    assert agent is not None
    pending = PendingCall("placed", agent, ACCOUNT, "+1", "+2", {}, 30.0, named.append)
    assert asyncio.run(before.calls.placed.expect(pending)) is None
    assert not released(of, before, "another")
    assert released(of, before, "placed")
    assert adopted(after)
    after.stream(caller(GREET, HANG_UP), "placed")
    of.clock.run(10)
    assert after.refused == []
    assert texts(after.events, AgentSaid) == [GREETING]
    assert asyncio.run(before.calls.placed.name(SID, pending)) is None, "it is not begun again"
    assert (named, before.calls.registry.live) == ([SID], {})


def test_a_call_on_its_stream_is_not_given_up_for_a_used_token() -> None:
    of = servers()
    entry = of.announce()
    token = entry.token
    of.now.stream(caller(STAYS), token)
    of.clock.run(3)
    assert not released(of, of.now, token)
    assert of.now.calls.registry.live


def test_a_call_that_was_given_up_before_is_had_by_the_process_that_asks() -> None:
    of = servers()
    on_the_line(of)
    asyncio.run(of.now.calls.releasing.release_all())
    assert isinstance(of.now.events[-1], CallReleased)
    assert of.files, "its file stays until somebody asks for it"
    after = of.begin_beside()
    assert released(of, of.now)
    assert adopted(after)
    assert not asyncio.run(of.now.calls.releasing.release("CA" + "7" * 32))


@pytest.mark.parametrize("way", ["answered", "hurried", "late"])
def test_a_call_whose_person_is_being_asked_is_given_up_last(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = servers()
    on_the_line(of)
    looks: list[bool] = []
    releasing = of.now.calls.releasing
    monkeypatch.setattr(module, "LOOK_S", 0.001)
    monkeypatch.setattr(module, "ASKED_S", 0.005 if way == "late" else 60)

    def is_asking(call_sid: str) -> bool:
        looks.append(call_sid in of.now.calls.registry.live)
        return way != "answered" or len(looks) < 4

    releasing.is_asking = is_asking
    hurries = iter([False, False, True])
    is_hurried = {"hurried": lambda: next(hurries)}.get(way, lambda: False)
    asyncio.run(releasing.release_all(is_hurried=is_hurried))
    assert isinstance(of.now.events[-1], CallReleased)
    assert len(looks) >= 3
    assert all(looks), "the call was there while the person was asked"


def test_the_others_are_given_up_before_it_and_it_stays_if_nobody_takes_calls_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = servers()
    on_the_line(of)
    live = of.now.calls.registry.live
    other = "CA" + "5" * 32
    live[other] = live[SID]
    gone: list[str] = []
    releasing = of.now.calls.releasing
    monkeypatch.setattr(module, "LOOK_S", 0.001)
    releasing.is_asking = lambda call_sid: call_sid == SID and len(gone) < 3

    async def release_each(sids: Sequence[str], to: str | None) -> None:
        gone.extend(sids)
        live.pop(other, None)

    def is_hurried() -> bool:
        assert gone == [other], "it has not waited for the call whose person is asked"
        return True

    monkeypatch.setattr(releasing, "_release_each", release_each)
    asyncio.run(releasing.release_all(is_hurried=is_hurried, is_taken=lambda: False))
    assert gone == [other]
    asyncio.run(releasing.release_all(is_hurried=lambda: True))
    assert SID in gone


def test_a_call_that_twilio_asks_nothing_about_is_not_given_up() -> None:
    of = servers()
    of.now.stream(caller(STAYS), None)  # a TwiML Bin's, without REST credentials
    of.clock.run(3)
    asyncio.run(of.now.calls.releasing.release_all())
    assert list(of.now.calls.registry.live) == [SID]


def test_releases_are_no_deaths_of_a_poisonous_call() -> None:
    of = servers()
    on_the_line(of)
    process = of.now
    for _ in range(DEATHS_MAX + 2):
        after = of.begin_beside()
        assert released(of, process)
        assert adopted(after)
        process = after
        of.clock.run(1)
    assert SID in process.calls.registry.live


def test_the_clock_of_another_machine_says_nothing() -> None:
    of = servers()
    on_the_line(of)
    of.files[SID] = [
        line.replace(b'"boot":"', b'"boot":"another').replace(b'"began_s":1', b'"began_s":90')
        for line in of.files[SID]
    ]
    process = of.begin_beside()
    assert released(of, of.now)
    assert adopted(process, epoch=2, node="b", began_ago_s=7.0)
    (taken,) = (each for each in process.events if isinstance(each, CallTakenOver))
    assert (taken.epoch, taken.node) == (2, "b")
    assert process.entry().began == pytest.approx(of.clock.now() - 7.0)


async def held_open(of: Servers, stream: SimulatedStream) -> None:
    """Release the call while its lines are stored, which takes a second."""
    stored, releasing = asyncio.Event(), of.now.calls.releasing

    async def store(call_sid: str) -> None:
        await stored.wait()

    releasing.give_up = store
    async with asyncio.TaskGroup() as group:
        group.create_task(releasing.release(SID))
        for _ in range(10):
            await asyncio.sleep(0)
            of.clock.run(0.1)
            assert stream.closed is None, "nobody could find the call yet"
        stored.set()
    of.clock.run(0.1)
    assert stream.closed is not None


def test_the_stream_of_a_released_call_closes_when_its_lines_are_stored() -> None:
    of = servers()
    stream = of.now.stream(caller(GREET, STAYS), of.announce().token)
    of.clock.run(6)
    asyncio.run(held_open(of, stream))


# --- fenced --------------------------------------------------------------------------------------


def test_a_fenced_call_is_dropped_without_a_sound() -> None:
    of = servers()
    who = caller(GREET, ASK, GREET, STAYS)
    stream = of.now.stream(who, of.announce().token)
    of.clock.run_until(lambda: bool(texts(of.now.events, CallerSaid)), 20)
    events, bursts = len(of.now.happened), len(stream.bursts)
    of.now.calls.releasing.fence(SID)
    assert of.now.calls.registry.live == {}
    of.clock.run(60)
    assert of.now.events[events:] == [CallReleased("fenced")]
    assert len(stream.bursts) == bursts
    assert all(agent.closed is not None for agent in of.now.agents)
    assert len(of.now.agents) == 1, "nothing is dialled"
    of.now.calls.releasing.fence(SID)
    assert Slug.SERVER_DIED.slug not in [getattr(e, "slug", "") for e in of.now.events]


async def opened_by_a_page(process: Process) -> str:
    return (await process.calls.browser.begin("", "Ada", {}, 10.0)).entry.call_sid


def test_a_call_from_a_browser_is_lost_with_its_process_and_never_fenced() -> None:
    of = servers()
    before = of.now
    call_sid = asyncio.run(opened_by_a_page(before))
    taken = TakenCall(call_sid, list(of.files[call_sid]), epoch=2)
    after, lost = of.begin_beside(), list[str]()
    before.calls.interrupted.lost = after.calls.interrupted.lost = lost.append
    assert not after.calls.interrupted.go_on(taken)
    assert lost == [call_sid], "its session is anybody's"
    before.calls.releasing.fence(call_sid, 2)
    assert call_sid in before.calls.registry.live, "no other process can have its stream"
    assert not before.calls.interrupted.go_on(taken)
    assert lost == [call_sid]
