"""Threads for tools that are not async. A tool that hangs blocks only its own thread."""

import asyncio
import contextlib
import contextvars
import logging
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

from offhook.call_context import current_call
from offhook.tools.places import first_line, place

_log: Final = logging.getLogger("offhook.tools")

THREADS_MAX: Final = 32

STUCK_S: Final = 1.0
"""Seconds for which a function may run on after its answer is not awaited; then it is logged."""


class NoThreadError(Exception):
    """Error: all threads hang in functions that nothing waits for, or none can be started."""


@dataclass(eq=False, slots=True)
class Running:
    """A function in a thread of its own, until it ends."""

    name: str
    code: CodeType | None
    """The place of the function in its file, if known."""
    call_sid: str
    thread: threading.Thread
    wanted: bool = True
    """True while the result of the function is awaited."""
    cpu_clock: int | None = None
    """Id of the thread's CPU clock, set by the thread: it is not safe to ask for it later."""
    ended_cpu_s: float | None = None

    def cpu_s(self) -> float | None:
        """Return the thread's CPU time in seconds; None where the system does not tell."""
        if self.ended_cpu_s is not None or self.cpu_clock is None:
            return self.ended_cpu_s
        with contextlib.suppress(OSError):  # it ends just now
            return time.clock_gettime(self.cpu_clock)
        return None

    def where(self) -> str:
        """Return the file and line at which the function is, in its own file if possible.

        Once the function is over, return its first line.
        """
        frame = sys._current_frames().get(self.thread.ident or 0)
        if frame is not None and self.ended_cpu_s is None:
            return place(frame, self.code.co_filename if self.code is not None else "")
        return "?" if self.code is None else first_line(self.code)


class Threads:
    """Runs functions, each in a thread of its own, THREADS_MAX at once; the others wait.

    They are daemons: a tool that never returns does not keep the process alive.
    """

    def __init__(self) -> None:
        self._running: set[Running] = set()
        self._ended: deque[Running] = deque(maxlen=THREADS_MAX)
        self._room = asyncio.Semaphore(THREADS_MAX)

    @property
    def running(self) -> tuple[Running, ...]:
        """The functions that have not ended, wanted or not. For any thread."""
        return tuple(self._running)

    @property
    def lately(self) -> tuple[Running, ...]:
        """The functions that have not ended, and some that ended last. For any thread."""
        return (*self._running, *self._ended)

    @property
    def stuck(self) -> int:
        """Number of threads whose function's result is not awaited any more."""
        return sum(not each.wanted for each in self._running)

    async def run(
        self,
        name: str,
        function: Callable[[], Any],
        *,
        code: CodeType | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> Any:
        """Return what the function returns, or raise what it raises, in a thread.

        A cancelled function runs on, and its result is dropped.

        `begun` is told once there is a thread for it: until then, to cancel it is to undo it.
        Raises NoThreadError.
        """
        if self.stuck >= THREADS_MAX:
            _log.error("no thread is left for the tool %s; these hang: %s", name, self._names())
            raise NoThreadError
        await self._room.acquire()
        begun()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        context = contextvars.copy_context()

        def body() -> None:
            running.cpu_clock = _cpu_clock()
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(function)
            except BaseException as raised:  # noqa: BLE001 - it is told to who asked
                error = raised
            running.ended_cpu_s = time.thread_time()
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, result, error)

        def settle(result: Any, error: BaseException | None) -> None:
            self._forget(running)
            if future.done():
                _log.warning("the tool %s has ended after its time limit", name)
            else:
                future.set_result((result, error))

        thread = threading.Thread(target=body, name=f"tool {name}", daemon=True)
        running = Running(name, code, current_call.get(), thread)
        self._running.add(running)
        try:
            thread.start()
        except RuntimeError:
            self._forget(running)
            _log.error("the system starts no thread for the tool %s", name)
            raise NoThreadError from None
        try:
            result, error = await future
        except asyncio.CancelledError:
            running.wanted = False
            loop.call_later(STUCK_S, self._name_stuck, running)
            raise
        if error is None:
            return result
        if isinstance(error, Exception | SystemExit) and not isinstance(error, StopIteration):
            raise error
        # Raised here, these would end something else than the function.
        raise RuntimeError(type(error).__name__) from error

    def _forget(self, running: Running) -> None:
        self._running.discard(running)
        self._ended.append(running)
        self._room.release()

    def _name_stuck(self, running: Running) -> None:
        if running in self._running:
            _log.warning(
                "the tool %s hangs at %s, and nobody waits for it any more; of %d threads hang: %s",
                running.name,
                running.where(),
                THREADS_MAX,
                self._names(),
                extra={"call_sid": running.call_sid},
            )

    def _names(self) -> dict[str, int]:
        return dict(Counter(each.name for each in self._running if not each.wanted))


def _cpu_clock() -> int | None:
    # macOS and Windows have none.
    ask = getattr(time, "pthread_getcpuclockid", None)
    return None if ask is None else ask(threading.get_ident())
