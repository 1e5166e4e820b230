"""Speech to text by PocketSphinx in processes, for known sentences.

The context manager `recognising` runs the processes. They do not take dictation: every sound is
recognised as words of the vocabulary, and other sounds get a low probability
(docs/local-voice.md).
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offhook.clock import LoopClock
from offhook.testing.simulator.speech import dictionary, ngram
from offhook.testing.simulator.speech.answer_delays import AnswerDelays, PendingAnswer
from offhook.testing.simulator.speech.engines import Transcript
from offhook.testing.simulator.speech.sphinx_worker import AUDIO, CLOSE, END, FORGET
from offhook.testing.simulator.speech.vocabulary import Vocabulary
from offhook.testing.simulator.speech.worker_process import WorkerProcess, call_back, running

_log: Final = logging.getLogger("offhook.testing.local")

TRUSTED: Final = 0.0002
"""Probability from the decoder below which a result counts as not understood: noise, or sentences
of another subject. bench/recognition.py prints the results for other bounds."""

BACKLOG_MAX: Final = 512 * 1024
"""Bytes that may wait for a process: a minute of speech. A turn beyond that is not heard."""

_PIECE: Final = 8000
"""Bytes of a recording that are passed to a process at a time."""

WORKERS_MAX: Final = 4

USUAL_S: Final = 0.25
"""Seconds within which the end of a turn is answered on a machine with time
(docs/local-voice.md)."""

Told = Callable[[Transcript], None]

_NOTHING: Final = Transcript("", understood=False)


@dataclass(slots=True)
class _EndedTurn:
    told: Told | None
    """Callback for the result; None for a turn that was dropped."""
    streamed_s: float
    """Seconds from the first audio of the turn to its end."""
    answer: PendingAnswer


class _Recogniser(WorkerProcess):
    """Process of the recogniser. Turns in it when it dies count as not understood."""

    name = "recogniser"
    missing = "E-EAR-03"

    def __init__(self, folder: Path, delays: AnswerDelays) -> None:
        super().__init__("offhook.testing.simulator.speech.sphinx_worker", str(folder))
        self._delays = delays
        self._waiting: dict[int, deque[_EndedTurn]] = {}
        """Turns that wait for their results, by session."""
        self._unanswered = 0
        """Number of turns whose results the process has yet to send, of closed sessions too."""
        self.sessions = 0

    def end(self, session: int, streamed_s: float, told: Told) -> bool:
        """End a turn, whose audio came for so long. Return True if `told` gets its result."""
        sent = self.send(session, END)
        if sent:
            turn = _EndedTurn(told, streamed_s, self._delays.ask(USUAL_S))
            self._waiting.setdefault(session, deque()).append(turn)
            self._unanswered += 1
            self.expect_answer()
        return sent

    def forget(self, session: int) -> None:
        """Drop the callbacks of a session's earlier turns."""
        for turn in self._waiting.get(session, ()):
            turn.told = None

    def on_message(self, number: int, kind: int, data: bytes) -> None:
        """Report the result of a turn, unless its session is closed."""
        self.expect_nothing()
        self._unanswered -= 1
        if self._unanswered:
            self.expect_answer()
        waiting = self._waiting.get(number)
        if not waiting:
            return
        turn, found = waiting.popleft(), json.loads(data)
        # What was decoded while the caller spoke is not waited for.
        turn.answer.answered(max(0.0, found["heard_s"] - turn.streamed_s) + found["ended_s"])
        if turn.told is not None:
            call_back(turn.told, judged(found["text"], found["prob"]))

    def on_death(self) -> None:
        """Report all waiting turns as not understood."""
        self._unanswered = 0
        self.expect_nothing()
        while self._waiting:  # one at a time: a callback may drop the rest
            session = next(iter(self._waiting))
            turns = self._waiting[session]
            turn = turns.popleft() if turns else None
            if not turns:
                del self._waiting[session]
            if turn is not None:
                turn.answer.given_up()
                if turn.told is not None:
                    call_back(turn.told, _NOTHING)

    def drop(self, session: int) -> None:
        """Close a session."""
        self.send(session, CLOSE)
        for turn in self._waiting.pop(session, ()):
            turn.answer.given_up()


def judged(text: str, trust: float) -> Transcript:
    """Return what the decoder found as a Transcript: understood from TRUSTED on."""
    return Transcript(text, bool(text) and trust >= TRUSTED, trust)


