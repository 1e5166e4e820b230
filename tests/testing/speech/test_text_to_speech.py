"""The local voice, with eSpeak NG's real process."""

import asyncio
import logging
import os
import signal
import sys
import time

import pytest
from tests.testing.speech.processes import children

from offhook import audio
from offhook.errors import UserError
from offhook.testing.simulator.speech import text_to_speech as module
from offhook.testing.simulator.speech import worker_process
from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.simulator.speech.levels import is_speech
from offhook.testing.simulator.speech.text_to_speech import EspeakTextToSpeech, speaking

HOURS = "We are open from Monday to Friday, from nine in the morning until six in the evening."


class Listener:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.done = asyncio.Event()
        self.times_done = 0
        self.began = asyncio.Event()

    def audio(self, piece: bytes) -> None:
        assert not self.done.is_set(), "audio after the end"
        self.pieces.append(piece)
        self.began.set()

    def finish(self) -> None:
        self.times_done += 1
        self.done.set()

    @property
    def heard(self) -> bytes:
        return b"".join(self.pieces)


async def said(speaker: EspeakTextToSpeech, text: str) -> bytes:
    listener = Listener()
    speaker.speak(text, listener.audio, listener.finish)
    await listener.done.wait()
    return listener.heard


async def test_a_sentence_is_speech_of_its_length_in_pieces_and_at_once() -> None:
    before = children()
    async with speaking() as speaker:
        listener = Listener()
        speaker.speak(HOURS, listener.audio, listener.finish)
        await listener.done.wait()
        frames = [
            listener.heard[start : start + audio.FRAME_BYTES]
            for start in range(0, len(listener.heard), audio.FRAME_BYTES)
        ]
        assert 3.5 < len(listener.heard) / audio.BYTES_PER_SECOND < 7
        assert sum(map(is_speech, frames)) > 0.7 * len(frames)
        assert len(listener.pieces) > 20
        assert max(map(len, listener.pieces)) < audio.BYTES_PER_SECOND / 2
        # The pause after a sentence is short, whatever the library thinks.
        quiet = next(n for n, frame in enumerate(reversed(frames)) if is_speech(frame))
        assert quiet * audio.FRAME_MS <= 240
        assert await said(speaker, "") == await said(speaker, "…") == b""
    assert children() <= before


async def test_a_sentence_that_is_called_off_is_not_finished_and_the_next_is() -> None:
    async with speaking() as speaker:
        listener, other = Listener(), Listener()
        speech = speaker.speak(HOURS * 200, listener.audio, listener.finish)
        waiting = speaker.speak(HOURS, other.audio, other.finish)
        await listener.began.wait()
        speech.cancel()
        waiting.cancel()
        count = len(listener.pieces)
        began = time.monotonic()
        assert await said(speaker, "Yes.")
        # A quarter of an hour of speech takes minutes to hear; it was broken off.
        assert time.monotonic() - began < 120
        assert len(listener.pieces) == count
        assert (listener.times_done, other.times_done, other.pieces) == (0, 0, [])
        speech.cancel()


async def test_many_calls_are_served_by_one_process() -> None:
    async with speaking() as speaker:
        heard = await asyncio.gather(*(said(speaker, "yes " * (n + 1)) for n in range(60)))
    lengths = [len(audio) for audio in heard]
    assert lengths == sorted(set(lengths)), "each has its own words"


async def test_beyond_the_bound_a_sentence_is_not_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    async with speaking() as speaker:
        heard = await asyncio.gather(*(said(speaker, HOURS) for _ in range(4)))
    assert [bool(audio) for audio in heard] == [True, True, False, False]
    assert "too many wait" in caplog.text


async def test_a_process_that_dies_is_started_anew(caplog: pytest.LogCaptureFixture) -> None:
    before = children()
    async with speaking() as speaker:
        assert await said(speaker, "Hello.")
        (pid,) = children() - before
        listener = Listener()
        with caplog.at_level(logging.ERROR):
            os.kill(pid, signal.SIGSTOP)
            speaker.speak(HOURS, listener.audio, listener.finish)
            os.kill(pid, signal.SIGKILL)
            await listener.done.wait()
        assert "started anew" in caplog.text
        assert listener.times_done == 1
        async with asyncio.timeout(240):
            while not await said(speaker, "Hello."):
                pass
    assert children() <= before


async def test_a_process_that_hangs_is_replaced_and_its_sentence_is_late(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = children()
    delays = AnswerDelays()
    late: list[float] = []
    async with speaking(delays=delays) as speaker:
        (pid,) = children() - before
        monkeypatch.setattr(worker_process, "HANG_S", 2 * module.USUAL_S)
        os.kill(pid, signal.SIGSTOP)
        with delays.watched(late.append):
            assert await said(speaker, HOURS) == b""
        monkeypatch.undo()
        assert "does not answer" in caplog.text
        assert len(late) == 1
        assert late[0] > 0
        async with asyncio.timeout(240):
            while not await said(speaker, "Hello."):
                pass
    assert children() <= before


async def test_whoever_is_told_may_fail_and_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(piece: bytes = b"") -> None:
        raise ValueError(piece)

    async with speaking() as speaker:
        speaker.speak("Hello.", fail, fail)
        assert await said(speaker, "Hello.")
    assert "ValueError" in caplog.text


async def test_of_a_process_that_dies_nobody_who_called_off_is_told() -> None:
    before = children()
    async with speaking() as speaker:
        (pid,) = children() - before
        os.kill(pid, signal.SIGSTOP)
        first, second = Listener(), Listener()

        def called_off() -> None:
            first.finish()
            waiting.cancel()

        speaker.speak(HOURS, first.audio, called_off)
        waiting = speaker.speak(HOURS, second.audio, second.finish)
        os.kill(pid, signal.SIGKILL)
        await first.done.wait()
        async with asyncio.timeout(240):
            while not await said(speaker, "Hello."):
                pass
        assert second.times_done == 0


async def test_where_there_is_no_synthesiser_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="Install it: ") as caught:
        async with speaking():
            pass
    assert caught.value.code == "E-EAR-02"
