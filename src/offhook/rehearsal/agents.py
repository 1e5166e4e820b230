"""A stand-in agent made ready, with what this machine has to hear and speak with."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from offhook.errors import Problem
from offhook.rehearsal import script
from offhook.rehearsal.dialogue.file import Dialogue, front_desk
from offhook.rehearsal.mind import Agent, agent_of
from offhook.rehearsal.model.completions import Model
from offhook.rehearsal.model.mind import thinking
from offhook.rehearsal.script import Script


@dataclass(frozen=True, slots=True)
class Ready:
    """An agent, and in words what it is."""

    agent: Agent
    words: str
    dialogue: Dialogue | None
    """What it talks along, if it understands anything."""


@asynccontextmanager
async def ready(
    what: Script | Dialogue | None = None, model: Model | None = None
) -> AsyncIterator[Ready]:
    """The agent, until the end of the block, which ends its workers and requests.

    Without `what` it is the front desk: the one that understands, or where the extra `[local]` is
    missing the scripted one. Raises Problem (E-EAR-...) when a dialogue cannot be heard or spoken:
    the extra is missing, or a word of it is unknown.
    """
    async with AsyncExitStack() as stack:
        if isinstance(what, Script):
            agent, words, dialogue = agent_of(what), "It plays a script, whatever is said.", None
        else:
            dialogue = what or front_desk()
            try:
                agent = await _conversing(dialogue, stack)
                words = "It understands what is said, by local ears and voice."
            except Problem as problem:
                if what is not None:
                    raise
                agent, dialogue = agent_of(script.front_desk()), None
                words = f"It plays a script, whatever is said: {problem.what} {problem.fix}"
        if model is not None:
            words += f" The model {model.name} does the talking."
        yield Ready(await stack.enter_async_context(thinking(agent, model)), words, dialogue)


async def _conversing(dialogue: Dialogue, stack: AsyncExitStack) -> Agent:
    raise Problem(
        "E-STANDIN-02",
        "Nothing here recognises speech.",
        "Use a script (turns).",
    )
