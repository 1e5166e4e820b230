"""The threads of the API: few, bounded, and nobody waits for them for long."""

import asyncio
import threading

import pytest
from tests.waiting import until

from offhook.api.problems import ApiError
from offhook.api.reading import THREADS, WAITING_MAX, Readers


def alive() -> set[threading.Thread]:
    """The threads of all readers, also of those of tests before, which may be about to end."""
    return {thread for thread in threading.enumerate() if thread.name == "API"}


async def test_it_returns_and_raises_what_the_function_does() -> None:
    readers = Readers()
    assert await readers.run(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await readers.run(lambda: 1 // 0)
    readers.close()


async def test_a_database_that_hangs_holds_so_many_threads_and_no_more() -> None:
    readers = Readers(patience_s=0.05)
    before = alive()
    hanging = threading.Event()
    ran: list[int] = []

    def work(n: int) -> None:
        ran.append(n)
        hanging.wait(20)

    answers = await asyncio.gather(
        *(readers.run(lambda n=n: work(n)) for n in range(2 * (THREADS + WAITING_MAX))),  # type: ignore[misc]
        return_exceptions=True,
    )
    assert all(isinstance(a, ApiError) and a.status == 503 for a in answers)
    assert {a.problem.code for a in answers if isinstance(a, ApiError)} == {"E-API-09"}
    assert len(alive() - before) == THREADS
    hanging.set()
    # What nobody waits for any more is not begun.
    async with asyncio.timeout(240):
        while True:
            try:
                assert await readers.run(lambda: "well again") == "well again"
                break
            except ApiError:
                await asyncio.sleep(0.01)  # a client would ask again, too
    assert len(ran) == THREADS
    readers.close()


async def test_the_threads_end() -> None:
    before = alive()
    readers = Readers()
    await readers.run(lambda: None)
    assert len(alive() - before) == 1
    readers.close()
    await until(lambda: alive() <= before)
