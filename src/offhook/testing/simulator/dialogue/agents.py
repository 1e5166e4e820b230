"""Preparation of a stand-in agent with the speech engines of this machine."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from offhook.errors import UserError
from offhook.testing.simulator.deepgram import script
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.deepgram.script_policy import agent_of
from offhook.testing.simulator.dialogue.completions import Model
from offhook.testing.simulator.dialogue.dialogue_policy import talking
from offhook.testing.simulator.dialogue.file import Dialogue, front_desk
from offhook.testing.simulator.dialogue.model_policy import thinking
from offhook.testing.simulator.speech import installed
from offhook.testing.simulator.speech.answer_delays import AnswerDelays


@dataclass(frozen=True, slots=True)
class ReadyAgent:
    """Stand-in agent that is ready for sessions, with a description in `words`."""

    agent: StandInAgent
    words: str
    dialogue: Dialogue | None
    """Dialogue of the agent; None for a script and for a model."""


@asynccontextmanager
async def ready(
    what: Script | Dialogue | None = None,
    model: Model | None = None,
    delays: AnswerDelays | None = None,
    *,
    asks_named: bool = True,
) -> AsyncIterator[ReadyAgent]:
    """Make an agent ready until the end of the block, which ends its processes and requests.

    Without `what` it is the front desk: the dialogue, or a script if this machine has no speech
    engines. `delays` are told how late these answer. Without `asks_named` no model is asked that a
    session's Settings name. Raises UserError E-STANDIN-02 if a dialogue
    needs engines that are missing, E-EAR-... if they do not start or a word is unknown.
    """
    missing = installed.missing()
    missing_free_speech = installed.missing_free_speech()
    freely = model is not None and missing_free_speech is None
    async with AsyncExitStack() as stack:
        if isinstance(what, Script):
            made = ReadyAgent(agent_of(what), "It plays a script, whatever is said.", None)
        elif missing is None:
            dialogue = what or front_desk()
            agent = await stack.enter_async_context(talking(dialogue, freely=freely, delays=delays))
            words = "It understands what is said, and answers."
            if missing_free_speech is not None:
                command = installed.free_speech_command()
                words += f" It knows one file's sentences; for free speech: {command}."
            made = ReadyAgent(agent, words, dialogue)
        elif what is None:
            words = f"It plays a script and understands nothing: {missing}."
            made = ReadyAgent(agent_of(script.front_desk()), words, None)
        else:
            raise UserError(
                "E-STANDIN-02",
                f"A dialogue has to be heard and spoken, which cannot be done here: {missing}.",
                "Or let it be a script (turns), which needs no recogniser.",
            )
        if model is not None:
            words = f"The model {model.name} does the talking."
            if made.dialogue is not None and missing_free_speech is not None:
                words += f" It hears one file's sentences only: {missing_free_speech}."
            made = ReadyAgent(made.agent, words, None)
        agent = await stack.enter_async_context(thinking(made.agent, model, asks_named=asks_named))
        yield ReadyAgent(agent, made.words, made.dialogue)
