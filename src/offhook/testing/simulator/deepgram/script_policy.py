"""The mind of a scripted agent, and ears that need hear nothing because the script knows."""

from collections.abc import Callable, Sequence

from offhook.deepgram.messages import AgentThinking, History
from offhook.testing.simulator.deepgram.answers import Answer, Wanted
from offhook.testing.simulator.deepgram.policy import Agent
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.deepgram.settings import Settings
from offhook.testing.simulator.speech.clip_voice import ClipVoice
from offhook.testing.simulator.speech.engines import Heard


class DeafEars:
    """Ears that take any turn for words, at once, and leave it to the script which."""

    def hear(self, audio: bytes) -> None:
        """Audio is only asked about turns, elsewhere."""

    def end(self, heard: Callable[[Heard], None]) -> None:
        """Something was said."""
        heard(Heard("", understood=True))

    def forget(self) -> None:
        """Nothing is known that could be."""

    def close(self) -> None:
        """Nothing is open."""


class ScriptedMind:
    """Answers the n-th turn with the n-th of its script. A Mind."""

    silence_s: float | None = None

    def __init__(self, script: Script) -> None:
        self._script = script
        self._next = 0
        self._before = 0
        """What `_next` was before the answer begun last."""

    def answer(self, heard: Heard, answer: Answer, *, interrupted: bool) -> None:
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
            wanted = [Wanted(c.name, c.arguments, c.response) for c in turn.function_calls]
            answer.call(wanted, say)
        else:
            say()

    def silence(self, answer: Answer) -> None:
        """A script knows of turns alone."""

    def forget(self) -> None:
        """The turn is answered again when it is over."""
        self._next = self._before

    def interrupted(self, heard: str) -> None:
        """The session has seen to it."""

    def said(self, text: str) -> None:
        """It is all the same to a script."""

    def resume(self, history: Sequence[History]) -> None:
        """A script goes on after the turns that were taken in an earlier session."""
        self._next = sum(entry.role == "user" for entry in history)

    def update(self, settings: Settings) -> None:
        """A script calls what it calls."""

    def close(self) -> None:
        """Nothing is open."""


def agent_of(agent: Agent | Script) -> Agent:
    """Return the agent that a script describes, or the agent as it is."""
    if isinstance(agent, Agent):
        return agent
    script = agent
    return Agent(script, lambda settings: ScriptedMind(script), DeafEars, ClipVoice())
