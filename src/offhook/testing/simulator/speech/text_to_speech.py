"""A voice by eSpeak NG: sentences go to its process, audio comes back as it is made.

Whoever wants it enters `speaking`, and owns the process for so long.
"""

import asyncio
import contextlib
import itertools
import json
import logging
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from offhook.errors import UserError
from offhook.testing.simulator.speech import worker_process
from offhook.testing.simulator.speech.espeak_worker import DONE, HEADER
from offhook.testing.simulator.speech.worker_process import call_back

_log: Final = logging.getLogger("offhook.testing.local")

VOICE: Final = "en-us+klatt4"
"""Of eSpeak NG's, the one that our own recogniser understands best, by bench/voices.py."""

SPEED: Final = 170
"""Words a minute. The recogniser would have it faster yet; people would not."""

WAITING_MAX: Final = 500
"""Sentences that may wait for the process; one beyond that is not said."""

START_S: Final = 20.0

_PROBE: Final = 0
"""The id of the first request, which is silent and asks whether the process works."""


@dataclass(slots=True)
class _Sentence:
    text: str
    audio: Callable[[bytes], None]
    done: Callable[[], None]


class _Said:
    """A sentence on its way: a senses.Speaking."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Stop making it."""
        self._cancel()


class EspeakTextToSpeech:
    """A senses.Voice for any number of calls. Made by `speaking`."""

    def __init__(self, voice: str = VOICE, speed: int = SPEED) -> None:
        self._manner = {"voice": voice, "speed": speed}
        self._numbers = itertools.count(_PROBE + 1)
        self._sentences: dict[int, _Sentence] = {}
        self._process: Process | None = None

    def speak(
        self, sentence: str, audio: Callable[[bytes], None], done: Callable[[], None]
    ) -> _Said:
        """Say it: pieces of mu-law audio as they are made, then `done`."""
        number = next(self._numbers)
        if self._process is None or len(self._sentences) >= WAITING_MAX:
            why = "its process is gone" if self._process is None else "too many wait"
            _log.warning("the local voice does not say a sentence: %s", why)
            handle = asyncio.get_running_loop().call_soon(done)
            return _Said(handle.cancel)
        self._sentences[number] = _Sentence(sentence, audio, done)
        self._ask(number, sentence)
        return _Said(lambda: self._call_off(number))

    def _ask(self, number: int, sentence: str) -> None:
        self._write({"id": number, "text": sentence, **self._manner})

    def _call_off(self, number: int) -> None:
        if self._sentences.pop(number, None) is not None:
            self._write({"cancel": number})

    def _write(self, message: dict[str, object]) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None  # it was started with a pipe
        if not self._process.stdin.is_closing():  # else it has died, which `run` is told of
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    # --- the process ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process. Raises UserError E-EAR-02 when there is no eSpeak NG to start."""
        self._process = process = await worker_process.start(
            "offhook.testing.simulator.speech.espeak_worker"
        )
        self._ask(_PROBE, "")
        try:
            async with asyncio.timeout(START_S):
                works = (await self._read()) is not None
        except TimeoutError:
            works = False
        if not works:
            await self.close()
            raise UserError(
                "E-EAR-02",
                f"The local voice does not start: {await worker_process.last_words(process)}.",
                "Install it: pip install 'offhook[local]'",
            )

    async def run(self) -> None:
        """Pass on what the process says; start it anew when it dies, unless it only dies."""
        deaths = 0
        while True:
            while (piece := await self._read()) is not None:
                deaths = 0
                self._pass_on(*piece)
            deaths += 1
            self._process = None
            self._give_up()
            if deaths == worker_process.DEATHS_MAX:
                _log.error("the local voice has died again: it says nothing more")
                return
            _log.error("the local voice's process has died: it is started anew")
            try:
                await self.start()
            except UserError as problem:
                _log.error("%s %s %s", problem.code, problem.what, problem.fix)
                return

    async def _read(self) -> tuple[int, int, bytes] | None:
        process = self._process
        assert process is not None  # whoever reads has started it
        assert process.stdout is not None
        try:
            number, size, kind = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
            return number, kind, await process.stdout.readexactly(size)
        except asyncio.IncompleteReadError:
            return None

    def _pass_on(self, number: int, kind: int, audio: bytes) -> None:
        sentence = self._sentences.get(number)
        if sentence is None:
            return  # called off
        if kind == DONE:
            del self._sentences[number]
            call_back(sentence.done)
        elif audio:
            call_back(sentence.audio, audio)

    def _give_up(self) -> None:
        while self._sentences:  # one at a time: who is told may call off another
            call_back(self._sentences.pop(next(iter(self._sentences))).done)

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            await worker_process.end(process)


@contextlib.asynccontextmanager
async def speaking(voice: str = VOICE, speed: int = SPEED) -> AsyncIterator[EspeakTextToSpeech]:
    """A voice, until the end of the block. Raises UserError E-EAR-02 when there is none here.

    `voice` is one of eSpeak NG's, `speed` in words a minute.
    """
    speaker = EspeakTextToSpeech(voice, speed)
    await speaker.start()
    try:
        async with asyncio.TaskGroup() as group:
            passing = group.create_task(speaker.run(), name="local voice")
            try:
                yield speaker
            finally:
                passing.cancel()
    finally:
        await speaker.close()
