"""Stretches of the agent's speech that a caller hears, and the protocol for their words.

The caller and the judge share this module. Implementations of Hearing: wire_hearing.py,
local_hearing.py and deepgram_hearing.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from offhook import audio

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
