"""The local voices, with the real processes of eSpeak NG and Pico."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.forms import sized
from tests.testing.speech.processes import children

from offhook import audio
from offhook.errors import UserError
from offhook.testing.simulator.speech import installed, pico_worker, worker_process
from offhook.testing.simulator.speech import text_to_speech as module
from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.simulator.speech.levels import is_speech
from offhook.testing.simulator.speech.text_to_speech import (
    LocalTextToSpeech,
    speaking,
    speaking_as_agent,
    speaking_by_pico,
)

Speak: TypeAlias = Callable[..., AbstractAsyncContextManager[LocalTextToSpeech]]

HOURS = "We are open from Monday to Friday, from nine in the morning until six in the evening."
CALLS = sized(20, 60)


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


@pytest.fixture(params=[speaking, speaking_by_pico], ids=["eSpeak NG", "Pico"])
def speak(request: pytest.FixtureRequest) -> Speak:
    if request.param is speaking_by_pico and not installed.has_pico():
        pytest.skip("there is no Pico here")
    return request.param  # type: ignore[no-any-return]


def command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


async def said(speaker: LocalTextToSpeech, text: str) -> bytes:
    listener = Listener()
    speaker.speak(text, listener.audio, listener.finish)
    await listener.done.wait()
    return listener.heard


async def test_a_sentence_is_speech_of_its_length_in_pieces_and_at_once(speak: Speak) -> None:
    before = children()
    async with speak() as speaker:
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


async def test_a_sentence_that_is_called_off_is_not_finished_and_the_next_is(speak: Speak) -> None:
    async with speak() as speaker:
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


async def test_many_calls_are_served_by_one_process(speak: Speak) -> None:
    async with speak() as speaker:
        heard = await asyncio.gather(*(said(speaker, "yes " * (n + 1)) for n in range(CALLS)))
    lengths = [len(audio) for audio in heard]
    assert lengths == sorted(set(lengths)), "each has its own words"


async def test_beyond_the_bound_a_sentence_is_not_said(
    speak: Speak, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    async with speak() as speaker:
        heard = await asyncio.gather(*(said(speaker, HOURS) for _ in range(4)))
    assert [bool(audio) for audio in heard] == [True, True, False, False]
    assert "too many wait" in caplog.text


async def test_a_process_that_dies_is_started_anew(
    speak: Speak, caplog: pytest.LogCaptureFixture
) -> None:
    before = children()
    async with speak() as speaker:
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
    speak: Speak, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = children()
    delays = AnswerDelays()
    late: list[float] = []
    async with speak(delays=delays) as speaker:
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
    speak: Speak,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(piece: bytes = b"") -> None:
        raise ValueError(piece)

    async with speak() as speaker:
        speaker.speak("Hello.", fail, fail)
        assert await said(speaker, "Hello.")
    assert "ValueError" in caplog.text


async def test_of_a_process_that_dies_nobody_who_called_off_is_told(speak: Speak) -> None:
    before = children()
    async with speak() as speaker:
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


async def test_where_there_is_no_synthesiser_it_is_said(
    speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="Install it: ") as caught:
        async with speak():
            pass
    assert caught.value.code == "E-EAR-02"


async def test_the_agent_speaks_by_pico_and_by_espeak_where_pico_does_not_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def module_of_agent() -> str:
        before = children()
        async with speaking_as_agent() as speaker:
            (pid,) = children() - before
            assert await said(speaker, "Hello.")
            return command(pid)[2]

    if installed.has_pico():
        assert await module_of_agent() == module.PICO_MODULE
        monkeypatch.setattr(module, "PICO_MODULE", "offhook.testing.no_such_module")
        assert await module_of_agent() == module.ESPEAK_MODULE
        assert "The agent speaks by eSpeak NG." in caplog.text
    monkeypatch.setattr(installed, "has_pico", lambda: False)
    assert await module_of_agent() == module.ESPEAK_MODULE


ODD = [
    "",
    "\u2026",
    "\ud800",
    "日本語",
    "." * 3000,
    "ä" * 300,
    "1" * 300,
    "<speed level='20'>" + "Slow. " * 9,
    "a, " * sized(700, 2000),
    "\0\x04\x1b",
]


@pytest.mark.skipif(not installed.has_pico(), reason="there is no Pico here")
async def test_pico_returns_from_texts_of_which_some_would_hold_it() -> None:
    async with speaking_by_pico() as pico:
        for text in ODD:
            await said(pico, text)
            assert pico.deaths == 0, text[:20]
            assert await said(pico, "Hello.")


def test_pico_gets_short_pieces_of_what_it_says() -> None:
    pieces = list(pico_worker.speakable("Don\u2019t <say> *this\u2026* " + HOURS * 9 + "z" * 400))
    assert pieces[0].startswith("Don't say this. We are open")
    assert max(map(len, pieces)) <= pico_worker.TEXT_MAX
    assert "".join(pieces).count("z") == 400
    assert "<" not in "".join(pieces)
