"""A voice by eSpeak NG: sentences go to its process, audio comes back as it is made.

Whoever wants it enters `speaking`, and owns the process for so long.
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
"""Of eSpeak NG's, the one that our own recogniser understands best, by bench/voices.py."""

SPEED: Final = 170
"""Words a minute. The recogniser would have it faster yet; people would not."""

WAITING_MAX: Final = 500
"""Sentences that may wait for the process; one beyond that is not said."""


@dataclass(slots=True)
class _Sentence:
    audio: Callable[[bytes], None]
    done: Callable[[], None]


class _Said:
    """A sentence on its way: a senses.Speaking."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Stop making it."""
        self._cancel()


class EspeakTextToSpeech(WorkerProcess):
    """A TextToSpeech for any number of calls. Made by `speaking`."""

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
        """Say a sentence: pieces of mu-law audio as they are made, then `done`."""
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
        """Pass on audio of a sentence, unless it was called off."""
        sentence = self._sentences.get(number)
        if sentence is None:
            return
        if kind == DONE:
            del self._sentences[number]
            call_back(sentence.done)
        elif data:
            call_back(sentence.audio, data)

    def on_death(self) -> None:
        """End every sentence."""
        while self._sentences:  # one at a time: who is told may call off another
            call_back(self._sentences.pop(next(iter(self._sentences))).done)


@contextlib.asynccontextmanager
async def speaking(voice: str = VOICE, speed: int = SPEED) -> AsyncIterator[EspeakTextToSpeech]:
    """Run a voice until the end of the block. Raises UserError E-EAR-02 when there is none here.

    `voice` is one of eSpeak NG's, `speed` in words a minute.
    """
    speaker = EspeakTextToSpeech(voice, speed)
    async with running([speaker]):
        yield speaker
