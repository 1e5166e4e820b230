"""Intake of calls: announced, placed, looked up, refused; each of them once."""

import asyncio
from typing import Any

import pytest
from tests.calls.interruptions import SID, Process, Servers
from tests.whole_server import ACCOUNT, QUICK, configured

from offhook.calls.call_entry import CallEntry, PendingCall
from offhook.calls.intake import NotBegunError
from offhook.calls.lookup import LookupResult
from offhook.config import Agent
from offhook.events.types import CallBegan
from offhook.twilio.messages import Start, StartDetails

TOKEN = "t" * 24


class SlowLookup:
    """A lookup that goes on until it is told to end."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def __call__(self, agent: Agent, call: object) -> LookupResult:
        self.asked += 1
        self.begun.set()
        await self.goes_on.wait()
        return LookupResult({"name": "Ada"})


class FullFleet:
    """A fleet without room."""

    def first_token(self, call_sid: str) -> str:
        return TOKEN

    async def begin(self, call_sid: str, facts: object) -> str:
        return "sessions"

    async def reserve(self, facts: object) -> str:
        return "sessions"


@pytest.fixture
def now() -> Process:
    return Servers(configured("ws://127.0.0.1:1/", variables={"name": "friend"}), QUICK).now


def line(now: Process) -> Agent:
    agent = now.calls.agents.agent_for(None)
    assert agent is not None
    return agent


async def arrive(now: Process) -> CallEntry:
    return await now.calls.intake.arrive(SID, ACCOUNT, line(now), from_="+12025550142")


def began(now: Process) -> int:
    return sum(isinstance(event, CallBegan) for event in now.events)


async def test_a_call_that_arrives_twice_is_looked_up_and_taken_in_once(now: Process) -> None:
    look_up = now.calls.intake._look_up = SlowLookup()
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(arrive(now)) for _ in range(2)]
        asyncio.get_running_loop().call_soon(look_up.goes_on.set)
    first, second = (task.result() for task in both)
    assert first is second
    assert first.values["name"] == "Ada"
    assert (look_up.asked, began(now)) == (1, 1)


async def test_a_call_whose_lookup_was_cancelled_can_arrive_again(now: Process) -> None:
    look_up = now.calls.intake._look_up = SlowLookup()
    async with asyncio.TaskGroup() as group:
        arriving = group.create_task(arrive(now))
        await look_up.begun.wait()
        arriving.cancel()
    assert arriving.cancelled()
    assert (now.calls.registry.pending_lookup(SID), now.calls.registry.find(SID)) == (None, None)
    look_up.goes_on.set()
    assert (await arrive(now)).session is not None
    assert began(now) == 1


async def test_a_call_for_which_the_fleet_has_no_room_leaves_nothing(now: Process) -> None:
    fleet: Any = FullFleet()
    ended: list[str] = []
    fleet.end = ended.append
    now.calls.intake._fleet = now.calls.placed._fleet = fleet
    with pytest.raises(NotBegunError, match="sessions"):
        await arrive(now)
    assert now.calls.registry.pending_lookup(SID) is None
    assert (now.calls.registry.find(SID), ended, began(now)) == (None, [SID], 0)
    assert await now.calls.placed.expect(outbound(now)) == "sessions"
    assert now.calls.placed.pending(TOKEN) is None


def outbound(now: Process) -> PendingCall:
    return PendingCall(TOKEN, line(now), ACCOUNT, "+12025550100", "+12025550142", {}, 30, named)


def named(call_sid: str) -> None:
    """Do nothing with the CallSid of a call."""


def admitted(now: Process) -> str | None:
    start = Start("MZ1", StartDetails(ACCOUNT, SID, custom_parameters={"token": TOKEN}))
    channel: Any = None
    return now.calls.intake.admit(channel, start)


async def test_a_stream_of_a_call_that_is_no_longer_expected_is_refused(now: Process) -> None:
    pending = outbound(now)
    assert await now.calls.placed.expect(pending) is None
    now.calls.placed.unexpect(pending)
    now.calls.placed.unexpect(pending)
    assert admitted(now) is not None
    assert now.calls.registry.find(SID) is None


async def test_a_call_that_is_named_twice_is_taken_in_once(now: Process) -> None:
    pending = outbound(now)
    assert await now.calls.placed.expect(pending) is None
    first = await now.calls.placed.name(SID, pending)
    assert first is not None
    assert await now.calls.placed.name(SID, pending) is first
    assert now.calls.placed.place(SID, pending) is first
    assert now.calls.placed.placed_with(SID, TOKEN) is None, "its token has been used"
    assert began(now) == 1
