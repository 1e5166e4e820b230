"""A process of a fleet acts on a call once it knows that no other one has it."""

import asyncio

import pytest

from offhook.calls import call_permit
from offhook.calls.call_permit import CallPermit
from offhook.fleet.places import LEASE_S
from offhook.fleet.pulse import Pulse

SID, OTHER = "CA" + "1" * 32, "CA" + "2" * 32


async def test_after_a_pause_it_waits_until_it_knows_what_it_has_lost() -> None:
    pulse, now = Pulse(0.0), [LEASE_S]
    permit = CallPermit(pulse, lambda: now[0])
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(permit.may_act(sid)) for sid in (SID, OTHER, "")]
        await asyncio.sleep(0)
        assert not any(task.done() for task in asked)
        permit.lose(SID)  # as the epochs tell
        pulse.settle(now[0])
    assert [task.result() for task in asked] == [False, True, True]


async def test_a_call_that_came_back_may_be_acted_on() -> None:
    permit = CallPermit(Pulse(0.0), lambda: 0.0)
    permit.lose(SID)
    assert not await permit.may_act(SID)
    permit.regain(SID)
    permit.regain(OTHER)
    assert await permit.may_act(SID)


async def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_permit, "LOST_MAX", 1)
    permit = CallPermit(Pulse(0.0), lambda: 0.0)
    permit.lose(SID)
    permit.lose(OTHER)
    assert await permit.may_act(SID)
    assert not await permit.may_act(OTHER)
