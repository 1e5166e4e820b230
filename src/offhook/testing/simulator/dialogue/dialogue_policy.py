"""Policy of a stand-in agent that follows a dialogue."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from offhook.deepgram.messages import History
from offhook.testing.simulator.deepgram.answers import TurnAnswer, WantedFunction
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import Conduct
from offhook.testing.simulator.deepgram.settings import StandInSettings
from offhook.testing.simulator.dialogue.conversation import DialogueConversation, Move
from offhook.testing.simulator.dialogue.file import Dialogue
from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.simulator.speech.engines import SpeechToText, TextToSpeech, Transcript


def conversing(
    dialogue: Dialogue,
    speech_to_text: Callable[[], SpeechToText],
    voice: TextToSpeech,
    conduct: Conduct | None = None,
) -> StandInAgent:
    """Return an agent that follows a dialogue."""
    return StandInAgent(
        conduct or Conduct(),
        lambda settings: DialogueFilePolicy(dialogue, settings),
        speech_to_text,
        voice,
    )


@asynccontextmanager
async def talking(
    dialogue: Dialogue, *, freely: bool = False, delays: AnswerDelays | None = None
) -> AsyncIterator[StandInAgent]:
    """Run the speech engines for an agent that follows a dialogue, until the end of the block.

    With `freely`, its recogniser is for free speech alone, because something else does the talking.
    `delays` are told how late the engines' answers are.
    Raises UserError (E-EAR-...) if the engines do not start or do not know a word.
    """
    from offhook.testing.simulator.speech.listening import listening
    from offhook.testing.simulator.speech.text_to_speech import speaking_as_agent

    vocabulary = None if freely else dialogue.vocabulary()
    async with listening(vocabulary, delays) as speech_to_text, speaking_as_agent(delays) as voice:
        yield conversing(dialogue, speech_to_text, voice)


class DialogueFilePolicy:
    """DialoguePolicy that carries out the moves of one session's DialogueConversation."""

    def __init__(self, dialogue: Dialogue, settings: StandInSettings) -> None:
        content = dialogue.content
        self.silence_s: float | None = content.silent_after if content.silent else None
        self._talk = DialogueConversation(dialogue, _offered(settings))
        self._before = self._talk.memory
        """State of the conversation before the latest answer."""

    def answer(self, heard: Transcript, answer: TurnAnswer, *, interrupted: bool) -> None:
        """Answer a turn by its meaning."""
        self._before = self._talk.memory
        move = self._talk.hear(heard.text, heard.understood)
        slots = (f"{name}={value}" for name, value in move.meaning.slots.items())
        answer.meant = " ".join((move.meaning.intent or "nothing known", *slots))
        self._carry_out(move, answer)

    def silence(self, answer: TurnAnswer) -> None:
        """Answer a silence, as often in a row as the dialogue has answers."""
        self._before = self._talk.memory
        self._carry_out(self._talk.silence(), answer)

    def forget(self) -> None:
        """Undo the latest turn, because it was not over."""
        self._talk.memory = self._before

    def interrupted(self, heard: str) -> None:
        """Cancel the functions that the answer waits for."""
        self._talk.functions_cancelled()

    def said(self, text: str) -> None:
        """Note text of the agent, which `repeat` may have to say again."""
        self._talk.said(text)

    def resume(self, history: Sequence[History]) -> None:
        """Restore the state by running the earlier conversation without output."""
        for message in history:
            if message.role == "user" and message.content:
                self._talk.hear(message.content)
            elif message.role == "assistant" and message.content:
                self._talk.said(message.content)
            elif message.function_calls:
                self._talk.functions_answered([call.response for call in message.function_calls])
        self._talk.functions_cancelled()

    def update(self, settings: StandInSettings) -> None:
        """Apply the functions that changed settings offer."""
        self._talk.offered = _offered(settings)

    def close(self) -> None:
        """Do nothing: no resource is held."""

    def _carry_out(self, move: Move, answer: TurnAnswer) -> None:
        for text in move.say:
            answer.say(text)
        if not move.calls:
            answer.done(end=move.end)
            return

        def answered(contents: Sequence[str]) -> None:
            self._carry_out(self._talk.functions_answered(contents), answer)

        def slow() -> None:
            for text in self._talk.functions_are_slow().say:
                answer.say(text)

        wanted = [
            WantedFunction(call.name, call.arguments, call.example, early=call.speculative)
            for call in move.calls
        ]
        answer.call(wanted, answered, slow)


def _offered(settings: StandInSettings) -> frozenset[str] | None:
    return None if settings.is_stored else frozenset(settings.functions)
