"""Rendering of a rehearsed caller's texts: recorded clips first, synthesised speech otherwise.

The recogniser understands flite best, so flite is used where it is installed. Otherwise eSpeak NG
is used, with settings that are recognised well enough (bench/voices.py).
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
from offhook.testing.simulator.speech.text_to_speech import LocalTextToSpeech, speaking
from offhook.text.extras import install_command

SPEED: Final = 185
"""Words per minute of eSpeak NG. Slower speech is recognised worse (bench/voices.py)."""

NOISE_DBFS: Final = -50.0
"""Noise in dBFS that is added to eSpeak NG: its pauses are too silent for the recogniser."""

SECONDS_MAX: Final = 600
"""Seconds of audio that one text may have; the rest is cut off."""

RECORDED: Final = "recording"
FLITE: Final = "flite"
ESPEAK: Final = "eSpeak NG"

_PEAK: Final = 10 ** (-3 / 20) * 32768
_QUIET: Final = 1000
"""Peak, of 32768, below which audio is no speech, such as flite's output for "…"."""
_MARGIN: Final = 20 * audio.BYTES_PER_MS
_SAY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RenderedLine:
    """Mu-law audio of a text, and its source: RECORDED, FLITE or ESPEAK."""

    audio: bytes
    by: str


class Rendered:
    """Rendered lines by text. `render` makes one."""

    def __init__(self, lines: Mapping[str, RenderedLine], missing: UserError | None) -> None:
        self.lines: Final = lines
        self._missing = missing
        """Error that explains why there is no synthesiser here; None if there is one."""

    def audio(self, text: str) -> bytes:
        """Return the mu-law audio of a text that was rendered.

        Raises UserError E-REH-01 if this machine has no voice, E-REH-05 if the text has no sound.
        """
        line = self.lines.get(text)
        if line is None:
            assert self._missing is not None  # otherwise every text was rendered
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
        """Engines of the texts that were synthesised, by text."""
        return {text: line.by for text, line in self.lines.items() if line.by != RECORDED}


async def render(texts: Iterable[str]) -> Rendered:
    """Render each text once."""
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
    """Return speech as a caller's clip in mu-law: with a fixed peak, without silence at its ends.

    `samples` have 8000 Hz and a full scale of 32768. 20 ms are kept on each side of the speech, so
    that the length of a clip is that of its speech. The result is empty if there is no speech.
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
    """Render texts by flite; leave out those for which it is missing or fails."""
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
    """Render texts by eSpeak NG. Raises UserError E-EAR-02 if it is missing."""
    if not texts:
        return {}
    async with speaking(speed=speed) as speaker:
        from offhook.testing.simulator.speech import mulaw

        lines = {}
        for text in texts:
            samples = mulaw.decode(await said(speaker, text))
            lines[text] = RenderedLine(mulaw.with_noise(on_the_line(samples), NOISE_DBFS), ESPEAK)
        return lines


async def said(speaker: LocalTextToSpeech, text: str) -> bytes:
    """Return the audio of a text, cut off where the time limit of 60 s ends its synthesis."""
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
        f"Install a voice: {install_command('local')}. Or use a recording of your own"
        f" (--clip FILE.wav), or say one of:{known}",
    )
