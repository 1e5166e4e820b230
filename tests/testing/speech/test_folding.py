"""Telephone audio, brought to what the recogniser was taught on."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.testing.simulator.speech import clips, mulaw
from offhook.testing.simulator.speech.folding import MIRROR_DB, Folding

RATE = 8000
LEVEL = 8000


def tone(hertz: float, seconds: float = 1.0) -> bytes:
    time = numpy.arange(round(RATE * seconds)) / RATE
    return mulaw.encode(LEVEL * numpy.sin(2 * math.pi * hertz * time))


def levels(wide: bytes, *hertz: float) -> list[float]:
    """Of these frequencies, in dB of the tone's level; of whole periods within a second."""
    samples = numpy.frombuffer(wide, "<i2")[-RATE * 2 // 2 :]
    spectrum = abs(numpy.fft.rfft(samples * numpy.hanning(len(samples)))) / len(samples) * 4
    step = 2 * RATE / len(samples)
    return [20 * math.log10(spectrum[round(each / step)] / LEVEL) for each in hertz]


@pytest.mark.parametrize("hertz", [300, 1000, 2500, 3400])
def test_a_tone_stays_and_has_a_mirror(hertz: int) -> None:
    own, mirror = levels(Folding().feed(tone(hertz)), hertz, 2 * RATE // 2 - hertz)
    assert own == pytest.approx(0, abs=0.5)
    assert mirror == pytest.approx(MIRROR_DB, abs=1.5)


def test_nothing_else_is_heard() -> None:
    others = levels(Folding().feed(tone(1000)), 2000, 3000, 4000, 5000, 6000)
    assert max(others) < -35  # mu-law's own noise


@given(st.lists(st.integers(0, 3000), max_size=8))
def test_piece_by_piece_it_is_what_it_is_as_a_whole(cuts: list[int]) -> None:
    audio = clips.load("caller-stop")[:3000]
    folding = Folding()
    ends = sorted(min(cut, len(audio)) for cut in cuts)
    pieces = [
        folding.feed(audio[a:b]) for a, b in zip([0, *ends], [*ends, len(audio)], strict=True)
    ]
    assert b"".join(pieces) == Folding().feed(audio)
    assert len(Folding().feed(audio)) == 4 * len(audio)


def test_the_loudest_is_clipped_and_does_not_turn_over() -> None:
    samples = numpy.frombuffer(Folding().feed(b"\x80" * 400), "<i2")
    assert samples[200:].min() > 0
    assert samples.max() == 32767
