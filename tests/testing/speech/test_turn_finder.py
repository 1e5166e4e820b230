"""Turns found in real audio."""

import functools
import math
import random
from itertools import product

import pytest

from offhook import audio
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.turn_finder import TurnChange, TurnFinder

DTMF = [(low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477, 1633)]
QUIET_MS = 1000
"""Silence before the caller speaks; a clip's own first 20 ms are quiet too."""


def decoded(sample: int) -> int:
    sample = 255 - sample
    magnitude = ((sample % 16) * 2 + 33 << sample // 16 % 8 + 2) - 132
    return -magnitude if sample > 127 else magnitude


LINEAR = [decoded(sample) for sample in range(256)]
LOUDEST = 65_536


def encoded(value: float) -> int:
    magnitude = min(int(abs(value)), 32635) + 132
    segment = magnitude.bit_length() - 8
    step = magnitude >> (segment + 3) & 15
    return 255 - ((128 if value < 0 else 0) + segment * 16 + step)


def line(speech: bytes, offset: int = 0, after_ms: int = 1000) -> bytes:
    """The speech on a silent line; `offset` in samples moves it against the frames."""
    return audio.silence(QUIET_MS) + audio.SILENCE * offset + speech + audio.silence(after_ms)


@functools.cache
def codes() -> bytes:
    """The code of every value that sound and noise can add up to: quicker than `encoded`."""
    return bytes(encoded(value) for value in range(-LOUDEST, LOUDEST))


@functools.cache
def white_noise() -> list[float]:
    chance = random.Random(1)
    return [chance.gauss(0, 1) for _ in range(10 * audio.BYTES_PER_SECOND)]


def with_noise(sound: bytes, speech: bytes, snr_db: float) -> bytes:
    """White noise over all of the line, so far below the speech."""
    power = sum(LINEAR[sample] ** 2 for sample in speech) / len(speech)
    rms = math.sqrt(power / 10 ** (snr_db / 10))
    code, noise = codes(), white_noise()
    assert len(sound) <= len(noise)
    return bytes(
        code[LOUDEST + int(LINEAR[sample] + rms * one)]
        for sample, one in zip(sound, noise, strict=False)
    )


def tones(frequencies: tuple[int, ...], milliseconds: int) -> bytes:
    return bytes(
        encoded(sum(8000 * math.sin(2 * math.pi * f * n / 8000) for f in frequencies))
        for n in range(milliseconds * audio.BYTES_PER_MS)
    )


def changes(sound: bytes, finder: TurnFinder | None = None) -> list[tuple[float, TurnChange]]:
    """What the finder says, with the milliseconds of audio it had heard by then."""
    finder = finder or TurnFinder()
    return [
        ((start + audio.FRAME_BYTES) / audio.BYTES_PER_MS, change)
        for start in range(0, len(sound), audio.FRAME_BYTES)
        for change in finder.hear(sound[start : start + audio.FRAME_BYTES])
    ]


@pytest.mark.parametrize("snr_db", [None, 20])
@pytest.mark.parametrize("name", clips.names("caller-"))
def test_a_caller_is_heard_in_time_and_the_turn_ends_once(name: str, snr_db: int | None) -> None:
    speech = clips.load(name)
    for offset in (0, 37, 80, 121):
        sound = line(speech, offset)
        if snr_db is not None:
            sound = with_noise(sound, speech, snr_db)
        begins = QUIET_MS + offset / audio.BYTES_PER_MS
        (started, first), (ended, last) = changes(sound)
        assert (first, last) == (TurnChange.STARTED, TurnChange.ENDED)
        assert 140 <= started - begins <= 400
        # 600 ms after the last frame of speech, which noise may hide.
        assert 400 <= ended - (begins + len(speech) / audio.BYTES_PER_MS) <= 640


def test_chunks_of_any_size_give_the_same_turns() -> None:
    sound = line(clips.load("caller-book-table"))
    expected = [change for _, change in changes(sound)]
    for size in (1, 7, 159, 161, 960, len(sound)):
        finder = TurnFinder()
        found = [
            change
            for start in range(0, len(sound), size)
            for change in finder.hear(sound[start : start + size])
        ]
        assert found == expected


@pytest.mark.parametrize("key", DTMF)
def test_a_key_is_not_a_voice(key: tuple[int, int]) -> None:
    tone = tones(key, 1000)
    for tone_ms, offset in product((60, 100, 250, 1000), (0, 53, 120)):
        pressed = tone[: tone_ms * audio.BYTES_PER_MS]
        assert changes(line(pressed, offset)) == [], (tone_ms, offset)


def test_speech_after_a_key_is_heard() -> None:
    sound = audio.silence(500) + tones((941, 1336), 200) + line(clips.load("caller-yes"))
    assert [change for _, change in changes(sound)] == [TurnChange.STARTED, TurnChange.ENDED]


@pytest.mark.parametrize("milliseconds", [40, 100, 140])
def test_a_burst_of_less_than_150_ms_is_no_turn(milliseconds: int) -> None:
    burst = clips.load("caller-opening-hours")[800 : 800 + milliseconds * audio.BYTES_PER_MS]
    assert changes(line(burst)) == []
    assert changes(line(burst + audio.silence(200) + burst)) == []
    longer = clips.load("caller-opening-hours")[800:2400]
    assert [change for _, change in changes(line(longer))] == [TurnChange.STARTED, TurnChange.ENDED]


@pytest.mark.parametrize("rms", [30, 300, 3000])
def test_noise_is_not_a_voice(rms: int) -> None:
    noise = random.Random(2)
    assert changes(bytes(encoded(noise.gauss(0, rms)) for _ in range(80_000))) == []


def test_pauses_within_a_turn_do_not_end_it_and_longer_ones_do() -> None:
    word = clips.load("caller-yes")
    assert len(changes(line(word + audio.silence(300) + word))) == 2
    assert len(changes(line(word + audio.silence(900) + word))) == 4
    patient = TurnFinder(silence_ms=1500)
    found = changes(line(word + audio.silence(900) + word, after_ms=1600), patient)
    assert [change for _, change in found] == [TurnChange.STARTED, TurnChange.ENDED]


def test_a_turn_can_be_ended_from_outside_and_the_next_is_found() -> None:
    finder = TurnFinder()
    speech = clips.load("caller-opening-hours")
    assert not finder.end_turn()
    finder.hear(audio.silence(500) + speech[:8000])
    assert finder.end_turn()
    assert not finder.end_turn()
    # The caller talks on: a new turn.
    assert TurnChange.STARTED in finder.hear(speech[8000:])
