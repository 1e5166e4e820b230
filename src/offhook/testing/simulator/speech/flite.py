"""Synthesis of a rehearsed caller's voice by the program flite, run once for each text.

The local recogniser understands flite best of all voices that need no model of their own
(docs/local-voice.md).
"""

import asyncio
import contextlib
import math
import shutil
import tempfile
from asyncio.subprocess import DEVNULL
from pathlib import Path
from typing import Any, Final

import numpy

from offhook.errors import UserError
from offhook.recordings import wav

VOICE: Final = "rms"
SAY_S: Final = 30.0
"""Wall-clock seconds that one text may take; flite needs about 1/20 of the playing time."""

_RATE: Final = 16000
_CUTOFF_HZ: Final = 3600
_TAPS: Final = 127


def find() -> str | None:
    """Return the path of flite, if it is installed."""
    return shutil.which("flite")


async def say(program: str, text: str, voice: str = VOICE) -> Any | None:
    """Return the samples of a text, at 8000 Hz, full scale 32768; None if flite fails."""
    with tempfile.TemporaryDirectory(prefix="offhook-flite-") as folder:
        file = Path(folder) / "said.wav"
        words = text.replace("\0", " ")
        try:
            process = await asyncio.create_subprocess_exec(
                *(program, "-voice", voice, "-t", words, "-o", str(file)),
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=DEVNULL,
            )
        except OSError:
            return None  # for example, for a text that is too long for an argument
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAY_S):
                    await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
        if process.returncode != 0:
            return None
        try:
            said = wav.parse(file)
        except UserError:
            return None
    if (said.format, said.channels, said.rate, said.bits) != (wav.PCM, 1, _RATE, 16):
        return None
    return _halved(numpy.frombuffer(said.data[: len(said.data) & ~1], "<i2"))


def _halved(samples: Any) -> Any:
    """Resample from 16 to 8 kHz with a Blackman-windowed sinc that keeps a telephone's band."""
    n = numpy.arange(_TAPS)
    cutoff = _CUTOFF_HZ / _RATE
    window = 0.42 - 0.5 * numpy.cos(2 * math.pi * n / (_TAPS - 1))
    window += 0.08 * numpy.cos(4 * math.pi * n / (_TAPS - 1))
    taps = 2 * cutoff * numpy.sinc(2 * cutoff * (n - _TAPS // 2)) * window
    padded = numpy.pad(samples.astype(numpy.float64), _TAPS // 2)
    return numpy.convolve(padded, taps, "valid")[::2]
