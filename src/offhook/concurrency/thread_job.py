"""Work that a thread does for a coroutine of an event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


def _nothing() -> None:
    """Do nothing."""


class ThreadJob:
    """Work for a thread, and the future of its result in the loop that runs now.

    A job whose answer is cancelled before the thread comes to it is left out, unless it is to be
    done `always`. `settled` is called in the loop when the thread is through with the job.

    Attributes:
        answer: The result of the work, or what it raised.
    """

    def __init__(
        self,
        work: Callable[[], Any],
        *,
        always: bool = False,
        settled: Callable[[], None] = _nothing,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self._loop.create_future()
        self._work = work
        self._always = always
        self._settled = settled

    def run(self) -> None:
        """Do the work, in the thread. Raises nothing."""
        result: Any = None
        error: BaseException | None = None
        if self._always or not self.answer.cancelled():
            try:
                result = self._work()
            except BaseException as raised:  # noqa: BLE001 - passed to the one who waits
                error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        try:
            self._settled()
        finally:
            if not self.answer.done():
                if error is not None:
                    self.answer.set_exception(error)
                else:
                    self.answer.set_result(result)


async def in_thread(work: Callable[[], _T], name: str) -> _T:
    """Do blocking work in a thread of that name; return its result, or raise what it raises.

    The thread is a daemon. One of the event loop's own that hangs would keep the process from
    ending, as the loop waits for those.
    """
    job = ThreadJob(work)
    threading.Thread(target=job.run, name=name, daemon=True).start()
    result: _T = await job.answer
    return result
