"""Speech to text by Whisper, for sentences that no dialogue foresees.

`recognising_freely` runs the process, one for all callers. A turn is recognised when it is over, so
its answer comes later than PocketSphinx's (docs/local-voice.md): `BackedSpeechToText` asks Whisper
only about turns that PocketSphinx does not trust itself with, `FreeSpeechToText` about every turn.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from offhook import audio as telephone
from offhook.errors import UserError
from offhook.testing.simulator.speech.answer_delays import AnswerDelays, PendingAnswer
from offhook.testing.simulator.speech.engines import SpeechToText, Transcript
from offhook.testing.simulator.speech.free_transcript import FreeTranscript
from offhook.testing.simulator.speech.whisper_worker import TURN
from offhook.testing.simulator.speech.worker_process import WorkerProcess, call_back, running

_log: Final = logging.getLogger("offhook.testing.local")

WAITING_MAX: Final = 8
"""Turns that may wait for the process; one more is not understood."""

TURN_S_MAX: Final = 120
"""Seconds of one turn that are recognised; a longer turn is not understood."""

USUAL_S: Final = 2.0
"""Seconds within which a turn is recognised on a machine with time (docs/local-voice.md)."""

TRUSTED_LOG_PROB: Final = -1.0
"""Mean logarithm of the probability of a token below which a turn is not understood."""

NO_SPEECH: Final = 0.6
"""Probability that nobody spoke, above which a turn is not understood."""

SURE: Final = 0.01
"""Trust of PocketSphinx from which Whisper is not asked. Free sentences stay below it, sentences of
the vocabulary above (docs/local-voice.md)."""

THREADS_MAX: Final = 2

Told: TypeAlias = Callable[[Transcript], None]

NOTHING: Final = Transcript("", understood=False)

_TURN_MAX: Final = TURN_S_MAX * telephone.BYTES_PER_SECOND


@dataclass(slots=True, eq=False)
class _PendingTurn:
    audio: bytes
    told: Told | None
    """Callback for the result; None after a cancellation."""
    answer: PendingAnswer


class FreeRecogniser(WorkerProcess):
    """Process of Whisper. It gets one turn at a time; the others wait here."""

    name = "recogniser of free speech"
    missing = "E-EAR-04"
    extra = "ears"

    def __init__(self, waiting_max: int, delays: AnswerDelays) -> None:
        threads = min(os.cpu_count() or 1, THREADS_MAX)
        super().__init__("offhook.testing.simulator.speech.whisper_worker", str(threads))
        self._waiting_max = waiting_max
        self._delays = delays
        self._numbers = itertools.count(1)
        self._waiting: deque[_PendingTurn] = deque()
        """Turns that wait for an answer. While one is owed, the process has the first of them."""
        self._wanted = asyncio.Event()
        self._gone = False
        """True when the process has died for good, or never started."""

    def speech_to_text(self) -> "FreeSpeechToText":
        """Return a SpeechToText for one caller. The first call starts the process, if need be."""
        self._wanted.set()
        return FreeSpeechToText(self)

    def recognise(self, audio: bytes, told: Told) -> Callable[[], None]:
        """Recognise a whole turn; `told` gets its Transcript later. Return what cancels that."""
        turn = _PendingTurn(audio, told, self._delays.ask(USUAL_S))
        if self._gone or len(self._waiting) >= self._waiting_max or len(audio) > _TURN_MAX:
            _log.warning("a turn is not understood: Whisper cannot keep up, or is gone")
            asyncio.get_running_loop().call_soon(self._tell, turn, NOTHING)
        else:
            self._waiting.append(turn)
            self._ask()
        return partial(self._cancel, turn)

    def on_message(self, number: int, kind: int, data: bytes) -> None:
        """Report the result of the turn that was asked about, and ask about the next."""
        self.expect_nothing()
        if not self._waiting:
            return
        turn = self._waiting.popleft()
        self._ask()
        found = json.loads(data)
        turn.answer.answered(found.pop("cpu_s"))
        self._tell(turn, judged(FreeTranscript(**found)))

    def on_death(self) -> None:
        """Report all waiting turns as not understood."""
        self.expect_nothing()
        while self._waiting:  # one at a time: a callback may cancel others
            self._tell(self._waiting.popleft(), NOTHING)

    async def start(self) -> None:
        """Start the process, and ask about the first turn that waits for it."""
        await super().start()
        self._ask()

    async def run(self) -> None:
        """Start the process when it is wanted, unless it runs; then process its messages."""
        try:
            if self._process is None:
                await self._wanted.wait()
                await self.start()
            await super().run()
        except UserError as problem:
            _log.error("%s %s %s", problem.code, problem.what, problem.fix)
        self._gone = True
        self.on_death()

    def _ask(self) -> None:
        """Ask about the first turn that waits, unless the process has it already."""
        if self._waiting and not self._owes_answer and self._process is not None:
            self.send(next(self._numbers), TURN, self._waiting[0].audio)
            self.expect_answer()

    def _cancel(self, turn: _PendingTurn) -> None:
        turn.told = None
        turn.answer.given_up()
        if turn in self._waiting and turn is not self._waiting[0]:
            self._waiting.remove(turn)

    def _tell(self, turn: _PendingTurn, heard: Transcript) -> None:
        told, turn.told = turn.told, None
        turn.answer.given_up()
        if told is not None:
            call_back(told, heard)


class FreeSpeechToText:
    """SpeechToText of one caller that asks Whisper about every turn."""

    def __init__(self, recogniser: FreeRecogniser) -> None:
        self._recogniser = recogniser
        self._audio = bytearray()
        self._open: set[Callable[[], None]] = set()
        """Cancellations of the turns that are being recognised."""

    def hear(self, audio: bytes) -> None:
        """Keep audio of the current turn, up to more than is recognised."""
        if len(self._audio) <= _TURN_MAX:
            self._audio += audio

    def end(self, heard: Told) -> None:
        """End the turn, and ask about it."""
        audio, self._audio = bytes(self._audio), bytearray()

        def told(transcript: Transcript) -> None:
            self._open.discard(cancel)
            heard(transcript)

        cancel = self._recogniser.recognise(audio, told)
        self._open.add(cancel)

    def forget(self) -> None:
        """Drop the current turn, and call back for no earlier one."""
        self._audio.clear()
        for cancel in self._open:
            cancel()
        self._open.clear()

    def close(self) -> None:
        """Drop everything, because the call is over."""
        self.forget()


class BackedSpeechToText:
    """SpeechToText of one caller that asks `free` about turns of which `first` is not sure."""

    def __init__(self, first: SpeechToText, free: SpeechToText) -> None:
        self._first = first
        self._free = free
        self._audio = bytearray()

    def hear(self, audio: bytes) -> None:
        """Pass audio of the current turn on, and keep it for a second opinion."""
        self._first.hear(audio)
        if len(self._audio) <= _TURN_MAX:
            self._audio += audio

    def end(self, heard: Told) -> None:
        """End the turn; ask `free` when `first` is not sure of it."""
        audio, self._audio = bytes(self._audio), bytearray()
        self._first.end(partial(self._judge, audio, heard))

    def forget(self) -> None:
        """Drop the current turn, and call back for no earlier one."""
        self._audio.clear()
        self._first.forget()
        self._free.forget()

    def close(self) -> None:
        """Release both, because the call is over."""
        self._audio.clear()
        self._first.close()
        self._free.close()

    def _judge(self, audio: bytes, heard: Told, first: Transcript) -> None:
        if first.understood and first.trust >= SURE:
            heard(first)
            return
        # One end() follows the other at once, so turns that overlap do not mix.
        self._free.hear(audio)
        self._free.end(lambda free: heard(better(first, free)))


def better(first: Transcript, free: Transcript) -> Transcript:
    """Return which transcript of a turn counts, if `first` is not sure."""
    return first if first.understood and not free.understood else free


def judged(found: FreeTranscript) -> Transcript:
    """Return what Whisper found as a Transcript, with a verdict on its own doubts."""
    sure = found.log_prob >= TRUSTED_LOG_PROB and found.no_speech <= NO_SPEECH
    return Transcript(found.text, bool(found.text) and sure)


@contextlib.asynccontextmanager
async def recognising_freely(
    *, at_once: bool, waiting_max: int = WAITING_MAX, delays: AnswerDelays | None = None
) -> AsyncIterator[FreeRecogniser]:
    """Run Whisper until the end of the block: `at_once`, or from the first caller on.

    At once, raises UserError E-EAR-04 if it does not start. From the first caller on, no turn is
    understood then, and a log line says why. `delays` are told how late its answers are.
    """
    recogniser = FreeRecogniser(waiting_max, delays or AnswerDelays())
    async with running([recogniser]) if at_once else running([], [recogniser]):
        yield recogniser
