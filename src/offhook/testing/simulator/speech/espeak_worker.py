"""Process of the synthesiser eSpeak NG, with requests on stdin and audio on stdout.

    python -m offhook.testing.simulator.speech.espeak_worker

eSpeak NG runs in a process of its own because it is under the GPL and Offhook is not
(docs/licences.md). The library keeps its state in globals, so that only one thread may use it.

Messages (worker_process.py) carry the number of a sentence. SAY has JSON: `{"text": "Hello.",
"voice": "en-us", "speed": 160}`; CANCEL cancels the sentence. AUDIO answers with mu-law at 8000 Hz,
piece by piece, and DONE ends each sentence.
"""

import ctypes
import ctypes.util
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from offhook.testing.simulator.speech.worker_process import READY, answer, requests

SAY: Final = 0
CANCEL: Final = 1
AUDIO: Final = 2
DONE: Final = 3

LINE_RATE: Final = 8000
TAIL: Final = 80 * 8
"""Bytes of silence that are kept at the end of a text, where the library adds more."""

GAIN: Final = 2.0
"""Gain that brings the library's speech to about the loudness of the recorded clips."""

KNEE: Final = 0.5
"""Share of full scale above which samples are compressed, so that none is clipped."""

_BUFFER_MS: Final = 60
_SYNCHRONOUS: Final = 2
_RATE: Final = 1
_CHARACTERS: Final = 1
_UTF8: Final = 1
_OK: Final = 0
_SILENT: Final = b"\xff\x7f\xfe\x7e\xfd\x7d"
"""Quietest values of mu-law, of either sign."""


class NoLibraryError(Exception):
    """Failure to load eSpeak NG, because it is not installed or does not start."""


class Library:
    """Library of eSpeak NG, through ctypes: that of the extra [local], or the system's."""

    def __init__(self) -> None:
        path, data = _find()
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise NoLibraryError(str(error)) from None
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, 0)
        if rate <= 0:
            raise NoLibraryError("it does not start")
        self.rate: Final = rate
        self._heard: Callable[[bytes], bool] = lambda samples: False
        # Kept in an attribute, because the library keeps no reference to the callback.
        self._callback = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_int16), ctypes.c_int, ctypes.c_void_p
        )(self._on_samples)
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: str, speed: int, heard: Callable[[bytes], bool]) -> None:
        """Synthesise a text. `heard` gets 16-bit samples, and returns False to stop.

        An unknown `voice` leaves the previous voice in use.
        """
        self._heard = heard
        self._library.espeak_SetVoiceByName(voice.encode())
        self._library.espeak_SetParameter(_RATE, speed, 0)
        spoken = text.replace("\0", " ").encode()
        self._library.espeak_Synth(spoken, len(spoken) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)

    def _on_samples(self, samples: Any, count: int, events: int) -> int:
        if not samples or count <= 0:
            return 0
        return 0 if self._heard(ctypes.string_at(samples, 2 * count)) else 1


def _find() -> tuple[str, bytes | None]:
    """Return the path of the library, and of its data folder if that is not the default."""
    try:
        import espeakng_loader
    except ImportError:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise NoLibraryError("there is no libespeak-ng") from None
        return path, None
    data = os.path.dirname(espeakng_loader.get_data_path())  # noqa: PTH120 - a string of the loader
    return espeakng_loader.get_library_path(), data.encode()


class LineEncoder:
    """Encoder from the library's samples to telephone audio, piece by piece."""

    def __init__(self, rate: int, send: Callable[[bytes], None]) -> None:
        import numpy
        import soxr

        from offhook.testing.simulator.speech import mulaw

        self._numpy = numpy
        self._encode = mulaw.encode
        self._resample = soxr.ResampleStream(rate, LINE_RATE, 1, dtype="int16", quality="HQ")
        self._send = send
        self._tail = b""
        self._spoke = False

    def feed(self, samples: bytes, *, last: bool = False) -> None:
        """Encode 16-bit samples. `last` flushes samples that are held back."""
        wide = self._numpy.frombuffer(samples, dtype="<i2")
        audio = self._tail + self._encode(louder(self._resample.resample_chunk(wide, last=last)))
        loud = len(audio.rstrip(_SILENT))
        self._tail = audio[loud:]
        if loud:
            self._spoke = True
            self._send(audio[:loud])
        if last and self._spoke:
            self._send(self._tail[:TAIL])


def louder(samples: Any) -> Any:
    """Return an array of 16-bit samples, amplified by GAIN."""
    import numpy

    level = numpy.abs(samples.astype(numpy.float64)) * (GAIN / 32768)
    pressed = KNEE + (1 - KNEE) * numpy.tanh((level - KNEE) / (1 - KNEE))
    return numpy.copysign(numpy.where(level > KNEE, pressed, level) * 32767, samples)


class EspeakWorker:
    """Worker that reads requests in a thread, so that the current sentence can be cancelled."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._library = Library()
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
        line = LineEncoder(
            self._library.rate, lambda audio: answer(self._sink, number, AUDIO, audio)
        )

        def heard(samples: bytes) -> bool:
            line.feed(samples)
            return number in self._waiting

        self._library.say(request["text"], request["voice"], request["speed"], heard)
        if number in self._waiting:
            line.feed(b"", last=True)


def main() -> None:
    """Run the process. Exit with 3 if eSpeak NG, numpy or soxr is missing."""
    try:
        worker = EspeakWorker(sys.stdin.buffer, sys.stdout.buffer)
        import numpy  # noqa: F401
        import soxr  # noqa: F401
    except (NoLibraryError, ImportError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent process reads it
        sys.exit(3)
    try:
        worker.run()
    except BrokenPipeError:
        os._exit(0)  # the parent is gone; a buffer that cannot be flushed must not raise


if __name__ == "__main__":
    main()
