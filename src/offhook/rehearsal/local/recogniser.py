"""Ears by PocketSphinx, for sentences that are known: audio goes to its processes, words come back.

Whoever wants it enters `recognising`, and owns the processes for so long. It is no dictation: every
sound is taken for words of the vocabulary, and what was none of them shows in how little the result
is to be trusted (local-voice.md §2).
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from offhook.errors import Problem
from offhook.rehearsal.local import dictionary, ngram
from offhook.rehearsal.local.sphinx import AUDIO, CLOSE, END, FORGET, HEADER
from offhook.rehearsal.senses import Heard
from offhook.rehearsal.vocabulary import Vocabulary

_log: Final = logging.getLogger("offhook.rehearsal.local")

TRUSTED: Final = 0.002
"""Of the probability that the decoder gives: below are sentences of another trade, and noise."""

BACKLOG_MAX: Final = 512 * 1024
"""Bytes that wait for a process, a minute of speech; a turn that comes on top is not heard."""

WORKERS_MAX: Final = 4
START_S: Final = 30.0
LEAVE_S: Final = 2.0

Told = Callable[[Heard], None]

_NOTHING: Final = Heard("", understood=False)


class _Worker:
    """One process. It is started anew when it dies; what it was hearing then was not understood."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: Process | None = None
        self._waiting: dict[int, deque[Told | None]] = {}
        """By session, whom to tell of each turn that is over; None: nobody any more."""
        self.sessions = 0

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

    def end(self, session: int, told: Told) -> None:
        """A turn is over: `told` is called when it is known what it was."""
        if self.send(session, END):
            self._waiting.setdefault(session, deque()).append(told)
        else:
            asyncio.get_running_loop().call_soon(told, _NOTHING)

    def forget(self, session: int) -> None:
        """Nobody waits for earlier turns."""
        waiting = self._waiting.get(session)
        if waiting is not None:
            self._waiting[session] = deque([None] * len(waiting))

    async def start(self) -> None:
        """Start the process. Raises Problem E-EAR-03 when it does not start."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "offhook.rehearsal.local.sphinx",
            str(self._folder),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,  # Ctrl-C is ours: it ends when its input does
        )
        self._process = process
        assert process.stdout is not None  # it was started with a pipe
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                line = await process.stdout.readline()
        if not line:
            await self.close()
            assert process.stderr is not None  # it was started with a pipe
            said = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
            raise Problem(
                "E-EAR-03",
                f"The recogniser does not start: {said[-1] if said else 'it said nothing'}.",
                "Install it: pip install 'offhook[local]'",
            )

    async def run(self) -> None:
        """Pass on what the process tells; start it anew when it dies, unless it only dies."""
        while True:
            told = False
            while (line := await self._line()) is not None:
                told = True
                self._tell(line)
            self._process = None
            self._give_up()
            if not told:
                _log.error("the recogniser has died again: nothing more is understood")
                return
            _log.error("the recogniser's process has died: it is started anew")
            try:
                await self.start()
            except Problem as problem:
                _log.error("%s %s %s", problem.code, problem.what, problem.fix)
                return

    async def _line(self) -> bytes | None:
        process = self._process
        assert process is not None  # whoever reads has started it
        assert process.stdout is not None
        return await process.stdout.readline() or None

    def _tell(self, line: bytes) -> None:
        found = json.loads(line)
        waiting = self._waiting.get(found["session"])
        if not waiting:
            return  # the session is closed
        told = waiting.popleft()
        if told is not None:
            told(Heard(found["text"], found["prob"] >= TRUSTED))

    def _give_up(self) -> None:
        waiting = [told for turns in self._waiting.values() for told in turns if told is not None]
        self._waiting.clear()
        for told in waiting:
            told(_NOTHING)

    def drop(self, session: int) -> None:
        """The session is over."""
        self.send(session, CLOSE)
        self._waiting.pop(session, None)

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None  # it was started with a pipe
        process.stdin.close()
        try:
            async with asyncio.timeout(LEAVE_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class SphinxEars:
    """One caller's ears: a senses.Ears. They keep to one process, which learns the line."""

    def __init__(self, worker: _Worker, session: int) -> None:
        self._worker = worker
        self._session = session
        self._deaf = False
        """This turn found no room, and so it cannot be understood."""
        self._closed = False
        worker.sessions += 1

    def hear(self, audio: bytes) -> None:
        """Audio of the present turn."""
        if not self._deaf and not self._worker.send(self._session, AUDIO, audio):
            self._deaf = True
            _log.warning("a turn is not understood: the recogniser cannot keep up, or is gone")

    def end(self, heard: Told) -> None:
        """The turn is over."""
        deaf, self._deaf = self._deaf, False
        if deaf:
            self._worker.send(self._session, FORGET)
            asyncio.get_running_loop().call_soon(heard, _NOTHING)
        else:
            self._worker.end(self._session, heard)

    def forget(self) -> None:
        """The present turn was none, and earlier ones are of no interest."""
        self._deaf = False
        self._worker.send(self._session, FORGET)
        self._worker.forget(self._session)

    def close(self) -> None:
        """The caller is gone."""
        if not self._closed:
            self._closed = True
            self._worker.sessions -= 1
            self._worker.drop(self._session)


class Recogniser:
    """Ears for any number of callers. Made by `recognising`."""

    def __init__(self, workers: list[_Worker]) -> None:
        self._workers = workers
        self._numbers = itertools.count(1)

    def ears(self) -> SphinxEars:
        """Ears for one caller, at the process with the fewest."""
        worker = min(self._workers, key=lambda each: each.sessions)
        return SphinxEars(worker, next(self._numbers))

    async def transcribe(self, audio: bytes) -> Heard:
        """What is said in mu-law audio: one turn of somebody."""
        known: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        ears = self.ears()
        try:
            ears.hear(audio)
            ears.end(lambda heard: None if known.done() else known.set_result(heard))
            return await known
        finally:
            ears.close()


@contextlib.asynccontextmanager
async def recognising(
    vocabulary: Vocabulary, workers: int | None = None
) -> AsyncIterator[Recogniser]:
    """A recogniser of these sentences, until the end of the block; one process a core, or so many.

    Raises BadFile E-EAR-01 with every word that it does not know, Problem E-EAR-03 when there is
    no recogniser on this machine.
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
