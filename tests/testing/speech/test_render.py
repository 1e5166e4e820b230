"""What a rehearsed caller says: recordings, flite, eSpeak NG."""

import stat
import sys
from pathlib import Path

import numpy
import pytest
from tests.testing.speech.processes import children

from offhook import audio
from offhook.errors import UserError
from offhook.testing.scenarios.word_errors import word_errors
from offhook.testing.simulator.dialogue.file import front_desk
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import clips, flite, mulaw
from offhook.testing.simulator.speech.render import (
    ESPEAK,
    FLITE,
    RECORDED,
    by_espeak,
    on_the_line,
    render,
)
from offhook.testing.simulator.speech.speech_to_text import recognising

RECORDING = "What are your opening hours?"
OTHER = "A table for five people on Tuesday, please."


def without_flite(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", str(folder))


def a_flite(folder: Path, script: str) -> str:
    """A program of that name."""
    file = folder / "flite"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def level(speech: bytes) -> float:
    """The peak, of which full scale is 1."""
    return float(numpy.abs(mulaw.decode(speech)).max()) / 32768


async def test_recordings_are_played_and_the_rest_is_synthesised_each_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_flite(monkeypatch, tmp_path)
    before = children()
    found = await render([RECORDING, OTHER, "caller-stop", OTHER])
    assert {text: line.by for text, line in found.lines.items()} == {
        RECORDING: RECORDED,
        OTHER: ESPEAK,
        "caller-stop": RECORDED,
    }
    assert found.audio(RECORDING) == clips.load("caller-opening-hours")
    assert found.synthesised == {OTHER: ESPEAK}
    assert 2 < len(found.audio(OTHER)) / audio.BYTES_PER_SECOND < 5
    assert level(found.audio(OTHER)) == pytest.approx(0.71, abs=0.04)
    assert children() <= before


async def test_what_espeak_says_for_a_caller_is_understood() -> None:
    desk = front_desk()
    texts = [text for text in desk.caller_lines if clips.of_caller(text) is None]
    texts += [clips.text(name) for name in clips.names("caller-")[:15]]
    wrong = count = meant = 0
    lines = await by_espeak(texts)
    async with recognising(desk.vocabulary()) as recogniser:
        for text in texts:
            heard = await recogniser.transcribe(lines[text].audio)
            count += len(words(text))
            wrong += word_errors(words(text), heard.text.split())
            meant += desk.meaning(heard.text).intent == desk.meaning(text).intent
    assert wrong <= 0.25 * count
    assert meant >= 0.85 * len(texts)


@pytest.mark.skipif(flite.find() is None, reason="flite is not installed")
async def test_flite_says_the_clips_that_it_once_said() -> None:
    found = await render([OTHER])
    assert found.synthesised == {OTHER: FLITE}
    assert level(found.audio(OTHER)) == pytest.approx(0.71, abs=0.04)
    program = flite.find()
    assert program is not None
    samples = await flite.say(program, clips.text("caller-stop"))
    assert on_the_line(samples) == clips.load("caller-stop")
    assert await flite.say(program, "…", "no-such-voice") is None
    assert await flite.say(program, "yes " * 1_000_000) is None


@pytest.mark.parametrize(
    "script", ["exit 1", "exit 0", 'echo RIFF > "$6"', "kill -9 $$", "exec sleep 600"]
)
async def test_a_flite_that_fails_is_none(
    script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(flite, "SAY_S", 0.2)
    before = children()
    program = a_flite(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert flite.find() == program
    assert (await render([OTHER])).synthesised == {OTHER: ESPEAK}
    assert children() <= before


async def test_without_any_voice_the_recordings_can_be_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_flite(monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = await render([RECORDING, OTHER])
    assert found.audio(RECORDING)
    with pytest.raises(UserError, match="Install a voice: ") as caught:
        found.audio(OTHER)
    assert caught.value.code == "E-REH-01"
    assert OTHER in caught.value.what
    assert RECORDING in caught.value.fix


async def test_what_has_no_sound_is_refused() -> None:
    found = await render(["…"])
    with pytest.raises(UserError, match="E-REH-05"):
        found.audio("…")


def test_speech_is_brought_to_one_peak_and_length() -> None:
    silence, speech = numpy.zeros(8000), numpy.sin(numpy.arange(4000))
    for loudness in (2000, 30000):
        line = on_the_line(numpy.concatenate([silence, speech * loudness, silence]))
        assert level(line) == pytest.approx(0.71, abs=0.04)
        assert len(line) == pytest.approx(4000 + 320, abs=3)
    assert on_the_line(silence) == on_the_line(speech * 100) == on_the_line(speech[:0]) == b""
