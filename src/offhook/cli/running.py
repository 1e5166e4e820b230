"""How every long-running command runs: on uvloop where there is one."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from offhook.errors import Problem

_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end. A Problem that ended a task group comes out as itself."""
    if sys.platform == "win32":
        factory = None
    else:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(main)
        except* Problem as group:
            problem = _first(group)
        raise problem


def _first(group: BaseExceptionGroup[Problem]) -> Problem:
    first = group.exceptions[0]
    return first if isinstance(first, Problem) else _first(first)
