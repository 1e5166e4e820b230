"""TextToSpeech by eSpeak NG: sentences go to its process, audio comes back as it is made.

The context manager `speaking` runs the process.
"""

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from offhook.testing.simulator.speech.answer_delays import AnswerDelays, PendingAnswer
from offhook.testing.simulator.speech.synthesis_worker import CANCEL, DONE, SAY
from offhook.testing.simulator.speech.worker_process import WorkerProcess, call_back, running

_log: Final = logging.getLogger("offhook.testing.local")

VOICE: Final = "en-us+klatt4"
"""Voice of eSpeak NG that the local recogniser understands best (bench/voices.py)."""

SPEED: Final = 170
"""Words per minute: the recogniser does better with faster speech, people do not."""

WAITING_MAX: Final = 500
"""Sentences that may wait for the process; further ones are not said."""


USUAL_S: Final = 0.1
"""Seconds within which the first sound of a sentence comes on a machine with time."""


@dataclass(slots=True)
class _Sentence:
    audio: Callable[[bytes], None]
    done: Callable[[], None]
    answer: PendingAnswer
    """The first sound that is waited for."""


class _Said:
    """SpeechHandle of a sentence that is being synthesised."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Cancel the sentence."""
        self._cancel()


class EspeakTextToSpeech(WorkerProcess):
    """TextToSpeech for any number of calls. `speaking` makes one."""

    name = "local voice"
    missing = "E-EAR-02"

    def __init__(
        self, voice: str = VOICE, speed: int = SPEED, delays: AnswerDelays | None = None
    ) -> None:
        super().__init__("offhook.testing.simulator.speech.espeak_worker")
        self._manner = {"voice": voice, "speed": speed}
        self._delays = delays or AnswerDelays()
        self._numbers = itertools.count()
        self._sentences: dict[int, _Sentence] = {}

    def speak(
        self, sentence: str, audio: Callable[[bytes], None], done: Callable[[], None]
    ) -> _Said:
        """Synthesise a sentence: call `audio` with each piece of mu-law audio, then `done`."""
        number = next(self._numbers)
        if self._process is None or len(self._sentences) >= WAITING_MAX:
            why = "its process is gone" if self._process is None else "too many wait"
            _log.warning("the local voice does not say a sentence: %s", why)
            handle = asyncio.get_running_loop().call_soon(done)
            return _Said(handle.cancel)
        self._sentences[number] = _Sentence(audio, done, self._delays.ask(USUAL_S))
        self.send(number, SAY, json.dumps({"text": sentence, **self._manner}).encode())
        self.expect_answer()
        return _Said(lambda: self._call_off(number))

    def _call_off(self, number: int) -> None:
        sentence = self._sentences.pop(number, None)
        if sentence is not None:
            sentence.answer.given_up()
            self.send(number, CANCEL)

    def on_message(self, number: int, kind: int, data: bytes) -> None:
        """Pass on audio of a sentence, unless it was cancelled."""
        self.expect_nothing()
        if kind == DONE:
            sentence = self._sentences.pop(number, None)
        else:
            sentence = self._sentences.get(number)
        if self._sentences:
            self.expect_answer()
        if sentence is None:
            return
        sentence.answer.answered(USUAL_S)
        if kind == DONE:
            call_back(sentence.done)
        elif data:
            call_back(sentence.audio, data)

    def on_death(self) -> None:
        """Report every waiting sentence as done."""
        self.expect_nothing()
        while self._sentences:  # one at a time: a callback may cancel another
            sentence = self._sentences.pop(next(iter(self._sentences)))
            sentence.answer.given_up()
            call_back(sentence.done)


@contextlib.asynccontextmanager
async def speaking(
    voice: str = VOICE, speed: int = SPEED, delays: AnswerDelays | None = None
) -> AsyncIterator[EspeakTextToSpeech]:
    """Run eSpeak NG until the end of the block. Raises UserError E-EAR-02 if it is missing.

    `voice` is the name of a voice of eSpeak NG, `speed` is in words per minute. `delays` are told
    how late sentences begin.
    """
    speaker = EspeakTextToSpeech(voice, speed, delays)
    async with running([speaker]):
        yield speaker
