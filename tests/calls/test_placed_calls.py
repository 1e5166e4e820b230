"""Intake of calls that this process or another one places, with a fleet that answers as told."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from tests.calls.interruptions import SID, Process, Servers
from tests.whole_server import ACCOUNT, QUICK, configured

from offhook.call import inputs
from offhook.call.ending import Slug
from offhook.calls.call_entry import PendingCall
from offhook.calls.live_facts import LiveFacts, encoded
from offhook.calls.places import TakenCall
from offhook.twilio.messages import Start, StartDetails

TOKEN = "a token"


class FleetThatAnswers:
    """The part of FleetPlaces that placed calls use."""

    def __init__(self) -> None:
        self.named: list[tuple[str, LiveFacts]] = []
        self.ended: list[str] = []
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.taken: TakenCall | None = None

    def first_token(self, call_sid: str) -> str:
        return TOKEN

    async def reserve(self, facts: LiveFacts) -> None:
        return None

    async def name(self, call_sid: str, facts: LiveFacts) -> bool:
        self.named.append((call_sid, facts))
        self.asked.set()
        await self.answer.wait()
        return True

    def end(self, call_sid: str) -> None:
        self.ended.append(call_sid)

    def stream(
        self, call_sid: str, token: str | None, *, is_here: bool
    ) -> Coroutine[Any, Any, TakenCall | None]:
        async def take() -> TakenCall | None:
            return self.taken

        return take()


def server() -> tuple[Servers, Process, FleetThatAnswers]:
    of = Servers(configured("ws://127.0.0.1:1/", variables={"city": "Bonn"}), QUICK)
    fleet: Any = FleetThatAnswers()
    of.now.calls.intake._fleet = of.now.calls.placed._fleet = fleet
    return of, of.now, fleet


def pending_call(of: Servers) -> PendingCall:
    return PendingCall(
        token=TOKEN,
        agent=of.config.lines["default"],
        account_sid=ACCOUNT,
        from_="+12025550100",
        to="+12025550142",
        variables={"name": "Ada"},
        rings_s=30,
        named=lambda call_sid: None,
    )


async def test_a_report_and_an_answer_that_come_at_once_name_a_call_once() -> None:
    of, now, fleet = server()
    pending = pending_call(of)
    assert await now.calls.placed.expect(pending) is None
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(now.calls.placed.name(SID, pending)) for _ in range(2)]
        asyncio.get_running_loop().call_soon(fleet.answer.set)
    assert [call_sid for call_sid, _ in fleet.named] == [SID]
    assert [task.result() for task in both] == [now.entry()] * 2
    facts = fleet.named[0][1]
    assert facts.values == now.entry().values, "whoever takes it over says no braces"
    assert {"called": pending.to, "city": "Bonn", "name": "Ada"}.items() <= facts.values.items()


async def test_a_call_that_is_over_before_it_is_named_is_not_held() -> None:
    of, now, fleet = server()
    pending = pending_call(of)
    assert await now.calls.placed.expect(pending) is None
    async with asyncio.TaskGroup() as group:
        naming = group.create_task(now.calls.placed.name(SID, pending))
        await fleet.asked.wait()
        now.calls.placed.placed_with(SID, TOKEN)
        now.calls.registry.send(SID, inputs.NobodyReached(Slug.LINE_BUSY, ""))
        fleet.answer.set()
    entry = naming.result()
    assert entry is not None
    assert entry.session is None
    assert fleet.ended == [SID]


def _raise(taken: TakenCall) -> bool:
    raise RuntimeError("a fault")


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_claimed_call_that_cannot_go_on_here_is_held_no_longer(has_begun: bool) -> None:
    """One whose agent is in another node's configuration alone, and one with which a fault is."""
    of, now, fleet = server()
    facts = replace(now.calls.placed._facts_of(pending_call(of)), agent="elsewhere")
    fleet.taken = TakenCall(SID, [encoded(facts)], has_begun=has_begun)
    now.calls.intake.go_on = lambda taken: False
    details = StartDetails(ACCOUNT, SID, custom_parameters={"token": TOKEN})
    start = Start("MZ1", details)
    work = now.calls.intake.prepare(start)
    assert work is not None
    assert await work == "the call cannot go on here"
    assert fleet.ended == [SID]
    now.calls.intake.go_on = _raise
    fleet.taken = TakenCall(SID, [b"no facts"], has_begun=has_begun)
    work = now.calls.intake.prepare(start)
    assert work is not None
    with pytest.raises(Exception, match=r"a fault|JSON"):
        await work
    assert fleet.ended == [SID, SID]


async def test_a_call_that_is_here_already_stays_held() -> None:
    of, now, fleet = server()
    of.announce()
    fleet.taken = TakenCall(SID, [])
    now.calls.intake.go_on = lambda taken: False
    work = now.calls.intake.prepare(
        Start("MZ1", StartDetails(ACCOUNT, SID, custom_parameters={"token": TOKEN}))
    )
    assert work is not None
    assert await work == "the call cannot go on here"
    assert fleet.ended == []
