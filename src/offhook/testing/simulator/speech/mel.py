"""Spectrogram of speech as Whisper was trained on it: 80 mel bands, 100 columns a second."""

import functools
from typing import Any, Final

import numpy

RATE: Final = 16000
"""Samples per second of the audio."""

HOP: Final = 160
"""Samples between two columns: 10 ms."""

BANDS: Final = 80

_WINDOW: Final = 400
_RANGE: Final = 8.0
"""Powers of ten below the loudest band at which quieter ones are cut off."""


def spectrogram(samples: Any) -> Any:
    """Return the spectrogram of samples of 16 kHz, full scale 1.0: BANDS rows, a column per HOP."""
    padded = numpy.pad(samples, _WINDOW // 2, mode="reflect")
    frames = numpy.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP][:-1]
    window = numpy.hanning(_WINDOW + 1)[:-1]
    power = numpy.abs(numpy.fft.rfft(frames * window, axis=1)) ** 2
    levels = numpy.log10(numpy.maximum(_bands() @ power.T, 1e-10))
    levels = numpy.maximum(levels, levels.max() - _RANGE)
    return ((levels + 4.0) / 4.0).astype(numpy.float32)


@functools.cache
def _bands() -> Any:
    """Return the weight of each frequency in each band: triangles of equal area (Slaney)."""
    frequencies = numpy.linspace(0, RATE / 2, _WINDOW // 2 + 1)
    edges = _hertz(numpy.linspace(0, _mel(RATE / 2), BANDS + 2))
    lower, middle, upper = (edges[shift : shift + BANDS, None] for shift in range(3))
    rising = (frequencies - lower) / (middle - lower)
    falling = (upper - frequencies) / (upper - middle)
    return numpy.maximum(0, numpy.minimum(rising, falling)) * 2 / (upper - lower)


_LINEAR_HZ: Final = 200 / 3
"""Hertz per mel below 1000 Hz; above, a mel is a fixed ratio."""

_KNEE: Final = 1000 / _LINEAR_HZ
_STEP: Final = numpy.log(6.4) / 27


def _mel(hertz: float) -> float:
    """Return the mel of a frequency above 1000 Hz."""
    return float(_KNEE + numpy.log(hertz / 1000) / _STEP)


def _hertz(mels: Any) -> Any:
    return numpy.where(mels < _KNEE, mels * _LINEAR_HZ, 1000 * numpy.exp(_STEP * (mels - _KNEE)))
