"""The end of a measurement by SIGTERM, as `timeout` and a CI send it."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def until_stopped(work: Coroutine[Any, Any, list[T]]) -> list[T]:
    """Have SIGTERM end it as Ctrl-C does, its processes with it; then it has no results."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return [] if running.cancelled() else running.result()
