"""Interface between a stand-in agent and its dialogue policy: a script, a dialogue or a model.

A policy is called on the event loop and returns at once. It answers through the TurnAnswer that it
is given, at once or later, until `forget` or `interrupted` is called.
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
    """Policy that decides what the agent of one session says."""

    silence_s: float | None
    """Seconds without speech after which `silence` is called; None for never."""

    def answer(self, heard: Transcript, answer: TurnAnswer, *, interrupted: bool) -> None:
        """Answer a turn of the caller. With `interrupted`, the turn cut the agent short.

        The turn may not be over yet; then `forget` is called, and `answer` again with the whole
        turn.
        """

    def silence(self, answer: TurnAnswer) -> None:
        """Answer a silence of `silence_s` since the agent spoke."""

    def forget(self) -> None:
        """Undo the latest answer and every change that its turn caused."""

    def interrupted(self, heard: str) -> None:
        """Note that the caller cut short the answer, or the functions that it waited for.

        `heard` holds the words of the answer that the caller has heard. The next `answer` is for
        another turn.
        """

    def said(self, text: str) -> None:
        """Note a greeting or an injected message that the agent says."""

    def resume(self, history: Sequence[History]) -> None:
        """Restore the conversation so far, which may stem from another session."""

    def update(self, settings: StandInSettings) -> None:
        """Apply changed settings: prompt, functions, think."""

    def close(self) -> None:
        """Release what the policy holds, because the session is over."""


@dataclass(frozen=True, slots=True)
class StandInAgent:
    """Stand-in agent: the parts from which each of its sessions is made."""

    conduct: Conduct
    policy: Callable[[StandInSettings], DialoguePolicy]
    speech_to_text: Callable[[], SpeechToText]
    voice: TextToSpeech
    """TextToSpeech that all sessions share."""
