"""Stretches of the agent's speech that a caller hears, and the protocol for their words.

The caller and the judge share this module. Implementations of Hearing: wire_hearing.py,
local_hearing.py and deepgram_hearing.py.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from offhook import audio
from offhook.testing.scenarios.deadlines import WORDS_S, within

PAUSE_S: Final = 0.4
"""Seconds of silence after which the agent is no longer speaking."""

MARGIN_MS: Final = 200
"""Milliseconds of the line's sound that are kept before and after a stretch."""


@dataclass(slots=True, eq=False)
class Stretch:
    """Speech of the agent between two pauses. Times are in seconds of the clock."""

    began: float
    ended: float
    """Time at which the agent was last audible, so far if the stretch is not over."""
    over: bool = False
    interrupted: bool = False
    """True if the caller spoke during the stretch."""
    audio: bytearray = field(default_factory=bytearray)
    """Mu-law audio, with MARGIN_MS before and after the stretch."""

    def trim(self) -> None:
        """Drop the pause after the stretch, except for the margin."""
        length = round((self.ended - self.began) * audio.BYTES_PER_SECOND)
        del self.audio[length + 2 * MARGIN_MS * audio.BYTES_PER_MS :]


@dataclass(frozen=True, slots=True)
class SeenFunctionCall:
    """A function call of the agent, at `at` seconds of the clock."""

    at: float
    name: str
    arguments: Mapping[str, Any]
    called_off: bool = False
    answered: bool = False


class Hearing(Protocol):
    """Source of the words that one caller hears. Methods run on the event loop and do not block."""

    def over(self, stretch: Stretch) -> None:
        """Take a stretch that is over: its audio can be transcribed."""

    def words(self, stretch: Stretch) -> str | None:
        """Return the words heard in a stretch so far; None while they are not known."""

    def functions(self) -> Sequence[SeenFunctionCall]:
        """Return the function calls of the agent that can be seen, also cancelled ones."""

    async def finish(self) -> None:
        """Wait, after the call, for pending words. Raises UserError if there can be none."""


class PendingWords:
    """Words of stretches that are being recognised: what hearings of audio alone have in common."""

    def __init__(self) -> None:
        self._texts: dict[Stretch, str] = {}
        self._under_way = 0
        self._progress = asyncio.Event()

    def words(self, stretch: Stretch) -> str | None:
        """Return the words of the stretch; None while they are not known."""
        return self._texts.get(stretch)

    def functions(self) -> Sequence[SeenFunctionCall]:
        """Return an empty tuple: functions cannot be seen."""
        return ()

    async def finish(self) -> None:
        """Wait for the words of every stretch. Raises OverdueError if none come for WORDS_S."""
        while self._under_way:
            self._progress.clear()
            async with within(WORDS_S, "Recognising what the caller heard"):
                await self._progress.wait()

    def _begin(self) -> None:
        self._under_way += 1

    def _end(self) -> None:
        self._under_way -= 1
        self._progress.set()


class NoWords:
    """A Hearing without words or functions."""

    def over(self, stretch: Stretch) -> None:
        """Do nothing."""

    def words(self, stretch: Stretch) -> str | None:
        """Return None: words are not known."""
        return None

    def functions(self) -> Sequence[SeenFunctionCall]:
        """Return an empty tuple: functions cannot be seen."""
        return ()

    async def finish(self) -> None:
        """Return at once: nothing is pending."""
