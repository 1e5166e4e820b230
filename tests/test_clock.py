"""The two clocks keep one promise: LoopClock in the world's time, VirtualClock at once."""

import asyncio
import time

import pytest

from offhook.clock import Clock, LoopClock
from offhook.testing.virtual_clock import VirtualClock

ROUNDING_S = 0.002
"""A loop's timers know whole milliseconds, of a time that it read a moment ago."""


class Watched:
    """A clock, and a way to let its time pass: the world's if it must be."""

    def __init__(self, clock: Clock, speed: float = 1.0) -> None:
        self.clock = clock
        self.early = ROUNDING_S * speed

    async def until(self, done: asyncio.Event) -> None:
        if isinstance(self.clock, VirtualClock):
            assert self.clock.run_until(done.is_set, 60)
        async with asyncio.timeout(240):
            await done.wait()


@pytest.fixture(params=["the world's", "ten times as fast", "virtual"])
async def watched(request: pytest.FixtureRequest) -> Watched:
    loop = asyncio.get_running_loop()
    if request.param == "virtual":
        return Watched(VirtualClock(now=100.0))
    if request.param == "ten times as fast":
        return Watched(LoopClock(loop, speed=10.0), speed=10.0)
    return Watched(LoopClock(loop))


async def test_callbacks_come_once_in_the_order_of_their_times(watched: Watched) -> None:
    clock, done = watched.clock, asyncio.Event()
    began = clock.now()
    came: list[tuple[float, float]] = []

    def at(seconds: float) -> None:
        clock.call_at(began + seconds, lambda: came.append((seconds, clock.now() - began)))

    for seconds in (0.3, 0.1, 0.2, 0.0):
        at(seconds)
    clock.call_at(began + 0.4, done.set)
    await watched.until(done)
    assert [due for due, _ in came] == [0.0, 0.1, 0.2, 0.3]
    for due, now in came:
        assert now >= due - watched.early


async def test_what_is_due_already_comes_soon_but_never_within_the_call(watched: Watched) -> None:
    clock, done = watched.clock, asyncio.Event()
    clock.call_at(clock.now() - 5, done.set)
    assert not done.is_set()
    before = clock.now()
    await watched.until(done)
    assert clock.now() >= before


async def test_what_is_called_off_never_comes(watched: Watched) -> None:
    clock, done = watched.clock, asyncio.Event()
    came: list[str] = []
    early = clock.call_at(clock.now() + 0.05, lambda: came.append("called off"))
    late = clock.call_at(clock.now() + 0.1, lambda: came.append("came"))
    clock.call_at(clock.now() + 0.2, done.set)
    early.cancel()
    early.cancel()
    await watched.until(done)
    late.cancel()
    assert came == ["came"]


async def test_a_callback_may_set_and_call_off_others(watched: Watched) -> None:
    clock, done = watched.clock, asyncio.Event()
    came: list[str] = []
    doomed = clock.call_at(clock.now() + 0.2, lambda: came.append("doomed"))

    def first() -> None:
        doomed.cancel()
        clock.call_at(clock.now() + 0.3, done.set)

    clock.call_at(clock.now() + 0.05, first)
    await watched.until(done)
    assert came == []


async def test_the_clock_is_the_systems_monotonic_one() -> None:
    """Not the loop's, which stands still while a callback runs."""
    clock = LoopClock(asyncio.get_running_loop())
    before = time.monotonic()
    now = clock.now()
    assert before <= now <= time.monotonic()


async def test_a_fast_clock_runs_as_many_times_as_fast() -> None:
    clock = LoopClock(asyncio.get_running_loop(), speed=1000.0)
    before = time.monotonic()
    now = clock.now()
    assert before * 1000 <= now <= time.monotonic() * 1000


async def test_an_hour_of_a_fast_clock_is_over_at_once() -> None:
    clock, done = LoopClock(asyncio.get_running_loop(), speed=36_000.0), asyncio.Event()
    began = clock.now()
    clock.call_at(began + 3600, done.set)
    async with asyncio.timeout(240):
        await done.wait()
    assert clock.now() - began >= 3600 - ROUNDING_S * 36_000
