"""An agent that hears and speaks on this machine alone, whatever it thinks with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ctypes.util import find_library
from importlib.util import find_spec

from offhook.testing.simulator.deepgram.policy import Agent
from offhook.testing.simulator.dialogue.dialogue_policy import conversing
from offhook.testing.simulator.dialogue.file import Dialogue

_NEEDED = ("numpy", "pocketsphinx", "soxr")


def missing() -> str | None:
    """Why this machine has neither ears nor voice, in words; None when it has both."""
    absent = [name for name in _NEEDED if find_spec(name) is None]
    if find_spec("espeakng_loader") is None and find_library("espeak-ng") is None:
        absent.append("espeakng-loader")
    if not absent:
        return None
    return f"{', '.join(absent)} not installed. Install it: pip install 'offhook[local]'"


@asynccontextmanager
async def talking(dialogue: Dialogue) -> AsyncIterator[Agent]:
    """An agent that talks along a dialogue, until the end of the block.

    Raises UserError (E-EAR-...) where the local engines do not start, or do not know a word.
    """
    from offhook.testing.simulator.speech.speech_to_text import recognising
    from offhook.testing.simulator.speech.text_to_speech import speaking

    async with recognising(dialogue.vocabulary()) as recogniser, speaking() as voice:
        yield conversing(dialogue, recogniser.ears, voice)
