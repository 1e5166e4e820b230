"""What was heard, recognised by a recogniser of the call's own."""

import asyncio
from array import array
from collections.abc import Callable

import pytest

from offhook import audio
from offhook.testing.scenarios.hearing import Stretch
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.engines import Transcript
from offhook.testing.simulator.speech.levels import is_speech

pytest.importorskip("numpy")
from offhook.testing.scenarios.local_hearing import NOISE_DBFS, LocalHearing
from offhook.testing.simulator.speech.mulaw import with_noise


class GivenSpeechToText:
    """A recogniser that a test answers for."""

    def __init__(self) -> None:
        self.now = b""
        self.turns: list[tuple[bytes, Callable[[Transcript], None]]] = []
        self.closed = False

    def hear(self, audio: bytes) -> None:
        self.now += audio

    def end(self, heard: Callable[[Transcript], None]) -> None:
        self.turns.append((self.now, heard))
        self.now = b""

    def forget(self) -> None:
        raise AssertionError

    def close(self) -> None:
        self.closed = True


def stretch(began: float, seconds: float) -> Stretch:
    size = round(seconds * audio.BYTES_PER_SECOND)
    return Stretch(began, began + seconds, True, audio=bytearray(b"\x20" * size))


async def test_the_first_sounds_are_heard_twice_and_the_rest_once() -> None:
    speech_to_text = GivenSpeechToText()
    heard = LocalHearing(speech_to_text)
    stretches = [stretch(0, 1.5), stretch(3, 1.5), stretch(6, 1.0)]
    for one in stretches:
        heard.over(one)
        assert heard.words(one) is None
    sizes = [len(sound) for sound, _ in speech_to_text.turns]
    assert sizes == [12000, 12000, 12000, 12000, 8000]
    finishing = asyncio.get_running_loop().create_task(heard.finish())
    for number, (_, told) in enumerate(speech_to_text.turns):
        assert not speech_to_text.closed
        await asyncio.sleep(0)
        told(Transcript(f"words {number}", understood=number % 2 == 0))
    await finishing
    assert speech_to_text.closed
    assert [heard.words(one) for one in stretches] == ["words 1", "words 3", "words 4"]


async def test_of_a_silent_call_there_is_nothing_to_wait_for() -> None:
    speech_to_text = GivenSpeechToText()
    await LocalHearing(speech_to_text).finish()
    assert speech_to_text.closed


def test_the_noise_is_that_of_a_quiet_line() -> None:
    line = with_noise(audio.silence(2000), NOISE_DBFS)
    assert line == with_noise(audio.silence(2000), NOISE_DBFS)
    frames = [line[i : i + 160] for i in range(0, len(line), 160)]
    assert not any(map(is_speech, frames))
    power = sum(decoded(code) ** 2 for code in line) / len(line)
    assert 0.7 < power**0.5 / (32768 * 10 ** (-50 / 20)) < 1.4


def test_speech_stays_what_it_was_under_the_noise() -> None:
    clip = clips.load("agent-hours-week")
    noisy = with_noise(clip, NOISE_DBFS)
    assert len(noisy) == len(clip)
    wrong = array("d", (decoded(a) - decoded(b) for a, b in zip(noisy, clip, strict=True)))
    power = sum(decoded(code) ** 2 for code in clip)
    assert sum(error * error for error in wrong) < power / 300


def decoded(code: int) -> int:
    magnitude = (((~code & 0x0F) << 3) + 132 << (~code >> 4 & 7)) - 132
    return magnitude if code & 0x80 else -magnitude
