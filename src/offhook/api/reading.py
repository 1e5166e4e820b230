"""Threads in which the API queries the database and reads files, never on the event loop."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from offhook.api.problems import ApiError
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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = 0
        self._open = 0

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run `work` in a thread and return its result.

        Raises ApiError 503 when the work takes too long or cannot begin; work that has
        begun goes on.
        """
        if self._open >= THREADS + WAITING_MAX:
            raise _too_slow()
        if self._threads < min(THREADS, self._open + 1):
            threading.Thread(target=self._work, name="API", daemon=True).start()
            self._threads += 1
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future(), self._on_done)
        self._open += 1
        self._jobs.put(job)
        try:
            async with asyncio.timeout(self._patience_s):
                answer: _T = await job.answer
                return answer
        except TimeoutError:
            raise _too_slow() from None

    def close(self) -> None:
        """End the threads, each after its current work."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _on_done(self) -> None:
        self._open -= 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()


class _Job:
    def __init__(
        self,
        work: Callable[[], Any],
        loop: asyncio.AbstractEventLoop,
        answer: asyncio.Future[Any],
        done: Callable[[], None],
    ) -> None:
        self.answer = answer
        self._work = work
        self._loop = loop
        self._done = done

    def run(self) -> None:
        result: Any = None
        error: BaseException | None = None
        if not self.answer.cancelled():  # else no request waits for the result
            try:
                result = self._work()
            except BaseException as raised:  # noqa: BLE001 - passed to the request
                error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        self._done()
        if self.answer.done():
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(result)


def _too_slow() -> ApiError:
    return ApiError(
        503,
        UserError(
            "E-API-09",
            "The database or the disk has not answered in time. Calls go on.",
            "Try again soon; /readyz says how the records are.",
        ),
        {"Retry-After": "5"},
    )
