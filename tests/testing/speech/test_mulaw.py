"""Mu-law, many samples at once."""

import numpy

from offhook.recordings import wav
from offhook.testing.simulator.speech import mulaw

EVERY = bytes(range(256))


def test_every_byte_is_a_sample_and_comes_back() -> None:
    decoded = mulaw.decode(EVERY)
    # There are two zeros; the negative one becomes the other.
    assert mulaw.encode(decoded) == EVERY.replace(b"\x7f", b"\xff")
    assert (decoded.min(), decoded.max()) == (-32124, 32124)
    assert len(set(decoded)) == 255


def test_it_is_the_codec_of_the_product() -> None:
    samples = numpy.arange(-32768, 32768, dtype=numpy.int16)
    assert mulaw.encode(samples.astype(float)) == wav.encode(samples.astype("<i2").tobytes())
    assert mulaw.encode(numpy.array([1e6, -1e6])) == b"\x80\x00"
    assert mulaw.encode(numpy.array([])) == b""
