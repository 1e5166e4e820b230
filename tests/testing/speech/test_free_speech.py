"""Free speech, by Whisper's real process, which `make test` installs, and by stand-ins for it."""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.testing.free_speech_extra import need_free_speech
from tests.testing.speech.processes import children

from offhook import audio
from offhook.errors import UserError
from offhook.testing.scenarios.word_errors import word_errors
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import clips, installed, worker_process
from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.simulator.speech.engines import Transcript
from offhook.testing.simulator.speech.free_speech import (
    NOTHING,
    TURN_S_MAX,
    BackedSpeechToText,
    FreeRecogniser,
    FreeSpeechToText,
    judged,
    recognising_freely,
)
from offhook.testing.simulator.speech.free_transcript import FreeTranscript
from offhook.testing.simulator.speech.listening import listening
from offhook.testing.simulator.speech.vocabulary import Phrase, Vocabulary

WEATHER = "caller-weather"
"""A sentence that has nothing to do with a restaurant."""


class Told:
    """What a caller was taken for, turn by turn."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Transcript] = asyncio.Queue()

    def __call__(self, heard: Transcript) -> None:
        self.heard.put_nowait(heard)


async def turn(speech_to_text: FreeSpeechToText, speech: bytes) -> Transcript:
    told = Told()
    for start in range(0, len(speech), audio.FRAME_BYTES):
        speech_to_text.hear(speech[start : start + audio.FRAME_BYTES])
    speech_to_text.end(told)
    return await told.heard.get()


def errors(name: str, heard: Transcript) -> float:
    said = words(clips.text(name))
    return word_errors(said, words(heard.text)) / len(said)


async def test_any_sentence_is_understood_and_a_process_that_hangs_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    need_free_speech()
    before = children()
    async with recognising_freely(at_once=True) as recogniser:
        speech_to_text = recogniser.speech_to_text()
        heard = await turn(speech_to_text, clips.load(WEATHER))
        assert heard.understood
        assert errors(WEATHER, heard) <= 0.2
        noise = bytes(random.Random(1).choices(range(256), k=2 * audio.BYTES_PER_SECOND))
        assert not (await turn(speech_to_text, noise)).understood
        assert not (await turn(speech_to_text, audio.silence(1000))).understood
        assert not (await turn(speech_to_text, b"")).understood

        (pid,) = children() - before
        monkeypatch.setattr(worker_process, "HANG_S", 0.2)
        os.kill(pid, signal.SIGSTOP)
        hung = await turn(speech_to_text, clips.load(WEATHER))
        monkeypatch.undo()
        assert hung == NOTHING
        assert "does not answer" in caplog.text
        async with asyncio.timeout(240):
            while not (
                heard := await turn(speech_to_text, clips.load("caller-opening-hours"))
            ).understood:
                pass
        assert errors("caller-opening-hours", heard) <= 0.2
    assert children() <= before


async def test_without_pocketsphinx_it_hears_alone_and_with_it_only_what_that_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_free_speech()
    small = Vocabulary((Phrase("yes please"), Phrase("no thank you")))
    before = children()
    async with listening(small) as speech_to_text:
        assert len(children() - before) == min(os.cpu_count() or 1, 4), "Whisper is not wanted yet"
        both = speech_to_text()
        assert isinstance(both, BackedSpeechToText)
        told = Told()
        for name in ("caller-yes", WEATHER):
            both.hear(clips.load(name))
            both.end(told)
        heard = sorted([await told.heard.get() for _ in range(2)], key=lambda one: len(one.text))
        both.close()
    assert heard[0] == Transcript("yes please", understood=True), "PocketSphinx's own form"
    assert errors(WEATHER, heard[1]) <= 0.2
    monkeypatch.setattr(installed, "knows_vocabularies", lambda: False)
    async with listening(small) as speech_to_text:
        alone = speech_to_text()
        assert isinstance(alone, FreeSpeechToText)
        assert errors("caller-yes", await turn(alone, clips.load("caller-yes"))) == 0
    assert children() <= before


async def test_one_that_does_not_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match=r"Install it: .*ears") as caught:
        async with recognising_freely(at_once=True):
            pass
    assert caught.value.code == "E-EAR-04"
    assert children() <= before


async def test_a_backing_that_does_not_start_leaves_turns_not_understood(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with recognising_freely(at_once=False) as recogniser:
        assert await turn(recogniser.speech_to_text(), b"\x20" * 8000) == NOTHING
        assert await turn(recogniser.speech_to_text(), b"\x20" * 8000) == NOTHING
    assert "E-EAR-04" in caplog.text


def test_another_model_is_not_loaded(tmp_path: Path) -> None:
    need_free_speech()
    from offhook.testing.simulator.speech.whisper_model import WhisperModel, WrongModelError

    (tmp_path / "model.bin").write_bytes(b"another")
    with pytest.raises(WrongModelError):
        WhisperModel(tmp_path, 1)


def test_doubts_of_the_model_are_heeded() -> None:
    assert judged(FreeTranscript("Yes.", -0.3, 0.1)).understood
    assert not judged(FreeTranscript("Yes.", -1.5, 0.1)).understood
    assert not judged(FreeTranscript("Yes.", -0.3, 0.9)).understood
    assert not judged(FreeTranscript("", -0.3, 0.1)).understood


# --- without a process ------------------------------------------------------------------------


class Unanswered(FreeRecogniser):
    """A recogniser whose process a test plays."""

    def __init__(self, waiting_max: int = 2) -> None:
        self.delays = AnswerDelays()
        super().__init__(waiting_max, self.delays)
        self.asked: list[bytes] = []

    def _ask(self) -> None:
        if self._waiting and not self._owes_answer:
            self.asked.append(self._waiting[0].audio)
            self.expect_answer()

    def answer(self, text: str, cpu_s: float = 0.0) -> None:
        found = {"text": text, "log_prob": -0.1, "no_speech": 0.0, "cpu_s": cpu_s}
        self.on_message(0, 1, json.dumps(found).encode())


@pytest.fixture
async def unanswered() -> AsyncIterator[Unanswered]:
    recogniser = Unanswered()
    yield recogniser
    await recogniser.close()


async def test_turns_wait_for_one_another_and_one_too_many_is_not_understood(
    unanswered: Unanswered,
) -> None:
    told = Told()
    for name in (b"a", b"b", b"c"):
        speech_to_text = unanswered.speech_to_text()
        speech_to_text.hear(name)
        speech_to_text.end(told)
    assert unanswered.asked == [b"a"]
    assert await told.heard.get() == NOTHING, "the third"
    unanswered.answer("first")
    assert unanswered.asked == [b"a", b"b"]
    unanswered.answer("second")
    assert [(await told.heard.get()).text for _ in range(2)] == ["first", "second"]


async def test_a_turn_that_is_forgotten_is_not_told_of(unanswered: Unanswered) -> None:
    first, second, told = unanswered.speech_to_text(), unanswered.speech_to_text(), Told()
    for speech_to_text in (first, second):
        speech_to_text.hear(b"x")
        speech_to_text.end(told)
    second.forget()
    first.close()
    unanswered.answer("first")
    assert unanswered.asked == [b"x"], "the second is not asked about"
    second.hear(b"y")
    second.end(told)
    assert unanswered.asked == [b"x", b"y"]
    unanswered.answer("third")
    assert (await told.heard.get()).text == "third"
    assert told.heard.empty()


async def test_a_turn_that_is_too_long_is_not_understood_and_takes_no_memory(
    unanswered: Unanswered,
) -> None:
    speech_to_text, told = unanswered.speech_to_text(), Told()
    for _ in range(200):
        speech_to_text.hear(bytes(audio.BYTES_PER_SECOND))
    assert len(speech_to_text._audio) <= (TURN_S_MAX + 1) * audio.BYTES_PER_SECOND
    speech_to_text.end(told)
    assert await told.heard.get() == NOTHING
    assert unanswered.asked == []


async def test_when_it_dies_all_that_wait_are_told(unanswered: Unanswered) -> None:
    told = Told()
    for _ in range(2):
        unanswered.recognise(b"x", told)
    unanswered.on_death()
    assert [await told.heard.get() for _ in range(2)] == [NOTHING] * 2
    unanswered.on_message(0, 1, b"an answer to nobody")


class GivenSpeechToText:
    """A recogniser that a test answers for."""

    def __init__(self) -> None:
        self.heard = b""
        self.turns: list[tuple[bytes, Callable[[Transcript], None]]] = []
        self.dropped = 0

    def hear(self, audio: bytes) -> None:
        self.heard += audio

    def end(self, heard: Callable[[Transcript], None]) -> None:
        self.turns.append((self.heard, heard))
        self.heard = b""

    def forget(self) -> None:
        self.dropped += 1

    def close(self) -> None:
        self.dropped += 1


def test_the_second_is_asked_only_about_what_the_first_does_not_understand() -> None:
    first, free, told = GivenSpeechToText(), GivenSpeechToText(), list[Transcript]()
    speech_to_text = BackedSpeechToText(first, free)
    for piece in (b"on", b"e"):
        speech_to_text.hear(piece)
    speech_to_text.end(told.append)
    speech_to_text.hear(b"two")
    speech_to_text.end(told.append)
    assert [heard for heard, _ in first.turns] == [b"one", b"two"]
    first.turns[1][1](Transcript("the second", understood=True))
    assert free.turns == []
    first.turns[0][1](Transcript("gibberish", understood=False))
    ((asked, answer),) = free.turns
    assert asked == b"one"
    answer(Transcript("Anything.", understood=True))
    assert [one.text for one in told] == ["the second", "Anything."]
    speech_to_text.forget()
    speech_to_text.close()
    assert (first.dropped, free.dropped) == (2, 2)
