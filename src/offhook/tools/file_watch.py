"""Watch over users' Python files: loads those that have changed, never on the event loop."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from offhook.tools.modules import Latest
from offhook.tools.threads import NoThreadError, Threads

_log: Final = logging.getLogger("offhook.tools")

LOOK_S: Final = 1.0
"""Seconds between two looks at the files."""

LOAD_S: Final = 10.0
"""Seconds for which the load of one file holds up those of others."""


class FileWatch:
    """Watch over users' Python files while a server runs.

    Args:
        loaded: Returns what was loaded of them.
        threads: Threads in which the files are looked at and loaded.
    """

    def __init__(self, loaded: Callable[[], Iterable[Latest[Any]]], threads: Threads) -> None:
        self._loaded = loaded
        self._threads = threads

    async def run(self) -> None:
        """Look at the files each second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Load the files that have changed, one after another."""
        loaded = [each for each in self._loaded() if each.paths]
        if not loaded:
            return
        try:
            for each in await self._changed(loaded):
                await self._load(each)
        except NoThreadError:
            pass  # The log says so; the next look tries again.

    async def _changed(self, loaded: Sequence[Latest[Any]]) -> list[Latest[Any]]:
        try:
            async with asyncio.timeout(LOAD_S):
                changed: list[Latest[Any]] = await self._threads.run(
                    "file watch", lambda: [each for each in loaded if each.has_changed()]
                )
        except TimeoutError:
            _log.error("the folder of the agents' Python files does not answer")
            return []
        return changed

    async def _load(self, changed: Latest[Any]) -> None:
        try:
            async with asyncio.timeout(LOAD_S):
                await self._threads.run("agent files", changed.refresh)
        except TimeoutError:
            names = ", ".join(path.name for path in changed.paths)
            _log.error(
                "E-AGENT-05 %s was not loaded within %g s: it hangs. Calls go on with what was"
                " loaded before. Correct that file.",
                names,
                LOAD_S,
            )