class SphinxSpeechToText:
    """SpeechToText for one caller. One process gets all turns and adapts to the caller's line."""

    def __init__(self, worker: _Recogniser, session: int) -> None:
        self._worker = worker
        self._session = session
        self._deaths: int | None = None
        """Number of deaths of the process when the current turn began; None between turns."""
        self._now = LoopClock(asyncio.get_running_loop()).now
        self._began_at = 0.0
        """Time of the first audio of the current turn."""
        self._is_incomplete = False
        """True if a part of the current turn is lost, so that it cannot be understood."""
        self._lost: deque[Told] = deque()
        """Callbacks of turns that must be reported as not understood."""
        self._closed = False
        worker.sessions += 1

    def hear(self, audio: bytes) -> None:
        """Send audio of the current turn to the process."""
        if self._deaths is None:
            self._deaths = self._worker.deaths
            self._began_at = self._now()
        if self._is_lost() or self._worker.send(
            self._session, AUDIO, audio, backlog_max=BACKLOG_MAX
        ):
            return
        self._is_incomplete = True
        _log.warning("a turn is not understood: the recogniser cannot keep up, or is gone")

    def end(self, heard: Told) -> None:
        """End the turn."""
        lost = self._is_lost()
        if lost:
            self._worker.send(self._session, FORGET)
        streamed_s = 0.0 if self._deaths is None else self._now() - self._began_at
        if lost or not self._worker.end(self._session, streamed_s, heard):
            self._lost.append(heard)
            asyncio.get_running_loop().call_soon(self._tell_of_lost)
        self._begin_anew()

    def forget(self) -> None:
        """Drop the current turn, and the callbacks of earlier ones."""
        self._begin_anew()
        self._lost.clear()
        self._worker.send(self._session, FORGET)
        self._worker.forget(self._session)

    def close(self) -> None:
        """Close the session, because the call is over."""
        if not self._closed:
            self._closed = True
            self._lost.clear()
            self._worker.sessions -= 1
            self._worker.drop(self._session)

    async def has_room(self) -> None:
        """Wait until the process has room for more audio."""
        await self._worker.has_room()

    def _is_lost(self) -> bool:
        return self._is_incomplete or self._deaths not in (None, self._worker.deaths)

    def _begin_anew(self) -> None:
        self._is_incomplete = False
        self._deaths = None

    def _tell_of_lost(self) -> None:
        if self._lost:
            call_back(self._lost.popleft(), _NOTHING)


class Recogniser:
    """Speech to text for any number of callers. `recognising` makes one."""

    def __init__(self, workers: list[_Recogniser]) -> None:
        self._workers = workers
        self._numbers = itertools.count(1)
        self._transcribing = asyncio.Semaphore(len(workers))
        """Limit of one recording per process: each is decoded as fast as the process can."""

    def speech_to_text(self) -> SphinxSpeechToText:
        """Return a SpeechToText for one caller, at the process with the fewest callers."""
        worker = min(self._workers, key=lambda each: each.sessions)
        return SphinxSpeechToText(worker, next(self._numbers))

    async def transcribe(self, audio: bytes) -> Transcript:
        """Recognise mu-law audio as one turn."""
        known: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
        async with self._transcribing:
            speech_to_text = self.speech_to_text()
            try:
                for start in range(0, len(audio), _PIECE):
                    speech_to_text.hear(audio[start : start + _PIECE])
                    await speech_to_text.has_room()
                speech_to_text.end(lambda heard: None if known.done() else known.set_result(heard))
                return await known
            finally:
                speech_to_text.close()


@contextlib.asynccontextmanager
async def recognising(
    vocabulary: Vocabulary, workers: int | None = None, delays: AnswerDelays | None = None
) -> AsyncIterator[Recogniser]:
    """Run a recogniser of a vocabulary until the end of the block.

    It has `workers` processes, by default one per core, at most WORKERS_MAX. `delays` are told how
    late its answers are. Raises InvalidFileError E-EAR-01 with every unknown word, UserError
    E-EAR-03 if there is no recogniser on this machine.
    """
    count = workers or min(os.cpu_count() or 1, WORKERS_MAX)
    with tempfile.TemporaryDirectory(prefix="offhook-recogniser-") as name:
        folder = Path(name)
        words = "\n".join(dictionary.lines(vocabulary))
        (folder / "words.dict").write_text(words + "\n", encoding="utf-8")
        model = ngram.arpa(dictionary.words_of(vocabulary))
        (folder / "sentences.arpa").write_text(model, encoding="utf-8")
        delays = delays or AnswerDelays()
        started = [_Recogniser(folder, delays) for _ in range(count)]
        async with running(started):
            yield Recogniser(started)
