"""Loop of a synthesiser's process, with requests on stdin and audio on stdout.

Messages (worker_process.py) carry the number of a sentence. SAY has JSON: `{"text": "Hello.",
"voice": "en-us", "speed": 160}`; CANCEL cancels the sentence. AUDIO answers with mu-law at 8000 Hz,
piece by piece, and DONE ends each sentence.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, Final, Protocol

from offhook.testing.simulator.speech.worker_process import READY, answer, requests

SAY: Final = 0
CANCEL: Final = 1
AUDIO: Final = 2
DONE: Final = 3

LINE_RATE: Final = 8000
TAIL: Final = 80 * 8
"""Bytes of silence that are kept at the end of a text, where the library adds more."""

KNEE: Final = 0.5
"""Share of full scale above which samples are compressed, so that none is clipped."""

_SILENT: Final = b"\xff\x7f\xfe\x7e\xfd\x7d"
"""Quietest values of mu-law, of either sign."""


class Synthesiser(Protocol):
    """Library of a synthesiser. Only one thread uses it."""

    @property
    def rate(self) -> int:
        """Samples per second."""

    @property
    def gain(self) -> float:
        """Gain that brings its speech to about the loudness of the recorded clips."""

    def say(self, text: str, voice: str, speed: float, heard: Callable[[bytes], bool]) -> None:
        """Synthesise a text. `heard` gets 16-bit samples, and returns False to stop."""


class NoLibraryError(Exception):
    """Failure to load a library, because it is not installed or does not start."""


class LineEncoder:
    """Encoder from the library's samples to telephone audio, piece by piece."""

    def __init__(self, rate: int, gain: float, send: Callable[[bytes], None]) -> None:
        import numpy
        import soxr

        from offhook.testing.simulator.speech import mulaw

        self._numpy = numpy
        self._encode = mulaw.encode
        self._resample = soxr.ResampleStream(rate, LINE_RATE, 1, dtype="int16", quality="HQ")
        self._gain = gain
        self._send = send
        self._tail = b""
        self._spoke = False

    def feed(self, samples: bytes, *, last: bool = False) -> None:
        """Encode 16-bit samples. `last` flushes samples that are held back."""
        wide = self._numpy.frombuffer(samples, dtype="<i2")
        narrow = self._resample.resample_chunk(wide, last=last)
        audio = self._tail + self._encode(louder(narrow, self._gain))
        loud = len(audio.rstrip(_SILENT))
        self._tail = audio[loud:]
        if loud:
            self._spoke = True
            self._send(audio[:loud])
        if last and self._spoke:
            self._send(self._tail[:TAIL])


def louder(samples: Any, gain: float) -> Any:
    """Return an array of 16-bit samples, amplified."""
    import numpy

    level = numpy.abs(samples.astype(numpy.float64)) * (gain / 32768)
    pressed = KNEE + (1 - KNEE) * numpy.tanh((level - KNEE) / (1 - KNEE))
    return numpy.copysign(numpy.where(level > KNEE, pressed, level) * 32767, samples)


class SynthesisWorker:
    """Worker that reads requests in a thread, so that the current sentence can be cancelled."""

    def __init__(self, library: Synthesiser, source: BinaryIO, sink: BinaryIO) -> None:
        self._library = library
        self._source = source
        self._sink = sink
        self._requests: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._waiting: set[int] = set()
        """Numbers of received requests that are neither done nor cancelled."""

    def run(self) -> None:
        """Synthesise the requested sentences until stdin ends."""
        answer(self._sink, 0, READY)
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        while (request := self._requests.get()) is not None:
            number, data = request
            if number in self._waiting:
                self._say(number, json.loads(data))
            self._waiting.discard(number)
            answer(self._sink, number, DONE)

    def _read(self) -> None:
        for number, kind, data in requests(self._source):
            if kind == CANCEL:
                self._waiting.discard(number)
            else:
                self._waiting.add(number)
                self._requests.put((number, data))
        self._requests.put(None)
        self._waiting.clear()

    def _say(self, number: int, request: dict[str, Any]) -> None:
        library = self._library
        line = LineEncoder(
            library.rate, library.gain, lambda audio: answer(self._sink, number, AUDIO, audio)
        )

        def heard(samples: bytes) -> bool:
            line.feed(samples)
            return number in self._waiting

        library.say(request["text"], request["voice"], request["speed"], heard)
        if number in self._waiting:
            line.feed(b"", last=True)


def run(library: Callable[[], Synthesiser]) -> None:
    """Run the process. Exit with 3 if its library, numpy or soxr is missing."""
    try:
        import numpy  # noqa: F401
        import soxr  # noqa: F401

        worker = SynthesisWorker(library(), sys.stdin.buffer, sys.stdout.buffer)
    except (NoLibraryError, ImportError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent process reads it
        sys.exit(3)
    try:
        worker.run()
    except BrokenPipeError:
        os._exit(0)  # the parent is gone; a buffer that cannot be flushed must not raise
