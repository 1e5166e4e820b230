"""The policy of a scripted agent, and ears that need hear nothing because the script knows."""

from collections.abc import Callable, Sequence

from offhook.deepgram.messages import AgentThinking, History
from offhook.testing.simulator.deepgram.answers import TurnAnswer, WantedFunction
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.deepgram.settings import StandInSettings
from offhook.testing.simulator.speech.clip_voice import ClipTextToSpeech
from offhook.testing.simulator.speech.engines import Transcript


class ScriptSpeechToText:
    """Ears that take any turn for words, at once, and leave it to the script which."""

    def hear(self, audio: bytes) -> None:
        """Audio is only asked about turns, elsewhere."""

    def end(self, heard: Callable[[Transcript], None]) -> None:
        """Something was said."""
        heard(Transcript("", understood=True))

    def forget(self) -> None:
        """Nothing is known that could be."""

    def close(self) -> None:
        """Nothing is open."""


class ScriptPolicy:
    """Answers the n-th turn with the n-th of its script. A DialoguePolicy."""

    silence_s: float | None = None

    def __init__(self, script: Script) -> None:
        self._script = script
        self._next = 0
        self._before = 0
        """What `_next` was before the answer begun last."""

    def answer(self, heard: Transcript, answer: TurnAnswer, *, interrupted: bool) -> None:
        """Answer with the next turn, or with the reply to an interruption, which takes none."""
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
        """Say nothing: a script knows of turns alone."""

    def forget(self) -> None:
        """Answer the turn again when it is over."""
        self._next = self._before

    def interrupted(self, heard: str) -> None:
        """Do nothing: the session has seen to it."""

    def said(self, text: str) -> None:
        """Do nothing: a script does not depend on what was said."""

    def resume(self, history: Sequence[History]) -> None:
        """Go on after the turns that were taken in an earlier session."""
        self._next = sum(entry.role == "user" for entry in history)

    def update(self, settings: StandInSettings) -> None:
        """Do nothing: a script does not depend on Settings."""

    def close(self) -> None:
        """Nothing is open."""


def agent_of(agent: StandInAgent | Script) -> StandInAgent:
    """Return the agent that a script describes, or the agent as it is."""
    if isinstance(agent, StandInAgent):
        return agent
    script = agent
    return StandInAgent(
        script, lambda settings: ScriptPolicy(script), ScriptSpeechToText, ClipTextToSpeech()
    )
