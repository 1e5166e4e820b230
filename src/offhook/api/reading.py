"""Threads in which the API queries the database and reads files, never on the event loop."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from offhook.api.problems import ApiError
from offhook.concurrency.thread_job import ThreadJob
from offhook.errors import UserError

THREADS: Final = 4
WAITING_MAX: Final = 32
"""Requests that may wait for a thread; further requests are refused."""
PATIENCE_S: Final = 10.0
"""Seconds that a request waits for its result."""

_T = TypeVar("_T")


class Readers:
    """Runner of functions in THREADS daemon threads.

    A database that hangs blocks these threads only, and neither the loop nor the process's end.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._jobs: queue.SimpleQueue[ThreadJob | None] = queue.SimpleQueue()
        self._threads = 0
        self._open = 0

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run `work` in a thread and return its result.

        Raises ApiError 503 when the work takes too long or cannot begin; work that has
        begun goes on.
        """
        if self._open >= THREADS + WAITING_MAX:
            raise too_slow()
        if self._threads < min(THREADS, self._open + 1):
            threading.Thread(target=self._work, name="API", daemon=True).start()
            self._threads += 1
        job = ThreadJob(work, settled=self._on_done)
        self._open += 1
        self._jobs.put(job)
        try:
            async with asyncio.timeout(self._patience_s):
                answer: _T = await job.answer
                return answer
        except TimeoutError:
            raise too_slow() from None

    def close(self) -> None:
        """End the threads, each after its current work."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _on_done(self) -> None:
        self._open -= 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()


def too_slow() -> ApiError:
    """Return the error of a database or disk that does not answer in time."""
    return ApiError(
        503,
        UserError(
            "E-API-09",
            "The database or the disk has not answered in time. Calls go on.",
            "Try again soon; /readyz says how the records are.",
        ),
        {"Retry-After": "5"},
    )
