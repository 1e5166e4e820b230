"""What the local recogniser understands, and what that costs.

    python bench/recognition.py

32 sentences (bench/recognition.yaml), of which the phrases make 21 and 11 say the same in other
words, by every voice at hand: flite's, if it is installed, and the one that pip alone brings. Then
the front desk's recorded callers. Each sentence is the first of a call, and each voice is heard on
a clean line and 20 dB above white noise. CPU is the decoder's own, by process time.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import pocketsphinx

from offhook import yamlfile
from offhook.audio import BYTES_PER_SECOND, FRAME_BYTES
from offhook.testing.scenarios.word_errors import word_errors
from offhook.testing.simulator.dialogue import sampling, slots
from offhook.testing.simulator.dialogue.file import front_desk
from offhook.testing.simulator.dialogue.matcher import Matcher
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import (
    clips,
    dictionary,
    flite,
    mulaw,
    ngram,
    render,
    text_to_speech,
)
from offhook.testing.simulator.speech.speech_to_text import TRUSTED
from offhook.testing.simulator.speech.sphinx_worker import TELEPHONE_MEAN, SphinxTurn
from offhook.testing.simulator.speech.vocabulary import Vocabulary

HERE = Path(__file__).parent
FLITE_VOICES = ("rms", "slt", "awb", "kal16")
BEFORE = 3200
AFTER = 4800
"""Samples of the line around a sentence: as much as a stand-in hears before its turn is over."""
NOISY_DB = 20.0
TALK = 0.4
"""The share of a call in which the caller speaks."""


@dataclass
class Score:
    """What became of several sentences."""

    words: int = 0
    errors: int = 0
    right: int = 0
    sentences: int = 0
    speech_s: float = 0.0
    cpu_s: float = 0.0
    ends_s: list[float] = field(default_factory=list)
    trust: list[float] = field(default_factory=list)

    @property
    def error_rate(self) -> float:
        return self.errors / max(self.words, 1)


class Listener:
    """A decoder of one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, folder: Path) -> None:
        words_file, model_file = folder / "words", folder / "model"
        words_file.write_text("\n".join(dictionary.lines(vocabulary)) + "\n")
        model_file.write_text(ngram.arpa(dictionary.words_of(vocabulary)))
        model = Path(pocketsphinx.get_model_path()) / "en-us"
        self._decoder = pocketsphinx.Decoder(
            hmm=str(model / "en-us"), dict=str(words_file), lm=str(model_file), loglevel="FATAL"
        )

    def hear(self, speech: bytes, score: Score) -> str:
        self._decoder.set_cmn(TELEPHONE_MEAN)
        began = time.process_time()
        turn = SphinxTurn(self._decoder)
        for start in range(0, len(speech), FRAME_BYTES):
            turn.hear(speech[start : start + FRAME_BYTES])
        ending = time.process_time()
        text, trust = turn.end()
        score.ends_s.append(time.process_time() - ending)
        score.cpu_s += time.process_time() - began
        score.speech_s += len(speech) / BYTES_PER_SECOND
        score.trust.append(trust)
        return text


def on_a_line(speech: bytes, snr_db: float | None) -> bytes:
    """A sentence with some of the line before and after it."""
    samples = mulaw.decode(speech).astype(float)
    line = numpy.concatenate([numpy.zeros(BEFORE), samples, numpy.zeros(AFTER)])
    level = numpy.sqrt(numpy.mean(samples**2)) / 10 ** ((snr_db or 60.0) / 20)
    noise = numpy.random.default_rng(5).normal(0, level, len(line))
    return mulaw.encode(numpy.clip(line + noise, -32768, 32767))


def judge(
    listener: Listener,
    meaning: Callable[[str], str | None],
    said: Iterable[tuple[str, bytes, str | None]],
    snr_db: float | None,
) -> Score:
    score = Score()
    for text, speech, intent in said:
        heard = listener.hear(on_a_line(speech, snr_db), score)
        expected = words(text)
        score.words += len(expected)
        score.errors += word_errors(expected, heard.split())
        score.sentences += 1
        score.right += meaning(heard) == intent
    return score


