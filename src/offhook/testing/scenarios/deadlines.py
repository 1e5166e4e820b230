"""Deadlines for what a rehearsal waits for: what hangs names itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from offhook.errors import UserError

OPEN_S: Final = 60.0
"""Seconds that a part of a server may take to open."""

CLOSE_S: Final = 60.0
"""Seconds that a part of a server may take to close. Its threads have up to 25 s for the disk."""

WORDS_S: Final = 120.0
"""Seconds in which at least one more stretch of a call must be recognised, when the call is over. A
recogniser that hangs is killed before (worker_process.HANG_S)."""


class OverdueError(UserError):
    """Error E-REH-07: a step of a rehearsal has taken longer than its deadline."""

    def __init__(self, step: str, seconds: float) -> None:
        super().__init__(
            "E-REH-07",
            f"{step} took longer than {seconds:g} s.",
            "Try it alone (--jobs 1). If it hangs again, report it with the log.",
        )


@asynccontextmanager
async def within(seconds: float, step: str) -> AsyncIterator[None]:
    """Raise OverdueError when the block takes longer. `step` is the subject of its message."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise OverdueError(step, seconds) from None
