"""Conversion between G.711 mu-law and arrays of samples."""

from typing import Any, Final

import numpy

from offhook.recordings.wav import LINEAR

_LINEAR: Final = numpy.array(LINEAR, numpy.float64)


def decode(audio: bytes) -> Any:
    """Decode mu-law to an array of floats with a full scale of 32768."""
    return _LINEAR[numpy.frombuffer(audio, numpy.uint8)]


def encode(samples: Any) -> bytes:
    """Encode samples with a full scale of 32768; louder ones are clipped."""
    magnitude = numpy.minimum(numpy.abs(samples).astype(numpy.int32) >> 2, 8158) + 33
    segment = numpy.floor(numpy.log2(magnitude)).astype(numpy.int32) - 5
    code = segment << 4 | magnitude >> segment + 1 & 0x0F
    encoded: bytes = (code ^ numpy.where(samples < 0, 0x7F, 0xFF)).astype(numpy.uint8).tobytes()
    return encoded


def with_noise(audio: bytes, dbfs: float) -> bytes:
    """Add line noise of level `dbfs` to mu-law audio; the noise is the same in every run."""
    samples = decode(audio)
    noise = numpy.random.default_rng(0).standard_normal(len(samples))
    return encode(samples + noise * 32768 * 10 ** (dbfs / 20))
