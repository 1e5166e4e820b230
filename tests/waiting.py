"""Waits for what shows from outside alone: another thread's, process's or socket's doing.

Where something tells of what a test waits for, an event or an answer, the test waits for that.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

_T = TypeVar("_T")

LOOKS_EVERY_S: Final = 0.01
ASKS_EVERY_S: Final = 0.05
"""Between two questions: each takes milliseconds of CPU, here and where it is answered."""
GIVEN_UP_AFTER_S: Final = 240.0
"""A bound for what hangs: far above what anything takes on a busy machine."""


async def until(done: Callable[[], object], *, every_s: float = LOOKS_EVERY_S) -> None:
    """Wait on the loop until something is so. What takes long to find out is asked less often."""
    async with asyncio.timeout(GIVEN_UP_AFTER_S):
        while not done():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(every_s)


async def until_it(done: Callable[[], Awaitable[object]]) -> None:
    """Wait on the loop until something is so that takes a question to find out."""
    async with asyncio.timeout(GIVEN_UP_AFTER_S):
        while not await done():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(ASKS_EVERY_S)


async def until_found(ask: Callable[[], Awaitable[_T]], wanted: Callable[[_T], object]) -> _T:
    """Ask on the loop until the answer is as wanted, and return it."""
    found = [await ask()]

    async def is_wanted() -> bool:
        if wanted(found[-1]):
            return True
        found[:] = [await ask()]
        return False

    await until_it(is_wanted)
    return found[-1]


def wait_until(done: Callable[[], object]) -> None:
    """Wait without a loop until something is so."""
    end = time.monotonic() + GIVEN_UP_AFTER_S
    while not done():
        assert time.monotonic() < end, "what the test waits for does not happen"
        time.sleep(LOOKS_EVERY_S)


async def settled() -> None:
    """Let the loop do what is due, such as to close what has been asked to close."""
    for _ in range(20):
        await asyncio.sleep(0)
