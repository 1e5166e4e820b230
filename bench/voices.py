"""Print how well the local recogniser understands what the local voices say.

    python bench/voices.py [--few]

First the front desk's agent, as a rehearsed caller hears it: each of its sentences, and a few of
each with values, by Pico and eSpeak NG in several voices and at several speeds. PocketSphinx hears
them alone, and then with Whisper, if [ears] is installed. Then the desk's callers, whom the agent's
PocketSphinx hears: their lines, and some of what else they may say, by what render.py has. The
defaults in text_to_speech.py and render.py are what came out best. `--few` is the agent alone, in
its voices and those next to them, with two of each sentence with values.
"""

import argparse
import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from offhook.audio import FRAME_BYTES
from offhook.testing.scenarios.word_errors import word_errors
from offhook.testing.simulator.dialogue.file import front_desk
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import clips, installed, render
from offhook.testing.simulator.speech.engines import SpeechToText, Transcript
from offhook.testing.simulator.speech.listening import listening
from offhook.testing.simulator.speech.speech_to_text import recognising
from offhook.testing.simulator.speech.text_to_speech import (
    PICO_SPEED,
    PICO_VOICE,
    SPEED,
    VOICE,
    speaking,
    speaking_by_pico,
)
from offhook.testing.simulator.speech.vocabulary import Vocabulary

AGENT = [(VOICE, speed) for speed in (130, 150, 170, 190)] + [
    (voice, SPEED) for voice in ("en-us", "en-gb", "en-us+klatt2", "en-us+f3", "en-us+m3")
]
PICO = [(PICO_VOICE, speed) for speed in (0.9, PICO_SPEED, 1.1, 1.2)] + [("en-GB", PICO_SPEED)]
FEW = [(VOICE, SPEED)], [(PICO_VOICE, PICO_SPEED), (PICO_VOICE, 1.1), ("en-GB", PICO_SPEED)]
CALLER = (140, 155, 170, 185, 200)
OF_EACH = 6, 1
"""Sentences of each pattern that has values: of the agent, of a caller."""

Say = Callable[[Sequence[str]], Awaitable[dict[str, bytes]]]
Hear = Callable[[bytes], Awaitable[Transcript]]


async def agent(of_each: int, espeak: list[tuple[str, int]], pico: list[tuple[str, float]]) -> None:
    vocabulary = front_desk().spoken_vocabulary()
    texts = sentences(vocabulary, of_each)
    print(f"The agent: {len(texts)} sentences")
    ways: list[tuple[str, Say]] = [
        (f"eSpeak NG {voice} {speed}", partial(by_espeak, voice, speed)) for voice, speed in espeak
    ]
    if installed.has_pico():
        ways += [
            (f"Pico {voice} {speed:g}", partial(by_pico, voice, speed)) for voice, speed in pico
        ]
    async with recognising(vocabulary) as recogniser, listening(vocabulary) as speech_to_text:
        for name, say in ways:
            said = await say(texts)
            await report(recogniser.transcribe, texts, name, said)
            if installed.missing_free_speech() is None:
                await report(partial(heard_by, speech_to_text), texts, "  with Whisper", said)


async def callers() -> None:
    desk = front_desk()
    vocabulary = desk.vocabulary()
    recorded = [clips.text(name) for name in clips.names("caller-") if name != "caller-weather"]
    texts = list(dict.fromkeys([*desk.caller_lines, *recorded, *sentences(vocabulary, OF_EACH[1])]))
    print(f"The caller: {len(texts)} sentences")
    async with recognising(vocabulary) as recogniser:
        for speed in CALLER:
            said = await as_a_caller(speed, texts)
            await report(recogniser.transcribe, texts, f"{VOICE} {speed}, with noise", said)
        await report(recogniser.transcribe, texts, "flite", await by_flite(texts))


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


async def by_pico(voice: str, speed: float, texts: Sequence[str]) -> dict[str, bytes]:
    async with speaking_by_pico(voice, speed) as speaker:
        return {text: await render.said(speaker, text) for text in texts}


async def heard_by(speech_to_text: Callable[[], SpeechToText], speech: bytes) -> Transcript:
    heard: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
    caller = speech_to_text()
    for start in range(0, len(speech), FRAME_BYTES):
        caller.hear(speech[start : start + FRAME_BYTES])
        await asyncio.sleep(0)
    caller.end(heard.set_result)
    try:
        return await heard
    finally:
        caller.close()


async def as_a_caller(speed: int, texts: Sequence[str]) -> dict[str, bytes]:
    said = await render.by_espeak(texts, speed)
    return {text: line.audio for text, line in said.items()}


async def by_flite(texts: Sequence[str]) -> dict[str, bytes]:
    said = await render.by_flite(texts)
    return {text: line.audio for text, line in said.items()}


async def report(hear: Hear, texts: Sequence[str], name: str, said: dict[str, bytes]) -> None:
    if not said:
        print(f"  {name:32} is not installed")
        return
    heard = [await hear(said[text]) for text in texts]
    count = sum(len(words(text)) for text in texts)
    wrong = sum(
        word_errors(words(text), words(one.text)) for text, one in zip(texts, heard, strict=True)
    )
    trusted = sum(one.understood for one in heard)
    print(f"  {name:32} {wrong / count:6.1%} of {count} words wrong, {trusted} trusted", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--few", action="store_true", help="the agent alone, in fewer voices")
    if parser.parse_args().few:
        asyncio.run(agent(2, *FEW))
        return
    asyncio.run(agent(OF_EACH[0], AGENT, PICO))
    asyncio.run(callers())


if __name__ == "__main__":
    main()
