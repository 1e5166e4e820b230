"""What a stand-in agent hears and speaks with, whatever is behind it: a script, or local engines.

Everything here is called on the event loop and returns at once. What comes later comes through the
callback that was given, also on the loop, and never after it was called off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a turn of the caller was taken for.

    `text` is what was recognised, as words in lower case, empty when nothing was. `understood` is
    false when the recogniser does not trust it: noise, music, or words that it does not know.
    """

    text: str
    understood: bool


class SpeechToText(Protocol):
    """Listens to one caller, a turn at a time."""

    def hear(self, audio: bytes) -> None:
        """Mu-law audio of the present turn, of any length; the first begins a turn."""

    def end(self, heard: Callable[[Transcript], None]) -> None:
        """End the turn, and have told what it was. Another turn may begin before that is known."""

    def forget(self) -> None:
        """Drop the present turn, and tell of no earlier one any more."""

    def close(self) -> None:
        """Stop: the caller is gone."""


class SpeechHandle(Protocol):
    """A sentence on its way."""

    def cancel(self) -> None:
        """Stop making it. Neither callback is called after that."""


class TextToSpeech(Protocol):
    """Says sentences."""

    def speak(
        self, sentence: str, audio: Callable[[bytes], None], done: Callable[[], None]
    ) -> SpeechHandle:
        """Mu-law audio in pieces, each given to `audio`, faster than it plays; then `done`, once.

        Either may be called before this returns. A voice that fails says nothing and is done.
        """
