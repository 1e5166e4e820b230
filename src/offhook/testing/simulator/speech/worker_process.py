"""What recogniser and voice have in common: a worker process, and whoever is called back."""

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Final, ParamSpec

LEAVE_S: Final = 2.0
"""Wall-clock seconds that a process has to end when its input has ended."""

DEATHS_MAX: Final = 3
"""Times that a process dies without having told anything before it is not started anew."""

_log: Final = logging.getLogger("offhook.testing.local")
_Given = ParamSpec("_Given")


async def start(module: str, *arguments: str) -> Process:
    """Run a module of ours, with pipes. It ends when its stdin does."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,  # Ctrl-C is ours
    )


async def end(process: Process) -> None:
    """End it, one way or the other."""
    assert process.stdin is not None  # it was started with a pipe
    process.stdin.close()
    try:
        async with asyncio.timeout(LEAVE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def last_words(process: Process) -> str:
    """The last line that a process which has ended wrote to stderr."""
    assert process.stderr is not None  # it was started with a pipe
    said = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
    return said[-1] if said else "it said nothing"


def call_back(
    callback: Callable[_Given, None], *given: _Given.args, **named: _Given.kwargs
) -> None:
    """Call somebody whose mistakes are not to end what serves everybody else too."""
    try:
        callback(*given, **named)
    except Exception:  # noqa: BLE001 - it is theirs, and may be any
        _log.exception("somebody who was called back by the local engines failed")
