"""Interfaces for speech recognition and synthesis of a stand-in agent.

A script or local engines implement them. Every method is called on the event loop and returns at
once. Results come later through callbacks, on the same loop, and never after a cancellation.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Transcript:
    """Result of recognising a turn of the caller.

    `text` holds the recognised words, in lower case and without punctuation if the recogniser knows
    a vocabulary; it is empty without any. `understood` is False if the recogniser does not
    trust the words: noise, music, or unknown words.
    """

    text: str
    understood: bool
    trust: float = field(default=1.0, compare=False)
    """Probability of the words, where a recogniser with a vocabulary gives one."""


class SpeechToText(Protocol):
    """Recogniser for one caller, one turn at a time."""

    def hear(self, audio: bytes) -> None:
        """Process mu-law audio of the current turn, of any length. The first call begins a turn."""

    def end(self, heard: Callable[[Transcript], None]) -> None:
        """End the turn; `heard` gets its Transcript later, perhaps after the next turn began."""

    def forget(self) -> None:
        """Drop the current turn, and call back for no earlier turn."""

    def close(self) -> None:
        """Release the recogniser, because the call is over."""


class SpeechHandle(Protocol):
    """Sentence that is being synthesised."""

    def cancel(self) -> None:
        """Stop the synthesis. Neither callback is called after that."""


class TextToSpeech(Protocol):
    """Synthesiser of sentences."""

    def speak(
        self, sentence: str, audio: Callable[[bytes], None], done: Callable[[], None]
    ) -> SpeechHandle:
        """Synthesise a sentence: call `audio` with mu-law pieces, then `done` once.

        Pieces come faster than they play. Both callbacks may be called before this method returns.
        On a failure there is no audio, and `done` is called.
        """
