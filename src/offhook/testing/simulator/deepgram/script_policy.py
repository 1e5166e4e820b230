"""Policy of a scripted agent, and a SpeechToText that recognises nothing."""

from collections.abc import Callable, Sequence

from offhook.deepgram.messages import AgentThinking, History
from offhook.testing.simulator.deepgram.answers import TurnAnswer, WantedFunction
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.deepgram.settings import StandInSettings
from offhook.testing.simulator.speech.clip_voice import ClipTextToSpeech
from offhook.testing.simulator.speech.engines import Transcript


class ScriptSpeechToText:
    """SpeechToText that reports every turn as understood, without words, at once."""

    def hear(self, audio: bytes) -> None:
        """Ignore the audio: only the turn finder needs it."""

    def end(self, heard: Callable[[Transcript], None]) -> None:
        """Report a turn that was understood, without its words."""
        heard(Transcript("", understood=True))

    def forget(self) -> None:
        """Do nothing: no audio is kept."""

    def close(self) -> None:
        """Do nothing: no resource is held."""


class ScriptPolicy:
    """DialoguePolicy that answers the n-th turn with the n-th turn of its script."""

    silence_s: float | None = None

    def __init__(self, script: Script) -> None:
        self._script = script
        self._next = 0
        self._before = 0
        """Value of `_next` before the latest answer."""

    def answer(self, heard: Transcript, answer: TurnAnswer, *, interrupted: bool) -> None:
        """Answer with the script's next turn, or with `interrupted`, which uses up no turn."""
        self._before = self._next
        if interrupted:
            turn = self._script.interrupted
        elif self._next < len(self._script.turns):
            turn = self._script.turns[self._next]
            self._next += 1
        else:
            turn = self._script.fallback
        answer.words = heard.text or turn.hear
        answer.flaws = turn
        if turn.thinking is not None:
            answer.send(AgentThinking(turn.thinking))

        def say(contents: Sequence[str] = ()) -> None:
            for text in turn.say:
                answer.say(text)
            answer.done(end=turn.end)

        if turn.function_calls:
            wanted = [WantedFunction(c.name, c.arguments, c.response) for c in turn.function_calls]
            answer.call(wanted, say)
        else:
            say()

    def silence(self, answer: TurnAnswer) -> None:
        """Do nothing: a script has no answer to silence."""

    def forget(self) -> None:
        """Go back one turn, so that the same turn is answered again."""
        self._next = self._before

    def interrupted(self, heard: str) -> None:
        """Do nothing: the session handles interruptions of a script."""

    def said(self, text: str) -> None:
        """Do nothing: a script does not depend on what was said."""

    def resume(self, history: Sequence[History]) -> None:
        """Continue after the turns that an earlier session answered."""
        self._next = sum(entry.role == "user" for entry in history)

    def update(self, settings: StandInSettings) -> None:
        """Do nothing: a script does not depend on Settings."""

    def close(self) -> None:
        """Do nothing: no resource is held."""


def agent_of(agent: StandInAgent | Script) -> StandInAgent:
    """Return the agent that a script describes, or the agent as it is."""
    if isinstance(agent, StandInAgent):
        return agent
    script = agent
    return StandInAgent(
        script, lambda settings: ScriptPolicy(script), ScriptSpeechToText, ClipTextToSpeech()
    )
