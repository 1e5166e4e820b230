"""What a caller hears, as words: stretches of the agent's speech, and whoever makes words of them.

Here is what the caller and the judge share; trial/ has the ways of hearing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from offhook import audio

PAUSE_S: Final = 0.4
"""Silence, in seconds, after which the agent is no longer taken to be speaking."""

MARGIN_MS: Final = 200
"""Of the line's sound that is kept before and after a stretch."""


@dataclass(slots=True, eq=False)
class Stretch:
    """What was audible of the agent between two pauses. Times are the clock's, in seconds."""

    began: float
    ended: float
    """When it was last audible; of one that is not over, until now."""
    over: bool = False
    interrupted: bool = False
    """The caller spoke while it was audible."""
    audio: bytearray = field(default_factory=bytearray)
    """Mu-law, with MARGIN_MS on either side."""

    def trim(self) -> None:
        """Drop the pause after it, but for a margin."""
        length = round((self.ended - self.began) * audio.BYTES_PER_SECOND)
        del self.audio[length + 2 * MARGIN_MS * audio.BYTES_PER_MS :]


@dataclass(frozen=True, slots=True)
class SeenFunctionCall:
    """A function that the agent called, at `at` seconds of the clock."""

    at: float
    name: str
    arguments: Mapping[str, Any]
    called_off: bool = False
    answered: bool = False


class Hearing(Protocol):
    """Makes words of what one caller hears. Called on the event loop; nothing here waits."""

    def over(self, stretch: Stretch) -> None:
        """Take a complete stretch: its audio can be transcribed."""

    def words(self, stretch: Stretch) -> str | None:
        """Return what was heard in a stretch until now; None while that is not known."""

    def functions(self) -> Sequence[SeenFunctionCall]:
        """Return the functions that the agent has called or called off, as far as can be seen."""

    async def finish(self) -> None:
        """Wait, after the call, for what is still to be known. Raises UserError if it cannot be."""


class NoWords:
    """Hears that somebody speaks, and no more."""

    def over(self, stretch: Stretch) -> None:
        """Do nothing with a stretch."""

    def words(self, stretch: Stretch) -> str | None:
        """Return that it is not known."""
        return None

    def functions(self) -> Sequence[SeenFunctionCall]:
        """Return none: functions are not seen."""
        return ()

    async def finish(self) -> None:
        """Wait for nothing."""
