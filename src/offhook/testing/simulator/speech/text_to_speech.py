"""TextToSpeech by eSpeak NG or Pico: sentences go to its process, audio comes back as it is made.

The context manager `speaking` runs eSpeak NG, with which rehearsed callers speak.
`speaking_as_agent` runs Pico where it is installed.
"""

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from offhook.errors import UserError
from offhook.testing.simulator.speech import installed
from offhook.testing.simulator.speech.answer_delays import AnswerDelays, PendingAnswer
from offhook.testing.simulator.speech.synthesis_worker import CANCEL, DONE, SAY
from offhook.testing.simulator.speech.worker_process import WorkerProcess, call_back, running

_log: Final = logging.getLogger("offhook.testing.local")

ESPEAK_MODULE: Final = "offhook.testing.simulator.speech.espeak_worker"
PICO_MODULE: Final = "offhook.testing.simulator.speech.pico_worker"

VOICE: Final = "en-us+klatt4"
"""Voice of eSpeak NG that the local recogniser understands best (bench/voices.py)."""

SPEED: Final = 170
"""Words per minute: the recogniser does better with faster speech, people do not."""

PICO_VOICE: Final = "en-US"
"""Voice of Pico that both recognisers understand best."""

PICO_SPEED: Final = 1.0
"""Share of Pico's usual speed. Whisper does worse with faster speech (bench/voices.py)."""

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


class LocalTextToSpeech(WorkerProcess):
    """TextToSpeech for any number of calls, by one process.

    Args:
        module: module that the process runs; synthesis_worker.py has its messages.
        voice: name of a voice of its library.
        speed: speed in the library's unit.
        delays: told how late sentences begin.
    """

    name = "local voice"
    missing = "E-EAR-02"

    def __init__(
        self, module: str, voice: str, speed: float, delays: AnswerDelays | None = None
    ) -> None:
        super().__init__(module)
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
) -> AsyncIterator[LocalTextToSpeech]:
    """Run eSpeak NG until the end of the block. Raises UserError E-EAR-02 if it is missing.

    `voice` is the name of a voice of eSpeak NG, `speed` is in words per minute. `delays` are told
    how late sentences begin.
    """
    speaker = LocalTextToSpeech(ESPEAK_MODULE, voice, speed, delays)
    async with running([speaker]):
        yield speaker


@contextlib.asynccontextmanager
async def speaking_by_pico(
    voice: str = PICO_VOICE, speed: float = PICO_SPEED, delays: AnswerDelays | None = None
) -> AsyncIterator[LocalTextToSpeech]:
    """Run Pico until the end of the block. Raises UserError E-EAR-02 if it does not start.

    `voice` is a language and country that Pico has, `speed` a share of its usual speed. `delays`
    are told how late sentences begin.
    """
    speaker = LocalTextToSpeech(PICO_MODULE, voice, speed, delays)
    async with running([speaker]):
        yield speaker


@contextlib.asynccontextmanager
async def speaking_as_agent(
    delays: AnswerDelays | None = None,
) -> AsyncIterator[LocalTextToSpeech]:
    """Run the agent's voice until the end of the block: Pico, or eSpeak NG where Pico does not run.

    `delays` are told how late sentences begin. Raises UserError E-EAR-02 if neither starts.
    """
    async with contextlib.AsyncExitStack() as stack:
        if installed.has_pico():
            try:
                pico = await stack.enter_async_context(speaking_by_pico(delays=delays))
            except UserError as problem:
                _log.warning("%s The agent speaks by eSpeak NG.", problem.what)
            else:
                yield pico
                return
        yield await stack.enter_async_context(speaking(delays=delays))
