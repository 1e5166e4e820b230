"""What a stand-in agent thinks with, whatever is behind it: a script, a dialogue, a model.

A policy is called on the event loop and returns at once. It answers through the Answer that it is
given, then or later: until it is told to `forget` or that it was `interrupted`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from offhook.deepgram.messages import History
from offhook.testing.simulator.deepgram.answers import TurnAnswer
from offhook.testing.simulator.deepgram.script import Conduct
from offhook.testing.simulator.deepgram.settings import StandInSettings
from offhook.testing.simulator.speech.engines import SpeechToText, TextToSpeech, Transcript


class DialoguePolicy(Protocol):
    """Decides what the agent of one session says."""

    silence_s: float | None
    """After how many seconds in which nobody speaks it wants to be asked; None: never."""

    def answer(self, heard: Transcript, answer: TurnAnswer, *, interrupted: bool) -> None:
        """Answer a turn of the caller, which cut the agent short if it is `interrupted`.

        The turn may not be over yet: then `forget` follows, and the whole turn later.
        """

    def silence(self, answer: TurnAnswer) -> None:
        """Answer a silence of `silence_s` since the agent spoke."""

    def forget(self) -> None:
        """Take back the answer begun last, and what became of its turn."""

    def interrupted(self, heard: str) -> None:
        """Note that the caller cut short the answer, or the functions that it waited for.

        `heard` are those of its words that the caller has heard. What comes is another turn.
        """

    def said(self, text: str) -> None:
        """Note what the agent says unasked: its greeting, or an injection."""

    def resume(self, history: Sequence[History]) -> None:
        """Take over what was said and done before, perhaps in another session."""

    def update(self, settings: StandInSettings) -> None:
        """Take changed settings: prompt, functions, think."""

    def close(self) -> None:
        """End with the session."""


@dataclass(frozen=True, slots=True)
class StandInAgent:
    """A stand-in agent to be: what each of its sessions is made of."""

    conduct: Conduct
    policy: Callable[[StandInSettings], DialoguePolicy]
    ears: Callable[[], SpeechToText]
    voice: TextToSpeech
    """One for all sessions."""
