"""Ears by PocketSphinx, for sentences that are known: audio goes to its processes, words come back.

Whoever wants it enters `recognising`, and owns the processes for so long. It is no dictation: every
sound is taken for words of the vocabulary, and what was none of them shows in how little the result
is to be trusted (docs/local-voice.md).
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import tempfile
from asyncio.subprocess import Process
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from offhook.errors import UserError
from offhook.testing.simulator.speech import dictionary, ngram, worker_process
from offhook.testing.simulator.speech.engines import Transcript
from offhook.testing.simulator.speech.sphinx_worker import AUDIO, CLOSE, END, FORGET, HEADER
from offhook.testing.simulator.speech.vocabulary import Vocabulary
from offhook.testing.simulator.speech.worker_process import call_back

_log: Final = logging.getLogger("offhook.testing.local")

TRUSTED: Final = 0.0002
"""Of the probability that the decoder gives: below are sentences of another trade, and noise.
bench/ears.py prints what other bounds would do."""

BACKLOG_MAX: Final = 512 * 1024
"""Bytes that wait for a process, a minute of speech; a turn that comes on top is not heard."""

_PIECE: Final = 8000
"""Bytes of a recording that are passed on at once."""

WORKERS_MAX: Final = 4
START_S: Final = 30.0

Told = Callable[[Transcript], None]

_NOTHING: Final = Transcript("", understood=False)


class _Worker:
    """One process. It is started anew when it dies; what it was hearing then was not understood."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: Process | None = None
        self._waiting: dict[int, deque[Told | None]] = {}
        """By session, whom to tell of each turn that is over; None: nobody any more."""
        self.sessions = 0
        self.deaths = 0
        """A turn that began before the last of them is lost."""

    def send(self, session: int, kind: int, audio: bytes = b"") -> bool:
        """Pass something on. Says whether that could be done."""
        process = self._process
        if process is None:
            return False
        assert process.stdin is not None  # it was started with a pipe
        pipe = process.stdin
        if pipe.is_closing() or (
            kind == AUDIO and pipe.transport.get_write_buffer_size() > BACKLOG_MAX
        ):
            return False
        pipe.write(HEADER.pack(session, len(audio), kind) + audio)
        return True

    def end(self, session: int, told: Told) -> bool:
        """A turn is over. Says whether `told` will be called, when it is known what it was."""
        sent = self.send(session, END)
        if sent:
            self._waiting.setdefault(session, deque()).append(told)
        return sent

    async def has_room(self) -> None:
        """Wait until the process has taken what was sent, or is gone."""
        if self._process is not None:
            assert self._process.stdin is not None  # it was started with a pipe
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.drain()

    def forget(self, session: int) -> None:
        """Nobody waits for earlier turns."""
        waiting = self._waiting.get(session)
        if waiting is not None:
            self._waiting[session] = deque([None] * len(waiting))

    async def start(self) -> None:
        """Start the process. Raises UserError E-EAR-03 when it does not start."""
        process = await worker_process.start(
            "offhook.testing.simulator.speech.sphinx_worker", str(self._folder)
        )
        self._process = process
        assert process.stdout is not None  # it was started with a pipe
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                line = await process.stdout.readline()
        if not line:
            await self.close()
            raise UserError(
                "E-EAR-03",
                f"The recogniser does not start: {await worker_process.last_words(process)}.",
                "Install it: pip install 'offhook[local]'",
            )

    async def run(self) -> None:
        """Pass on what the process tells; start it anew when it dies, unless it only dies."""
        deaths = 0
        while True:
            while (line := await self._line()) is not None:
                deaths = 0
                self._tell(line)
            deaths += 1
            self._process = None
            self.deaths += 1
            self._give_up()
            if deaths == worker_process.DEATHS_MAX:
                _log.error("the recogniser has died again: nothing more is understood")
                return
            _log.error("the recogniser's process has died: it is started anew")
            try:
                await self.start()
            except UserError as problem:
                _log.error("%s %s %s", problem.code, problem.what, problem.fix)
                return

    async def _line(self) -> bytes | None:
        process = self._process
        assert process is not None  # whoever reads has started it
        assert process.stdout is not None
        return await process.stdout.readline() or None

    def _tell(self, line: bytes) -> None:
        found = json.loads(line)
        text = found["text"]
        waiting = self._waiting.get(found["session"])
        if not waiting:
            return  # the session is closed
        told = waiting.popleft()
        if told is not None:
            call_back(told, Transcript(text, bool(text) and found["prob"] >= TRUSTED))

    def _give_up(self) -> None:
        while self._waiting:  # one at a time: who is told may forget the rest
            session = next(iter(self._waiting))
            turns = self._waiting[session]
            told = turns.popleft() if turns else None
            if not turns:
                del self._waiting[session]
            if told is not None:
                call_back(told, _NOTHING)

    def drop(self, session: int) -> None:
        """The session is over."""
        self.send(session, CLOSE)
        self._waiting.pop(session, None)

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            await worker_process.end(process)


