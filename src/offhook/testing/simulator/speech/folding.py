"""Telephone audio for a recogniser that was taught on better: from 8 to 16 kHz, with a mirror.

The model expects sound up to 6.8 kHz, and a telephone ends at 3.4. Upsampling without a filter
mirrors what is below 4 kHz into what is above; a little of that mirror makes the model hear far
better than silence there does (spectral folding).
"""

from typing import Any, Final

import numpy

from offhook.testing.simulator.speech import mulaw

MIRROR_DB: Final = -16.0
"""Level of the mirror; -10 to -24 are all alike."""

_TAPS: Final = 63
_BITS: Final = 15
"""Of a tap, after the point: whole numbers sum up to the same however the audio is cut."""


def _filter() -> Any:
    """Upsampling and mirror in one: a low-pass at 4 kHz, and a part of the signal unfiltered."""
    n = numpy.arange(_TAPS) - _TAPS // 2
    low_pass = numpy.sinc(n / 2) * numpy.kaiser(_TAPS, 6.0)
    low_pass /= low_pass.sum() / 2
    mirror = 10 ** (MIRROR_DB / 20)
    both = (1 - mirror) * low_pass
    both[_TAPS // 2] += mirror * 2
    return numpy.rint(both * 2**_BITS).astype(numpy.int64)


class Folding:
    """One stretch of audio, piece by piece."""

    def __init__(self) -> None:
        self._filter = _filter()
        self._before = numpy.zeros(_TAPS - 1, numpy.int64)

    def feed(self, audio: bytes) -> bytes:
        """16-bit samples at 16 kHz, delayed by 2 ms, of mu-law audio of any length."""
        if not audio:
            return b""
        stuffed = numpy.zeros(2 * len(audio), numpy.int64)
        stuffed[::2] = mulaw.decode(audio)
        stuffed = numpy.concatenate([self._before, stuffed])
        self._before = stuffed[len(stuffed) - (_TAPS - 1) :]
        heard = numpy.convolve(stuffed, self._filter, "valid") >> _BITS
        wide: bytes = numpy.clip(heard, -32768, 32767).astype("<i2").tobytes()
        return wide
