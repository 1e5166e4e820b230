"""The registry: what counts as live, what is remembered, and what waits for a lookup."""

import asyncio
from typing import cast

import pytest
from tests.calls.fake_session import SID, FakeSession, live_entry

from offhook.call.ending import Ending, Slug
from offhook.call.handoff_actions import SendDigits
from offhook.call.inputs import CallOver, HandoffDone, ServerStopped
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_limits import CallLimit, CallLimits, LagGuard
from offhook.calls.registry import CallRegistry
from offhook.calls.replay_cache import mark_of
from offhook.deepgram.session_budget import SessionBudget
from offhook.events.types import AgentConnected, CallBilled, CallEvent, RecordingFailed
from offhook.testing.virtual_clock import VirtualClock

OTHER = "CA" + "2" * 32


class Rig:
    """A registry of two calls at most, and what it publishes."""

    def __init__(self) -> None:
        self.clock = VirtualClock(1000.0)
        self.events: list[CallEvent] = []
        self.sessions = SessionBudget(2, self.clock.now)
        limits = CallLimits(2, self.sessions, LagGuard(0))
        self.registry = CallRegistry(limits, self.clock, self.events.append, [mark_of(OTHER)])

    def add(self, sid: str = SID, session: FakeSession | None = None) -> CallEntry:
        entry = live_entry(self.clock, session, sid=sid)
        self.registry.add(entry)
        return entry


def session_of(entry: CallEntry) -> FakeSession:
    return cast("FakeSession", entry.session)


def test_a_call_is_live_with_a_stream_or_while_one_is_due_or_while_it_is_looked_up() -> None:
    rig = Rig()
    entry = rig.add()
    assert rig.registry.live_count == 1
    session_of(entry).has_stream = False
    assert rig.registry.live_count == 0
    entry.expected_until = rig.clock.now() + 10
    assert rig.registry.live_count == 1
    rig.clock.run(10)
    assert rig.registry.live_count == 0
    rig.registry.begin_lookup(OTHER)
    assert rig.registry.live_count == 1
    rig.registry.end_lookup(OTHER)
    assert rig.registry.live_count == 0


def test_no_call_is_taken_at_capacity_or_while_the_server_drains() -> None:
    rig = Rig()
    rig.add()
    reached = [rig.registry.limit_reached]
    rig.registry.begin_lookup(OTHER)
    reached.append(rig.registry.limit_reached)
    rig.registry.end_lookup(OTHER)
    rig.registry.is_draining = True
    reached.append(rig.registry.limit_reached)
    assert reached == [None, CallLimit.CAPACITY, CallLimit.CAPACITY]


def test_calls_of_the_process_before_count_for_capacity_and_sessions() -> None:
    rig = Rig()
    rig.registry.live_beside = 1
    reached = [rig.registry.limit_reached]
    rig.sessions.dialled = 1
    reached.append(rig.registry.limit_reached)
    rig.registry.live_beside = 2
    reached.append(rig.registry.limit_reached)
    assert reached == [None, CallLimit.SESSIONS, CallLimit.CAPACITY]
    assert rig.registry.live_count == 0, "they are shown where they are"


def test_calls_that_will_dial_count_as_sessions_and_those_that_wait_for_nothing_do_not() -> None:
    rig = Rig()
    entry = rig.add()
    rig.sessions.dialled = 1
    reached = [rig.registry.limit_reached]  # one session, which is that of the call
    session_of(entry).has_agent = False
    reached.append(rig.registry.limit_reached)  # it was lost, and another one is closing
    session_of(entry).has_stream = False
    reached.append(rig.registry.limit_reached)  # its caller talks with somebody else
    rig.registry.begin_lookup(OTHER)
    reached.append(rig.registry.limit_reached)
    sessions = CallLimit.SESSIONS
    assert reached == [None, sessions, None, sessions]


def test_little_is_kept_of_a_call_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offhook.calls.registry.RECENT_MAX", 1)
    rig = Rig()
    entry = rig.add()
    entry.values = {"name": "Ada"}
    entry.handoff.action = SendDigits("1")
    ending = Ending(Slug.CALLER_HUNG_UP, "")
    rig.registry.end(SID, ending)
    assert rig.registry.find(SID) is entry
    assert (entry.session, entry.ending, dict(entry.values)) == (None, ending, {})
    assert vars(entry.handoff)["action"] is None
    assert rig.registry.was_seen(SID)
    assert not rig.registry.is_long_over(SID)
    rig.add(OTHER)
    rig.registry.end(OTHER, ending)
    assert rig.registry.find(SID) is None
    assert rig.registry.is_long_over(SID)


def test_a_call_of_an_earlier_run_is_long_over() -> None:
    assert Rig().registry.is_long_over(OTHER)


def test_what_happens_during_a_lookup_is_told_after_it() -> None:
    rig = Rig()
    pending = rig.registry.begin_lookup(SID)
    rig.registry.send(SID, CallOver())
    rig.registry.bill(SID, "completed", 7)
    assert rig.events == []
    rig.registry.end_lookup(SID)
    entry = rig.add()
    for tell in pending.owed:
        tell()
    assert session_of(entry).inputs == [CallOver()]
    assert [event.event for event in rig.events] == [CallBilled("completed", 7000)]


def test_a_call_is_billed_once() -> None:
    rig = Rig()
    rig.add()
    for _ in range(2):
        rig.registry.bill(SID, "completed", 7)
    assert len(rig.events) == 1


def test_an_event_has_the_time_since_its_call_began() -> None:
    rig = Rig()
    rig.add()
    rig.clock.run(2)
    for sid in (SID, OTHER):
        rig.registry.note(sid, RecordingFailed("a test"))
    assert [(event.call_sid, event.at_ms) for event in rig.events] == [(SID, 2000), (OTHER, 0)]


def test_the_agent_has_answered_when_its_leg_is_up() -> None:
    rig = Rig()
    entry = rig.add()
    rig.registry.publish(CallEvent(SID, 0, RecordingFailed("a test")))
    assert not entry.answered.is_set()
    rig.registry.publish(CallEvent(SID, 0, AgentConnected("a request", 0)))
    assert entry.answered.is_set()
    assert len(rig.events) == 2


def test_a_caller_who_talks_with_somebody_else_was_transferred_when_the_server_stops() -> None:
    rig = Rig()
    entry, other = rig.add(), rig.add(OTHER)
    entry.handoff.action = SendDigits("1")
    entry.handoff.begin()
    session_of(entry).inputs.clear()
    rig.clock.run(60)
    rig.registry.stop_all()
    assert session_of(entry).inputs == [HandoffDone("reached"), ServerStopped()]
    assert session_of(other).inputs == [ServerStopped()]


async def test_a_stopping_server_waits_until_twilio_was_told_what_comes_after() -> None:
    rig = Rig()
    entry = rig.add()
    entry.is_after_due = True
    rig.registry.end(SID, None)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(rig.registry.until_after_answered(600, lambda: False))
        await asyncio.sleep(0)
        assert not waiting.done()
        rig.registry.after_answered(entry)


async def test_a_stopping_server_waits_until_no_call_is_live() -> None:
    rig = Rig()
    rig.add()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(rig.registry.until_idle())
        await asyncio.sleep(0)
        assert not waiting.done()
        rig.registry.end(SID, None)
