"""The local recogniser, with PocketSphinx's real processes."""

import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.forms import sized
from tests.testing.speech.processes import children

from offhook import audio
from offhook.errors import UserError
from offhook.testing.scenarios.word_errors import word_errors
from offhook.testing.simulator.dialogue.file import front_desk
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import clips, sphinx_worker, worker_process
from offhook.testing.simulator.speech import speech_to_text as module
from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.simulator.speech.engines import Transcript
from offhook.testing.simulator.speech.speech_to_text import (
    Recogniser,
    SphinxSpeechToText,
    recognising,
)
from offhook.testing.simulator.speech.vocabulary import Phrase, Vocabulary
from offhook.yamlfile import InvalidFileError

SMALL = Vocabulary((Phrase("yes please", weight=5), Phrase("no thank you", weight=5)))
YES = clips.load("caller-yes")
NO = clips.load("caller-no")
HEARD_YES = Transcript("yes please", understood=True)
HEARD_NO = Transcript("no thank you", understood=True)
NOTHING = Transcript("", understood=False)


@pytest.fixture
async def small() -> AsyncIterator[Recogniser]:
    async with recognising(SMALL, workers=1) as recogniser:
        yield recogniser


class Told:
    """What one caller was taken for, turn by turn."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[Transcript] = asyncio.Queue()

    def __call__(self, heard: Transcript) -> None:
        self._heard.put_nowait(heard)

    async def next(self) -> Transcript:
        return await self._heard.get()

    @property
    def is_empty(self) -> bool:
        return self._heard.empty()


async def turn(speech_to_text: SphinxSpeechToText, speech: bytes) -> Transcript:
    """Heard in frames, as it comes from a line."""
    told = Told()
    for start in range(0, len(speech), audio.FRAME_BYTES):
        speech_to_text.hear(speech[start : start + audio.FRAME_BYTES])
    speech_to_text.end(told)
    return await told.next()


@pytest.mark.long
async def test_the_front_desk_understands_its_callers() -> None:
    desk = front_desk()
    names = [name for name in clips.names("caller-") if name != "caller-weather"]
    wrong = count = understood = 0
    async with recognising(desk.vocabulary(), workers=2) as recogniser:
        heard = await asyncio.gather(
            *(turn(recogniser.speech_to_text(), clips.load(name)) for name in names)
        )
        weather = await turn(recogniser.speech_to_text(), clips.load("caller-weather"))
        noise = bytes(random.Random(1).choices(range(256), k=2 * audio.BYTES_PER_SECOND))
        hiss = await turn(recogniser.speech_to_text(), noise)
        hum = await turn(recogniser.speech_to_text(), audio.silence(1000))
    for name, one in zip(names, heard, strict=True):
        said = words(clips.text(name))
        count += len(said)
        wrong += word_errors(said, one.text.split())
        meant = desk.meaning(clips.text(name)).intent
        understood += one.understood and desk.meaning(one.text).intent == meant
    assert wrong <= 0.15 * count
    assert understood >= len(names) - 2
    assert not weather.understood
    assert not hiss.understood
    assert hum == NOTHING, "nothing is nothing understood"


async def test_turns_follow_one_another_and_callers_do_not_mix(small: Recogniser) -> None:
    async def caller(speech: bytes) -> list[Transcript]:
        speech_to_text = small.speech_to_text()
        return [await turn(speech_to_text, speech) for _ in range(3)]

    said = [YES, NO] * sized(2, 5)
    heard = await asyncio.gather(*map(caller, said))
    assert heard == [[HEARD_YES if speech is YES else HEARD_NO] * 3 for speech in said]


async def test_the_next_turn_may_begin_before_the_last_is_known(small: Recogniser) -> None:
    speech_to_text, told = small.speech_to_text(), Told()
    for speech in (YES, NO, b"", b"\x7f", YES):
        speech_to_text.hear(speech)
        speech_to_text.end(told)
    heard = [await told.next() for _ in range(5)]
    assert [one.text for one in heard if one.understood] == [
        "yes please",
        "no thank you",
        "yes please",
    ]
    assert heard[4] == HEARD_YES
    speech_to_text.end(told)  # a turn of which nothing was heard
    assert await told.next() == NOTHING


async def test_what_is_forgotten_is_not_told_and_the_next_is(small: Recogniser) -> None:
    speech_to_text, before, told = small.speech_to_text(), Told(), Told()
    speech_to_text.hear(YES)
    speech_to_text.end(before)
    speech_to_text.hear(NO)
    speech_to_text.forget()
    speech_to_text.hear(YES)
    speech_to_text.end(told)
    assert await told.next() == HEARD_YES
    speech_to_text.hear(NO)
    speech_to_text.end(told)
    speech_to_text.close()
    speech_to_text.close()
    assert await turn(small.speech_to_text(), YES) == HEARD_YES
    assert before.is_empty
    assert told.is_empty


async def test_more_speech_than_a_process_follows_is_not_understood(small: Recogniser) -> None:
    everybody = [small.speech_to_text() for _ in range(sphinx_worker.TURNS_MAX + 1)]
    told = [Told() for _ in everybody]
    for speech_to_text in everybody:
        speech_to_text.hear(YES)
    for speech_to_text, one in zip(everybody, told, strict=True):
        speech_to_text.end(one)
    heard = [await one.next() for one in told]
    assert heard == [HEARD_YES] * sphinx_worker.TURNS_MAX + [NOTHING]
    assert await turn(everybody[-1], YES) == HEARD_YES


async def test_beyond_the_backlog_a_turn_is_not_heard_and_the_next_is(
    small: Recogniser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    speech_to_text, told = small.speech_to_text(), Told()
    monkeypatch.setattr(module, "BACKLOG_MAX", 64 * 1024)
    for _ in range(100):
        speech_to_text.hear(YES)
    speech_to_text.end(told)
    assert await told.next() == NOTHING
    assert "cannot keep up" in caplog.text
    assert len(caplog.records) == 1, "told once"
    speech_to_text.hear(NO)
    speech_to_text.hear(NO)
    speech_to_text.end(told)
    speech_to_text.forget()  # nor is anybody told of a lost turn any more
    while await turn(speech_to_text, NO) != HEARD_NO:
        await speech_to_text.has_room()
    assert told.is_empty


async def test_a_process_that_dies_is_started_anew(caplog: pytest.LogCaptureFixture) -> None:
    before = children()
    async with recognising(SMALL, workers=1) as recogniser:
        speech_to_text, told = recogniser.speech_to_text(), Told()
        assert await turn(speech_to_text, YES) == HEARD_YES
        (pid,) = children() - before
        os.kill(pid, signal.SIGSTOP)
        speech_to_text.hear(YES)
        speech_to_text.end(told)  # a turn that is waited for
        speech_to_text.hear(NO)  # and one that is under way
        os.kill(pid, signal.SIGKILL)
        assert await told.next() == NOTHING
        async with asyncio.timeout(240):
            while await turn(recogniser.speech_to_text(), YES) != HEARD_YES:
                pass
        speech_to_text.hear(NO)
        speech_to_text.end(told)
        assert await told.next() == NOTHING, "its beginning is lost"
        assert await turn(speech_to_text, NO) == HEARD_NO
        assert "started anew" in caplog.text
    assert children() <= before


async def test_a_process_that_hangs_is_replaced_and_its_turns_are_late(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = children()
    delays = AnswerDelays()
    late: list[float] = []
    async with recognising(SMALL, workers=1, delays=delays) as recogniser:
        (pid,) = children() - before
        monkeypatch.setattr(worker_process, "HANG_S", 2 * module.USUAL_S)
        os.kill(pid, signal.SIGSTOP)
        with delays.watched(late.append):
            assert await turn(recogniser.speech_to_text(), YES) == NOTHING
        monkeypatch.undo()
        assert "does not answer" in caplog.text
        assert late == [pytest.approx(module.USUAL_S, abs=60)]
        assert late[0] > 0
        async with asyncio.timeout(240):
            while await turn(recogniser.speech_to_text(), YES) != HEARD_YES:
                pass
    assert children() <= before


async def test_a_process_that_has_answered_may_be_silent(
    small: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(worker_process.WorkerProcess, "kill", lambda self: killed.append(1))
    monkeypatch.setattr(worker_process, "HANG_S", 0.0)
    assert await turn(small.speech_to_text(), YES) == HEARD_YES
    killed.clear()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert killed == []


async def test_whoever_is_told_may_fail_and_others_are_told(
    small: Recogniser, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(heard: Transcript) -> None:
        raise ValueError(heard)

    speech_to_text, told = small.speech_to_text(), Told()
    for listener in (fail, told):
        speech_to_text.hear(YES)
        speech_to_text.end(listener)
    assert await told.next() == HEARD_YES
    assert "ValueError" in caplog.text


async def test_recordings_are_transcribed_any_number_at_once(small: Recogniser) -> None:
    said = [YES, NO] * (sphinx_worker.TURNS_MAX // 2 + 2)
    heard = await asyncio.gather(*map(small.transcribe, said))
    assert heard == [HEARD_YES if speech is YES else HEARD_NO for speech in said]
    assert await small.transcribe(b"") == NOTHING


async def test_a_transcription_that_is_called_off_is_of_no_harm(small: Recogniser) -> None:
    async with asyncio.TaskGroup() as group:
        under_way = group.create_task(small.transcribe(YES * 20))
        await asyncio.sleep(0)
        under_way.cancel()
    assert under_way.cancelled()
    assert await small.transcribe(NO) == HEARD_NO


async def test_a_long_recording_leaves_room_for_callers(
    small: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG_MAX", 128 * 1024)
    async with asyncio.TaskGroup() as group:
        long = group.create_task(small.transcribe(YES * 20))
        await asyncio.sleep(0)
        assert await turn(small.speech_to_text(), NO) == HEARD_NO
    assert long.result().text.startswith("yes please yes please")


async def test_a_word_that_is_not_known_is_told_before_anything_starts() -> None:
    before = children()
    with pytest.raises(InvalidFileError) as caught:
        async with recognising(Vocabulary((Phrase("frobnicate"),))):
            pass
    assert caught.value.code == "E-EAR-01"
    assert children() <= before


async def test_where_there_is_no_recogniser_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    before = children()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with caplog.at_level(logging.ERROR), pytest.raises(UserError, match="Install it: ") as caught:
        async with recognising(SMALL):
            pass
    assert caught.value.code == "E-EAR-03"
    assert children() <= before
