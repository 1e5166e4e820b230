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

from offhook.testing.simulator.speech.espeak_worker import CANCEL, DONE, SAY
from offhook.testing.simulator.speech.worker_process import WorkerProcess, call_back, running

_log: Final = logging.getLogger("offhook.testing.local")

VOICE: Final = "en-us+klatt4"
"""Voice of eSpeak NG that the local recogniser understands best (bench/voices.py)."""

SPEED: Final = 170
"""Words per minute: the recogniser does better with faster speech, people do not."""

WAITING_MAX: Final = 500
"""Sentences that may wait for the process; further ones are not said."""


@dataclass(slots=True)
class _Sentence:
    audio: Callable[[bytes], None]
    done: Callable[[], None]


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

    def __init__(self, voice: str = VOICE, speed: int = SPEED) -> None:
        super().__init__("offhook.testing.simulator.speech.espeak_worker")
        self._manner = {"voice": voice, "speed": speed}
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
        self._sentences[number] = _Sentence(audio, done)
        self.send(number, SAY, json.dumps({"text": sentence, **self._manner}).encode())
        return _Said(lambda: self._call_off(number))

    def _call_off(self, number: int) -> None:
        if self._sentences.pop(number, None) is not None:
            self.send(number, CANCEL)

    def on_message(self, number: int, kind: int, data: bytes) -> None:
        """Pass on audio of a sentence, unless it was cancelled."""
        sentence = self._sentences.get(number)
        if sentence is None:
            return
        if kind == DONE:
            del self._sentences[number]
            call_back(sentence.done)
        elif data:
            call_back(sentence.audio, data)

    def on_death(self) -> None:
        """Report every waiting sentence as done."""
        while self._sentences:  # one at a time: a callback may cancel another
            call_back(self._sentences.pop(next(iter(self._sentences))).done)


@contextlib.asynccontextmanager
async def speaking(voice: str = VOICE, speed: int = SPEED) -> AsyncIterator[EspeakTextToSpeech]:
    """Run eSpeak NG until the end of the block. Raises UserError E-EAR-02 if it is missing.

    `voice` is the name of a voice of eSpeak NG, `speed` is in words per minute.
    """
    speaker = EspeakTextToSpeech(voice, speed)
    async with running([speaker]):
        yield speaker
