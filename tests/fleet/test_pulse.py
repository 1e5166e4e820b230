"""A process that was stopped for a lease is late until its epochs are read."""

import asyncio

from offhook.fleet.places import LEASE_S
from offhook.fleet.pulse import Pulse


def test_ticks_keep_a_pulse_in_time() -> None:
    pulse = Pulse(0.0)
    for second in range(60):
        assert not pulse.is_late(second)
        assert not pulse.tick(second)


async def test_a_stop_is_late_before_any_tick_and_until_it_is_settled() -> None:
    pulse = Pulse(0.0)
    assert not pulse.is_late(LEASE_S - 0.1)
    assert pulse.is_late(LEASE_S)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(pulse.settled(lambda: LEASE_S))
        await asyncio.sleep(0)
        assert pulse.tick(LEASE_S + 1), "a tick alone does not forgive it"
        assert pulse.is_late(LEASE_S + 1)
        assert not waiting.done()
        pulse.settle(LEASE_S + 2)
    assert not pulse.is_late(LEASE_S + 2)
    await pulse.settled(lambda: LEASE_S + 3)


async def test_epochs_that_were_asked_for_before_another_stop_settle_nothing() -> None:
    pulse = Pulse(0.0)
    assert pulse.tick(LEASE_S)
    pulse.settle(LEASE_S)
    assert pulse.is_late(2 * LEASE_S)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(pulse.settled(lambda: 2 * LEASE_S))
        await asyncio.sleep(0)
        assert not waiting.done()
        pulse.settle(2 * LEASE_S)
    assert not pulse.is_late(2 * LEASE_S + 1)


async def test_who_waited_waits_again_after_a_stop_in_the_moment_in_which_it_was_settled() -> None:
    pulse, now = Pulse(0.0), [LEASE_S]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(pulse.settled(lambda: now[0]))
        await asyncio.sleep(0)
        pulse.settle(LEASE_S)
        now[0] = 3 * LEASE_S
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        pulse.settle(3 * LEASE_S)
