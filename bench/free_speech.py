"""What the front desk understands of free speech, by PocketSphinx, by Whisper, and by both.

    python -m bench.free_speech [--sentences N] [--heard FILE]

100 sentences of callers in their own words (bench/free_speech.yaml), each by the three voices that
pip brings and two of flite, if it is installed, through a telephone line, each the first of a call.
Then 38 sentences that nobody had in view who wrote the dialogue's keywords. "Both" is what a
stand-in with the extra [ears] does: Whisper is asked about what PocketSphinx does not trust itself
with. The time to the answer is that of a stand-in: the silence that ends a turn, and then the
recogniser's work or the time in which the caller may go on, whichever is longer. `--heard` keeps
what was heard in a file, and judges that when the file is there: a change of the dialogue or of a
bound is then judged without hearing everything again.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy
from bench.recognition import Listener, Score, on_a_line

from offhook import yamlfile
from offhook.audio import BYTES_PER_SECOND
from offhook.testing.scenarios.word_errors import word_errors
from offhook.testing.simulator.deepgram.script import Conduct
from offhook.testing.simulator.dialogue.file import Dialogue, front_desk
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import (
    flite,
    render,
    speech_to_text,
    text_to_speech,
    whisper_model,
)
from offhook.testing.simulator.speech.engines import Transcript
from offhook.testing.simulator.speech.free_speech import SURE, THREADS_MAX, better, judged
from offhook.testing.simulator.speech.free_transcript import FreeTranscript

PICO_VOICES = ("en-US", "en-GB")
FLITE_VOICES = ("rms", "slt")
LISTS = ("sentences", "unseen")
RECOGNISERS = ("PocketSphinx", "Whisper", "both")


@dataclass
class Result:
    """What one recogniser made of many sentences."""

    words: int = 0
    errors: int = 0
    meant: list[bool] = field(default_factory=list)
    """Of sentences within the trade: whether the intent is right."""
    refused: list[bool] = field(default_factory=list)
    """Of the others: whether the agent says that it cannot help."""
    waited_s: list[float] = field(default_factory=list)
    asked: int = 0
    cpu_s: float = 0.0
    speech_s: float = 0.0


@dataclass
class Heard:
    transcript: Transcript
    end_s: float
    """Wall-clock seconds from the end of the turn to its words."""
    cpu_s: float


@dataclass
class Sound:
    """One sentence by one voice, as both recognisers heard it."""

    voice: str
    list_name: str
    say: str
    speech_s: float
    sphinx: tuple[str, float]
    whisper: tuple[str, float, float]
    sphinx_s: tuple[float, float]
    """Seconds at the end of the turn, and of CPU in all."""
    whisper_s: tuple[float, float]

    def by_sphinx(self) -> Heard:
        return Heard(speech_to_text.judged(*self.sphinx), *self.sphinx_s)

    def by_whisper(self) -> Heard:
        return Heard(judged(FreeTranscript(*self.whisper)), *self.whisper_s)


def sound(
    listener: Listener, model: whisper_model.WhisperModel, speech: bytes, *names: str
) -> Sound:
    on_line = on_a_line(speech, None)
    score = Score()
    text = listener.hear(on_line, score)
    began, cpu = time.perf_counter(), time.process_time()
    free = model.transcribe(on_line)
    took = time.perf_counter() - began, time.process_time() - cpu
    return Sound(
        *names,
        len(speech) / BYTES_PER_SECOND,
        (text, score.trust[0]),
        (free.text, free.log_prob, free.no_speech),
        (score.ends_s[0], score.cpu_s),
        took,
    )


def judge(desk: Dialogue, sentence: dict[str, Any], heard: Heard, result: Result) -> None:
    said = words(sentence["say"])
    result.words += len(said)
    result.errors += min(len(said), word_errors(said, words(heard.transcript.text)))
    asked = sentence.get("asked")
    meaning = desk.meaning(heard.transcript.text, [asked] if asked else [])
    intent = meaning.intent if heard.transcript.understood else None
    if asked and asked in meaning.slots and heard.transcript.understood:
        intent = sentence["intent"]  # any sentence with the value answers the question
    (result.meant if sentence["intent"] else result.refused).append(intent == sentence["intent"])
    conduct = Conduct()
    result.waited_s.append(conduct.silence_ms / 1000 + max(conduct.reply_ms / 1000, heard.end_s))
    result.cpu_s += heard.cpu_s


def judge_all(
    desk: Dialogue, sounds: list[Sound], sentences: dict[str, dict[str, Any]]
) -> dict[str, Result]:
    results = {recogniser: Result() for recogniser in RECOGNISERS}
    for one in sounds:
        first, free = one.by_sphinx(), one.by_whisper()
        both = first
        if not first.transcript.understood or first.transcript.trust < SURE:
            counts = better(first.transcript, free.transcript)
            both = Heard(counts, first.end_s + free.end_s, first.cpu_s + free.cpu_s)
            results["both"].asked += 1
        for recogniser, heard in zip(RECOGNISERS, (first, free, both), strict=True):
            judge(desk, sentences[one.say], heard, results[recogniser])
            results[recogniser].speech_s += one.speech_s
    return results


def show(voice: str, recogniser: str, result: Result) -> None:
    right = sum(result.meant) + sum(result.refused)
    waited = sorted(result.waited_s)
    asked = f"asked {result.asked}" if result.asked else ""
    print(
        f"{voice:24} {recogniser:13} {1 - result.errors / result.words:6.1%}"
        f"   {right:4} of {len(waited)}  {sum(result.refused):3} of {len(result.refused)}"
        f"   {statistics.median(waited):5.2f} {waited[int(0.95 * len(waited))]:5.2f}"
        f"   {result.cpu_s / result.speech_s:5.2f}  {asked}",
        flush=True,
    )


def voices(texts: list[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Every text by every voice that there is."""
    espeak = asyncio.run(render.by_espeak(texts))
    yield f"eSpeak NG {text_to_speech.VOICE}", {text: line.audio for text, line in espeak.items()}
    for voice in PICO_VOICES:
        yield f"Pico {voice}", dict(_pico(texts, voice))
    program = flite.find()
    for voice in FLITE_VOICES if program is not None else ():
        yield f"flite {voice}", asyncio.run(_flite(texts, voice))