class SphinxSpeechToText:
    """One caller's ears: a senses.Ears. They keep to one process, which learns the line."""

    def __init__(self, worker: _Worker, session: int) -> None:
        self._worker = worker
        self._session = session
        self._deaths: int | None = None
        """Those of the process when this turn began, if it has."""
        self._deaf = False
        """A part of this turn is lost, and so it cannot be understood."""
        self._lost: deque[Told] = deque()
        """Whom to tell that a turn was not understood."""
        self._closed = False
        worker.sessions += 1

    def hear(self, audio: bytes) -> None:
        """Audio of the present turn."""
        if self._deaths is None:
            self._deaths = self._worker.deaths
        if self._is_lost() or self._worker.send(self._session, AUDIO, audio):
            return
        self._deaf = True
        _log.warning("a turn is not understood: the recogniser cannot keep up, or is gone")

    def end(self, heard: Told) -> None:
        """The turn is over."""
        lost = self._is_lost()
        if lost:
            self._worker.send(self._session, FORGET)
        if lost or not self._worker.end(self._session, heard):
            self._lost.append(heard)
            asyncio.get_running_loop().call_soon(self._tell_of_lost)
        self._begin_anew()

    def forget(self) -> None:
        """The present turn was none, and earlier ones are of no interest."""
        self._begin_anew()
        self._lost.clear()
        self._worker.send(self._session, FORGET)
        self._worker.forget(self._session)

    def close(self) -> None:
        """The caller is gone."""
        if not self._closed:
            self._closed = True
            self._lost.clear()
            self._worker.sessions -= 1
            self._worker.drop(self._session)

    async def has_room(self) -> None:
        """Wait until what was heard is on its way."""
        await self._worker.has_room()

    def _is_lost(self) -> bool:
        return self._deaf or self._deaths not in (None, self._worker.deaths)

    def _begin_anew(self) -> None:
        self._deaf = False
        self._deaths = None

    def _tell_of_lost(self) -> None:
        if self._lost:
            call_back(self._lost.popleft(), _NOTHING)


class Recogniser:
    """Ears for any number of callers. Made by `recognising`."""

    def __init__(self, workers: list[_Worker]) -> None:
        self._workers = workers
        self._numbers = itertools.count(1)
        self._transcribing = asyncio.Semaphore(len(workers))
        """Recordings do not come in real time: each takes a process as fast as that can go."""

    def ears(self) -> SphinxSpeechToText:
        """Ears for one caller, at the process with the fewest."""
        worker = min(self._workers, key=lambda each: each.sessions)
        return SphinxSpeechToText(worker, next(self._numbers))

    async def transcribe(self, audio: bytes) -> Transcript:
        """What is said in mu-law audio: one turn of somebody."""
        known: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
        async with self._transcribing:
            ears = self.ears()
            try:
                for start in range(0, len(audio), _PIECE):
                    ears.hear(audio[start : start + _PIECE])
                    await ears.has_room()
                ears.end(lambda heard: None if known.done() else known.set_result(heard))
                return await known
            finally:
                ears.close()


@contextlib.asynccontextmanager
async def recognising(
    vocabulary: Vocabulary, workers: int | None = None
) -> AsyncIterator[Recogniser]:
    """A recogniser of these sentences, until the end of the block; one process a core, or so many.

    Raises InvalidFileError E-EAR-01 with every word that it does not know, UserError E-EAR-03 when
    there is no recogniser on this machine.
    """
    count = workers or min(os.cpu_count() or 1, WORKERS_MAX)
    with tempfile.TemporaryDirectory(prefix="offhook-ears-") as name:
        folder = Path(name)
        words = "\n".join(dictionary.lines(vocabulary))
        (folder / "words.dict").write_text(words + "\n", encoding="utf-8")
        model = ngram.arpa(dictionary.words_of(vocabulary))
        (folder / "sentences.arpa").write_text(model, encoding="utf-8")
        started: list[_Worker] = [_Worker(folder) for _ in range(count)]
        try:
            for worker in started:
                await worker.start()
            async with asyncio.TaskGroup() as group:
                telling = [
                    group.create_task(worker.run(), name="local recogniser") for worker in started
                ]
                try:
                    yield Recogniser(started)
                finally:
                    for task in telling:
                        task.cancel()
        finally:
            for worker in started:
                await worker.close()
