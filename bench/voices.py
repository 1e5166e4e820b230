"""Print how well the local recogniser understands what the local voices say.

    python bench/voices.py

First the front desk's agent, as a rehearsed caller's recogniser hears it: each of its sentences,
and a few of each with values, by eSpeak NG in several voices and at several speeds. Then its
callers, whom the agent's recogniser hears: their lines, and some of what else they may say, by
what render.py has. The defaults in speaker.py and render.py are what came out best.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from offhook.testing.scenarios.word_errors import word_errors
from offhook.testing.simulator.dialogue.file import front_desk
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import clips, render
from offhook.testing.simulator.speech.speech_to_text import Recogniser, recognising
from offhook.testing.simulator.speech.text_to_speech import SPEED, VOICE, speaking
from offhook.testing.simulator.speech.vocabulary import Vocabulary

AGENT = [(VOICE, speed) for speed in (130, 150, 170, 190)] + [
    (voice, SPEED) for voice in ("en-us", "en-gb", "en-us+klatt2", "en-us+f3", "en-us+m3")
]
CALLER = (140, 155, 170, 185, 200)
OF_EACH = 6, 1
"""Sentences of each pattern that has values: of the agent, of a caller."""

Say = Callable[[Sequence[str]], Awaitable[dict[str, bytes]]]


async def main() -> None:
    desk = front_desk()
    vocabulary = desk.spoken_vocabulary()
    texts = sentences(vocabulary, OF_EACH[0])
    print(f"The agent: {len(texts)} sentences")
    async with recognising(vocabulary) as recogniser:
        for voice, speed in AGENT:
            await report(recogniser, texts, f"{voice} {speed}", partial(by_espeak, voice, speed))
    vocabulary = desk.vocabulary()
    recorded = [clips.text(name) for name in clips.names("caller-") if name != "caller-weather"]
    texts = list(dict.fromkeys([*desk.caller_lines, *recorded, *sentences(vocabulary, OF_EACH[1])]))
    print(f"The caller: {len(texts)} sentences")
    async with recognising(vocabulary) as recogniser:
        for speed in CALLER:
            name = f"{VOICE} {speed}, with noise"
            await report(recogniser, texts, name, partial(as_a_caller, speed))
        await report(recogniser, texts, "flite", by_flite)


def sentences(vocabulary: Vocabulary, of_each: int) -> list[str]:
    """Each sentence without values, and a few of each pattern with some."""
    by_place: dict[object, list[str]] = {}
    for phrase in vocabulary.phrases:
        by_place.setdefault(phrase.place, []).append(phrase.text)
    chosen = random.Random(1)
    few = [chosen.sample(each, min(of_each, len(each))) for each in by_place.values()]
    return list(dict.fromkeys(text for texts in few for text in texts))


async def by_espeak(voice: str, speed: int, texts: Sequence[str]) -> dict[str, bytes]:
    async with speaking(voice, speed) as speaker:
        return {text: await render.said(speaker, text) for text in texts}


async def as_a_caller(speed: int, texts: Sequence[str]) -> dict[str, bytes]:
    said = await render.by_espeak(texts, speed)
    return {text: line.audio for text, line in said.items()}


async def by_flite(texts: Sequence[str]) -> dict[str, bytes]:
    said = await render.by_flite(texts)
    return {text: line.audio for text, line in said.items()}


async def report(recogniser: Recogniser, texts: Sequence[str], name: str, say: Say) -> None:
    said = await say(texts)
    if not said:
        print(f"  {name:32} is not installed")
        return
    heard = [await recogniser.transcribe(said[text]) for text in texts]
    count = sum(len(words(text)) for text in texts)
    wrong = sum(
        word_errors(words(text), one.text.split()) for text, one in zip(texts, heard, strict=True)
    )
    trusted = sum(one.understood for one in heard)
    print(f"  {name:32} {wrong / count:6.1%} of {count} words wrong, {trusted} trusted", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
