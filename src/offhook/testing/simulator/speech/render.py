"""What a rehearsed caller says: recorded speech where there is some, else what can be synthesised.

flite is understood best, where it is installed; eSpeak NG speaks otherwise, in a manner that is
understood well enough (bench/voices.py).
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from offhook import audio
from offhook.errors import UserError
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.text_to_speech import EspeakTextToSpeech, speaking

SPEED: Final = 185
"""Words a minute of eSpeak NG: slower speech is understood worse, by bench/voices.py."""

NOISE_DBFS: Final = -50.0
"""Of the noise beneath eSpeak NG, whose pauses are more silent than the recogniser expects."""

SECONDS_MAX: Final = 600
"""Of one text; the rest is not said."""

RECORDED: Final = "recording"
FLITE: Final = "flite"
ESPEAK: Final = "eSpeak NG"

_PEAK: Final = 10 ** (-3 / 20) * 32768
_QUIET: Final = 1000
"""Of 32768: what is nowhere louder is no speech. flite says "…" so."""
_MARGIN: Final = 20 * audio.BYTES_PER_MS
_SAY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RenderedLine:
    """What is said: mu-law audio, and by whom: RECORDED, FLITE or ESPEAK."""

    audio: bytes
    by: str


class Rendered:
    """Lines by their texts. Made by `render`."""

    def __init__(self, lines: Mapping[str, RenderedLine], missing: UserError | None) -> None:
        self.lines: Final = lines
        self._missing = missing
        """Why there is no synthesiser here."""

    def audio(self, text: str) -> bytes:
        """Return the mu-law audio of a text that was rendered.

        Raises UserError: E-REH-01 when this machine cannot say it, E-REH-05 when nobody can.
        """
        line = self.lines.get(text)
        if line is None:
            assert self._missing is not None  # what can be said was
            raise _unsaid(text, self._missing)
        if not line.audio:
            raise UserError(
                "E-REH-05",
                f'{line.by} makes no sound of "{text}".',
                "Write it in words.",
            )
        return line.audio

    @property
    def synthesised(self) -> dict[str, str]:
        """By text, which engine said it, of those that nobody recorded."""
        return {text: line.by for text, line in self.lines.items() if line.by != RECORDED}


async def render(texts: Iterable[str]) -> Rendered:
    """All of these, each once."""
    lines: dict[str, RenderedLine] = {}
    others = []
    for text in dict.fromkeys(texts):
        name = clips.of_caller(text)
        if name is not None:
            lines[text] = RenderedLine(clips.load(name), RECORDED)
        else:
            others.append(text)
    lines |= await by_flite(others)
    missing = None
    try:
        lines |= await by_espeak([text for text in others if text not in lines])
    except UserError as problem:
        missing = problem
    return Rendered(lines, missing)


def on_the_line(samples: Any) -> bytes:
    """Speech of any level as a caller's clip: to the same peak, without silence at its ends.

    `samples` are at 8000 Hz, full scale 32768. Of what surrounds the speech 20 ms are kept, so that
    a clip's length is its speech's. Empty when there is no speech.
    """
    import numpy

    from offhook.testing.simulator.speech import mulaw

    level = numpy.abs(samples[: SECONDS_MAX * audio.BYTES_PER_SECOND])
    loudest = level.max(initial=0)
    if loudest < _QUIET:
        return b""
    loud = numpy.flatnonzero(level > loudest / 50)
    speech = samples[max(loud[0] - _MARGIN, 0) : loud[-1] + _MARGIN]
    return mulaw.encode(speech * (_PEAK / loudest))


async def by_flite(texts: Sequence[str]) -> dict[str, RenderedLine]:
    """Say texts by flite, if there is one and it works."""
    if not texts or find_spec("numpy") is None:
        return {}
    from offhook.testing.simulator.speech import flite

    program = flite.find()
    if program is None:
        return {}
    lines = {}
    free = asyncio.Semaphore(os.cpu_count() or 1)

    async def one(text: str) -> None:
        async with free:
            samples = await flite.say(program, text)
        if samples is not None:
            lines[text] = RenderedLine(on_the_line(samples), FLITE)

    async with asyncio.TaskGroup() as group:
        for text in texts:
            group.create_task(one(text), name="flite")
    return lines


async def by_espeak(texts: Sequence[str], speed: int = SPEED) -> dict[str, RenderedLine]:
    """Say texts by eSpeak NG. Raises UserError E-EAR-02 when there is none."""
    if not texts:
        return {}
    async with speaking(speed=speed) as speaker:
        from offhook.testing.simulator.speech import mulaw

        lines = {}
        for text in texts:
            samples = mulaw.decode(await said(speaker, text))
            lines[text] = RenderedLine(mulaw.with_noise(on_the_line(samples), NOISE_DBFS), ESPEAK)
        return lines


async def said(speaker: EspeakTextToSpeech, text: str) -> bytes:
    """All of it, or what there was of it when time ran out."""
    pieces = bytearray()
    done = asyncio.Event()
    speech = speaker.speak(text, pieces.extend, done.set)
    try:
        async with asyncio.timeout(_SAY_S):
            await done.wait()
    except TimeoutError:
        speech.cancel()
    return bytes(pieces)


def _unsaid(text: str, missing: UserError) -> UserError:
    known = "".join(f"\n    {clips.text(name)}" for name in clips.names("caller-"))
    return UserError(
        "E-REH-01",
        f'Nobody has recorded "{text}", and there is no voice here to say it. {missing.what}',
        "Install a voice: pip install 'offhook[local]'. Or use a recording of your own"
        f" (--clip FILE.wav), or say one of:{known}",
    )
