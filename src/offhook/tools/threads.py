"""Threads for tools that are not async. A tool that hangs costs its thread, and nobody else's."""

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

_log: Final = logging.getLogger("offhook.tools")

THREADS_MAX: Final = 32


class NoThread(Exception):  # noqa: N818 - a state of the world
    """As many tools as may run at once are running."""


class Threads:
    """Runs functions, each in a thread of its own, THREADS_MAX at once.

    They are daemons: a tool that never returns does not keep the process alive.
    """

    def __init__(self) -> None:
        self.running: Final = Counter[str]()
        """Tools whose threads have not ended, wanted or not, by name."""

    async def run(self, name: str, function: Callable[[], Any]) -> Any:
        """What the function returns or raises. Cancelled, it runs on, and its result is dropped.

        Raises NoThread.
        """
        if self.running.total() >= THREADS_MAX:
            _log.error("no thread is left for the tool %s; these run: %s", name, dict(self.running))
            raise NoThread
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        context = contextvars.copy_context()

        def body() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(function)
            except BaseException as raised:  # noqa: BLE001 - it is told to who asked
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
                loop.call_soon_threadsafe(settle, result, error)

        def settle(result: Any, error: BaseException | None) -> None:
            self.running[name] -= 1
            if future.done():
                _log.warning("the tool %s has ended at last; nobody waits for it", name)
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.running[name] += 1
        threading.Thread(target=body, name=f"tool {name}", daemon=True).start()
        return await future
