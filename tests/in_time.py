"""Checks of what people hear, and when: they say nothing on a machine that is late itself."""

from collections.abc import Awaitable, Callable

import pytest
from tests.failures import TOO_BUSY

from offhook.testing.scenarios.lateness import Lateness, watching

ATTEMPTS = 4


async def in_time(check: Callable[[], Awaitable[None]]) -> None:
    """Run a check. One that fails while the loop is late runs again, and is skipped at last."""
    late = Lateness()
    for _ in range(ATTEMPTS):
        failure: Exception | None = None
        async with watching() as late_now:
            try:
                await check()
            except Exception as error:  # noqa: BLE001 - it is raised below, if it counts
                failure = error
        late = late_now
        if failure is None:
            return
        if not late.is_too_much:
            raise failure
    pytest.skip(f"{TOO_BUSY} for it: {late}")
