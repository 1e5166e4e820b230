"""Spectral folding of telephone audio, for a recogniser that was trained on wideband audio.

The model expects sound up to 6.8 kHz, but a telephone's band ends at 3.4 kHz. Upsampling from 8 to
16 kHz without a filter mirrors frequencies below 4 kHz to above 4 kHz. The model recognises far
more with a little of this mirror image than with silence above 4 kHz.
"""

from typing import Any, Final

import numpy

from offhook.testing.simulator.speech import mulaw

MIRROR_DB: Final = -16.0
"""Level of the mirror image in dB; levels from -10 to -24 give the same results."""

_TAPS: Final = 63
_BITS: Final = 15
"""Fractional bits of a tap: integer sums do not depend on how the audio is split."""


def _filter() -> Any:
    """Return the filter: a low-pass at 4 kHz plus a part of the unfiltered signal, the mirror."""
    n = numpy.arange(_TAPS) - _TAPS // 2
    low_pass = numpy.sinc(n / 2) * numpy.kaiser(_TAPS, 6.0)
    low_pass /= low_pass.sum() / 2
    mirror = 10 ** (MIRROR_DB / 20)
    both = (1 - mirror) * low_pass
    both[_TAPS // 2] += mirror * 2
    return numpy.rint(both * 2**_BITS).astype(numpy.int64)


class Folding:
    """Folding of one stretch of audio, piece by piece."""

    def __init__(self) -> None:
        self._filter = _filter()
        self._before = numpy.zeros(_TAPS - 1, numpy.int64)

    def feed(self, audio: bytes) -> bytes:
        """Return 16-bit samples at 16 kHz of mu-law audio of any length, delayed by 2 ms."""
        if not audio:
            return b""
        stuffed = numpy.zeros(2 * len(audio), numpy.int64)
        stuffed[::2] = mulaw.decode(audio)
        stuffed = numpy.concatenate([self._before, stuffed])
        self._before = stuffed[len(stuffed) - (_TAPS - 1) :]
        heard = numpy.convolve(stuffed, self._filter, "valid") >> _BITS
        wide: bytes = numpy.clip(heard, -32768, 32767).astype("<i2").tobytes()
        return wide
