"""The browser's audio thread, as it is built, against the tables of offhook.audio."""

from collections.abc import AsyncIterator
from typing import Any

import numpy
import pytest
import pytest_asyncio
from playwright.async_api import Browser
from tests.console import chromium
from tests.console.audio_thread import AS_TWILIO, CLOSE_TO_NOW, AudioThread
from tests.console.console_server import require_built

from offhook import audio
from offhook.recordings.wav import LINEAR

RATES = (16000, 44100, 48000)
BLOCK_MS = 128 / audio.BYTES_PER_MS

LINEAR_SAMPLES = numpy.array(LINEAR, numpy.float64) / 32768


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def thread(browser: Browser) -> AsyncIterator[AudioThread]:
    """The built audio thread; each of its runs begins with new processors."""
    require_built()
    async with chromium.context(browser) as context, chromium.watched(context) as watched:
        made = AudioThread(watched.page)
        await made.load()
        yield made


def tone(hertz: float, rate: int, seconds: float = 0.5) -> Any:
    return 0.5 * numpy.sin(2 * numpy.pi * hertz * numpy.arange(int(rate * seconds)) / rate)


def level(samples: Any) -> float:
    """Level in dB beside that of a tone; the first tenth is left out, in which filters settle."""
    settled = samples[len(samples) // 10 :]
    return float(10 * numpy.log10(max(numpy.mean(settled**2), 1e-12) / 0.125))


def linear(mulaw: bytes) -> Any:
    return LINEAR_SAMPLES[numpy.frombuffer(mulaw, numpy.uint8)]


async def test_every_sample_has_the_code_that_python_gives_it(thread: AudioThread) -> None:
    every = numpy.arange(-32767, 32768)
    made = await thread.capture(8000, every / 32767)
    expected = bytes(map(audio.mulaw, range(-32767, 32768)))
    assert made[: len(every)] == expected[: len(made)]
    assert len(made) >= len(expected) - audio.FRAME_BYTES


async def test_louder_than_full_scale_is_clipped(thread: AudioThread) -> None:
    made = await thread.capture(8000, [4.0, -4.0] * audio.FRAME_BYTES)
    assert made[:2] == bytes([audio.mulaw(32767), audio.mulaw(-32767)])


async def test_every_code_is_played_as_python_reads_it(thread: AudioThread) -> None:
    # 60 ms wait before the first is played.
    played, _ = await thread.play(8000, AS_TWILIO, bytes(range(256)) * 3, 10)
    assert played[: 256 * 3] == pytest.approx(list(LINEAR_SAMPLES) * 3, abs=1e-6)


@pytest.mark.parametrize("rate", RATES)
async def test_a_voice_keeps_its_level_at_any_rate_and_nothing_folds_back(
    thread: AudioThread, rate: int
) -> None:
    for hertz in (100, 300, 1000, 2500, 3400):
        assert level(linear(await thread.capture(rate, tone(hertz, rate)))) == pytest.approx(
            0, abs=0.3
        ), hertz
    # What 8000 samples cannot hold; mu-law's own noise beside such a tone is at -38 dB.
    for hertz in (4200, 5000, 7000, 7900):
        if hertz < rate / 2:
            assert level(linear(await thread.capture(rate, tone(hertz, rate)))) < -55, hertz


@pytest.mark.parametrize("rate", [8000, *RATES])
async def test_a_second_is_fifty_frames_at_any_rate(thread: AudioThread, rate: int) -> None:
    made = await thread.capture(rate, numpy.zeros(rate * 4))
    assert len(made) // audio.FRAME_BYTES in (199, 200)
    assert set(made) == set(audio.SILENCE)


@pytest.mark.parametrize("rate", RATES)
async def test_the_agent_is_played_at_its_pitch_without_images(
    thread: AudioThread, rate: int
) -> None:
    spoken = bytes(audio.mulaw(round(32767 * one)) for one in tone(1000, 8000, 1.0))
    played, _ = await thread.play(rate, AS_TWILIO, spoken, rate // 128)
    power = numpy.abs(numpy.fft.rfft(played * numpy.hanning(len(played)))) ** 2
    at = numpy.fft.rfftfreq(len(played), 1 / rate)
    assert at[numpy.argmax(power)] == pytest.approx(1000, abs=3)
    # Without a low-pass there would be as much again at 7000, 9000, 15000 Hz, ...
    assert 10 * numpy.log10(power[at > 4300].sum() / power.sum()) < -50
    assert level(played[: int(0.9 * rate)]) == pytest.approx(0, abs=0.5)


async def test_marks_come_back_as_they_are_passed_and_at_once_when_idle(
    thread: AudioThread,
) -> None:
    # twilio.md §1.6
    _, marks = await thread.play(
        8000, AS_TWILIO, "idle", bytes(800), "first", bytes(800), "second", 30
    )
    assert [name for name, _ in marks] == ["idle", "first", "second"]
    ((_, idle),) = marks[:1]
    assert idle == 0


async def test_a_mark_is_passed_when_its_audio_was_played(thread: AudioThread) -> None:
    for block in range(1, 12):
        _, marks = await thread.play(8000, AS_TWILIO, bytes(800), "end", block)
        assert bool(marks) == (block * 128 >= 800), block


async def test_clear_silences_at_once_and_returns_every_mark(thread: AudioThread) -> None:
    loud = bytes(8000)
    played, marks = await thread.play(8000, AS_TWILIO, loud, "a", loud, "b", 10, None, 10, loud, 10)
    at = 10 * 128
    assert marks == [("a", at), ("b", at)]
    assert numpy.abs(played[:at]).min() > 0.5
    assert numpy.abs(played[at : 2 * at]).max() == 0
    # What is sent after `clear` is played.
    assert numpy.abs(played[2 * at :]).max() > 0.5


async def test_sixty_milliseconds_wait_before_the_first_is_played(thread: AudioThread) -> None:
    # A network that is uneven must not cut a voice into pieces.
    frame = bytes(audio.FRAME_BYTES)
    played, _ = await thread.play(8000, AS_TWILIO, frame, 1, frame, 1, frame, 4)
    assert numpy.abs(played[:256]).max() == 0
    assert numpy.abs(played[256 : 256 + 480]).min() > 0.5


async def test_what_is_shorter_than_that_is_played_all_the_same(thread: AudioThread) -> None:
    played, marks = await thread.play(8000, AS_TWILIO, bytes(80), "end", 10)
    assert (numpy.abs(played) > 0.5).sum() == 80
    assert [name for name, _ in marks] == ["end"]
    assert marks[0][1] >= 480


async def test_a_listener_stays_close_to_now(thread: AudioThread) -> None:
    # Two seconds come at once, as after a pause of the network: 300 ms of them are left.
    old, new = bytes([0x00]) * 16000, bytes([0x80]) * 2400
    played, _ = await thread.play(8000, CLOSE_TO_NOW, old, new, 60)
    heard = played[numpy.abs(played) > 0.1]
    assert len(heard) == 2400
    assert heard.min() > 0.5  # 0x80 is positive, 0x00 negative


async def test_what_is_too_much_is_dropped_at_the_end_as_twilio_does(thread: AudioThread) -> None:
    rules = AS_TWILIO | {"mostMs": 1000}
    played, marks = await thread.play(8000, rules, bytes([0x80]) * 8000, bytes(8000), "end", 70)
    heard = played[numpy.abs(played) > 0.1]
    assert len(heard) == 8000
    assert heard.min() > 0.5
    assert [name for name, _ in marks] == ["end"]
