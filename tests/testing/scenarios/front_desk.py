"""The front desk of the examples, run within the test: server, functions, and a stand-in agent."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.testing.scenarios.knowing import KnowingSpeechToText

from offhook import config as configuration
from offhook import yamlfile
from offhook.clock import LoopClock
from offhook.config import Config, Overrides
from offhook.testing.scenarios import files, own_server, preparing, runner
from offhook.testing.scenarios import listeners as listening
from offhook.testing.scenarios.results import ScenarioResult
from offhook.testing.scenarios.runner import Target
from offhook.testing.simulator.deepgram import server
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.dialogue import file as dialogue_file
from offhook.testing.simulator.dialogue.dialogue_policy import conversing
from offhook.testing.simulator.dialogue.file import Dialogue
from offhook.testing.simulator.speech import installed
from offhook.testing.simulator.speech.clip_voice import ClipTextToSpeech
from offhook.testing.simulator.speech.engines import SpeechToText, TextToSpeech

HOUSE = Path("examples/front-desk")
SCENARIOS = HOUSE / "scenarios"
DIALOGUE = HOUSE / "dialogue.yaml"


@dataclass(frozen=True)
class SpeechEngines:
    """What the stand-in hears and speaks with."""

    speech_to_text: Callable[[], SpeechToText]
    text_to_speech: TextToSpeech


def mutated(text: str, change: tuple[str, str]) -> Dialogue:
    """The front desk's dialogue with something wrong in it, in place of what is right."""
    right, wrong = change
    assert right in text, right
    return Dialogue(yamlfile.parse(text.replace(right, wrong), DIALOGUE))


@asynccontextmanager
async def serving(agent: StandInAgent, clock: LoopClock) -> AsyncIterator[Config]:
    """The stand-in on a socket, and the example's configuration that leads to it."""
    standin = await server.serve("127.0.0.1", 0, agent, clock)
    try:
        yield configuration.load(
            HOUSE / "offhook.yaml",
            {"DEEPGRAM_API_KEY": "any"},
            overrides=Overrides(deepgram_url=standin.url),
        )
    finally:
        await standin.close()


@asynccontextmanager
async def speech_engines() -> AsyncIterator[SpeechEngines]:
    """The engines of this machine; where it has none, a recogniser that knows the recordings."""
    if installed.missing() is not None:
        yield SpeechEngines(KnowingSpeechToText, ClipTextToSpeech())
        return
    from offhook.testing.simulator.speech.speech_to_text import recognising
    from offhook.testing.simulator.speech.text_to_speech import speaking_as_agent

    vocabulary = dialogue_file.read(DIALOGUE).vocabulary()
    async with recognising(vocabulary) as recogniser, speaking_as_agent() as voice:
        yield SpeechEngines(recogniser.speech_to_text, voice)


def desk(engines: SpeechEngines, dialogue: Dialogue | None = None) -> StandInAgent:
    """The agent that talks along the front desk's dialogue, or a mutated one."""
    return conversing(
        dialogue or dialogue_file.read(DIALOGUE), engines.speech_to_text, engines.text_to_speech
    )


async def run(
    paths: Iterable[Path],
    agent: StandInAgent,
    *,
    jobs: int = 14,
    outside: bool = False,
    attempts: int = runner.ATTEMPTS,
) -> list[ScenarioResult]:
    """Run scenarios against the front desk with that agent.

    `outside`: as if the server ran elsewhere, so that only the caller's audio tells what was said.
    """
    clock = LoopClock(asyncio.get_running_loop())
    loaded = files.load_all(files.find(paths), {})
    rendered = await preparing.rendering(loaded)
    async with (
        serving(agent, clock) as config,
        own_server.run(config, clock) as own,
        listening.listeners(None if outside else own, None) as listeners,
    ):
        dialogues = files.Dialogues(None, files.greetings(loaded))
        target = Target(own.url, own.token, "AC" + "0" * 32)
        cases = await preparing.prepare(loaded, dialogues, listeners, rendered, target, {})
        return await runner.run(cases, clock, jobs=jobs, attempts=attempts)


def told(results: Iterable[ScenarioResult]) -> str:
    """What failed, with the conversations, as a test shows it."""
    parts = []
    for result in results:
        if not result.passed:
            parts.append(f"{result.name}: " + "; ".join(map(str, result.all_failures)))
            parts += [str(line) for call in result.calls.values() for line in call.lines()]
    return "\n".join(parts)
