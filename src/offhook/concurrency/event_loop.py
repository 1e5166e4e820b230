"""The event loop of a process: uvloop, except on Windows."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from offhook.errors import UserError

_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine and return its result. A UserError in a task group is raised as itself."""
    if sys.platform == "win32":
        factory = None
    else:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(main)
        except* UserError as group:
            problem = _first(group)
        raise problem


def on_stop_signal(callback: Callable[[], object]) -> None:
    """Call `callback` on the running loop at every SIGINT and SIGTERM, instead of their default."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, callback)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback))


def _first(group: BaseExceptionGroup[UserError]) -> UserError:
    first = group.exceptions[0]
    return first if isinstance(first, UserError) else _first(first)