async def _flite(texts: list[str], voice: str) -> dict[str, bytes]:
    program = flite.find()
    assert program is not None
    said = {}
    for text in texts:
        samples = await flite.say(program, text, voice)
        assert samples is not None, f"flite does not say {text!r}"
        said[text] = render.on_the_line(samples)
    return said


def _pico(texts: list[str], voice: str) -> Iterator[tuple[str, bytes]]:
    import py_nanotts
    import soxr

    engine = py_nanotts.NanoTTS()
    for text in texts:
        wide = numpy.frombuffer(engine.speak(text, voice=voice), "<i2").astype(float)
        yield text, render.on_the_line(soxr.resample(wide, 16000, 8000))


def hear_all(desk: Dialogue, lists: dict[str, list[str]]) -> Iterator[Sound]:
    threads = min(os.cpu_count() or 1, THREADS_MAX)
    model = whisper_model.WhisperModel(whisper_model.folder(), threads)
    with tempfile.TemporaryDirectory() as folder:
        listener = Listener(desk.vocabulary(), Path(folder))
        for voice, spoken in voices([text for texts in lists.values() for text in texts]):
            for name, texts in lists.items():
                for text in texts:
                    yield sound(listener, model, spoken[text], voice, name, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sentences", type=int, default=None, help="of each list; all")
    parser.add_argument("--heard", type=Path, default=None, help="file of what was heard")
    given = parser.parse_args()
    content = yamlfile.read(Path(__file__).parent / "free_speech.yaml").value
    sentences = {one["say"]: one for name in LISTS for one in content[name][: given.sentences]}
    lists = {name: [one["say"] for one in content[name][: given.sentences]] for name in LISTS}
    desk = front_desk()
    if given.heard is not None and given.heard.exists():
        sounds = [Sound(**json.loads(line)) for line in given.heard.read_text().splitlines()]
    else:
        sounds = []
        for one in hear_all(desk, lists):
            sounds.append(one)
            if given.heard is not None:
                with given.heard.open("a") as file:
                    file.write(json.dumps(asdict(one)) + "\n")
    print(
        f"{'voice':24} {'recogniser':13} {'words':>6}   {'intents':>11}  {'refused':>8}"
        f"   {'answer s, p95':>11}  CPU/s"
    )
    for voice in dict.fromkeys(one.voice for one in sounds):
        of_voice = [one for one in sounds if one.voice == voice and one.list_name == LISTS[0]]
        for recogniser, result in judge_all(desk, of_voice, sentences).items():
            show(voice, recogniser, result)
    for name in LISTS:
        of_list = [one for one in sounds if one.list_name == name]
        for recogniser, result in judge_all(desk, of_list, sentences).items():
            show(f"all voices, {name}", recogniser, result)


if __name__ == "__main__":
    main()