def show(name: str, line: str, score: Score) -> None:
    print(
        f"{name:22} {line:6} {score.error_rate:7.1%}"
        f" {score.right:4} of {score.sentences}  {score.cpu_s / score.speech_s:8.3f}"
        f" {1000 * statistics.median(score.ends_s):8.0f} ms"
    )


def voices(texts: list[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Every text by every voice that there is."""
    program = flite.find()
    for voice in FLITE_VOICES if program is not None else ():

        async def speak(voice: str = voice) -> dict[str, bytes]:
            said = {}
            for text in texts:
                samples = await flite.say(program, text, voice)
                assert samples is not None, f"flite does not say {text!r}"
                said[text] = render.on_the_line(samples)
            return said

        yield f"flite {voice}", asyncio.run(speak())
    espeak = asyncio.run(render.by_espeak(texts))
    yield f"eSpeak NG {text_to_speech.VOICE}", {text: line.audio for text, line in espeak.items()}


def main() -> None:
    content = yamlfile.read(HERE / "recognition.yaml").value
    kinds = slots.builtin("12:00")
    kinds["name"] = slots.ChoiceSlot({name: [] for name in content["slots"]["name"]})
    matcher = Matcher(content["intents"], kinds)
    phrases = [
        phrase
        for patterns in content["intents"].values()
        for pattern in patterns
        for phrase in sampling.caller_phrases(pattern, kinds, None)
    ]
    sentences = [(one["say"], one["intent"]) for one in content["sentences"]]
    desk = front_desk()
    total = Score()
    heading = ("voice", "line", "word errors", "intents right", "CPU/s", "at the end")
    print("{:22} {:6} {} {} {:>6} {:>11}".format(*heading))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        listener = Listener(Vocabulary(tuple(phrases)), Path(one))
        elsewhere: list[float] = []
        others_said: list[bytes] = []
        inside: list[float] = []
        for name, spoken in voices([text for text, _ in sentences] + content["elsewhere"]):
            said = [(text, spoken[text], intent) for text, intent in sentences]
            for line, snr_db in (("clean", None), ("20 dB", NOISY_DB)):
                score = judge(listener, lambda heard: matcher.meaning(heard).intent, said, snr_db)
                show(name, line, score)
                if snr_db is None:
                    inside += score.trust
                    total.cpu_s += score.cpu_s
                    total.speech_s += score.speech_s
            others = Score()
            for text in content["elsewhere"]:
                others_said.append(spoken[text])
                listener.hear(on_a_line(spoken[text], None), others)
            elsewhere += others.trust
        recorded = [
            (clips.text(name), clips.load(name), desk.meaning(clips.text(name)).intent)
            for name in clips.names("caller-")
            if desk.meaning(clips.text(name)).intent is not None
        ]
        listener = Listener(desk.vocabulary(), Path(two))
        at_the_desk = Score()
        for speech in others_said:
            listener.hear(on_a_line(speech, None), at_the_desk)
        for line, snr_db in (("clean", None), ("20 dB", NOISY_DB)):
            meaning = lambda heard: desk.meaning(heard).intent  # noqa: E731
            show("front desk, recorded", line, judge(listener, meaning, recorded, snr_db))
    share = total.cpu_s / total.speech_s
    print(
        f"\nCPU for a second of speech: {share:.3f} s, so {1 / share:.0f} callers who talk at once,"
    )
    calls = 1 / share / TALK
    print(f"or {calls:.0f} calls in which the caller talks for {TALK:.0%} of the time, a core.")
    print(f"Trust, from which {len(inside)} sentences of the trade are believed, and how many of")
    print(
        f"{len(elsewhere)} others are not, here and at the front desk, whose vocabulary is larger"
    )
    print(f"(recogniser.py has {TRUSTED:g}):")
    for trust in (0.01, 0.002, 0.0005, 0.0002, 0.0001, 0.00001):
        believed = sum(each >= trust for each in inside)
        refused = sum(each < trust for each in elsewhere)
        at_desk = sum(each < trust for each in at_the_desk.trust)
        print(f"  {trust:7.5f} {believed:4} {refused:4} {at_desk:4}")


if __name__ == "__main__":
    main()
