"""Process of the synthesiser Pico, of the extra [ears]. Its messages: synthesis_worker.py.

    python -m offhook.testing.simulator.speech.pico_worker

Pico holds the interpreter's lock while it works, and does not return from some texts that are no
language, such as thousands of characters without a sentence. So it has a process of its own, gets
texts in short pieces without such characters, and is killed when it hangs (worker_process.py).
"""

import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Final

from offhook.testing.simulator.speech import synthesis_worker
from offhook.testing.simulator.speech.synthesis_worker import NoLibraryError

RATE: Final = 16000

VOLUME: Final = 0.7
"""Share of full volume, at which Pico cuts its peaks off."""

TEXT_MAX: Final = 160
"""Characters that Pico gets at a time."""

_WORD_MAX: Final = 40
"""Characters of a word that is left whole."""

_QUIET: Final = 300
"""Peak, of 32768, below which the end of a text is a pause."""

_PAUSE: Final = RATE * 80 // 1000
"""Samples of the pause that are kept at the end of a text. Pico's takes 150 to 500 ms."""

_PIECE: Final = RATE // 10
"""Samples that are passed on at a time."""

_UNSPOKEN: Final = re.compile(r"[^\w\s.,;:!?'()%&@+/$€£-]|_")
"""Characters that Pico does not say, or takes for markup."""

_PLAIN: Final = str.maketrans("\u2018\u2019\u2026", "''.")
"""Plain marks for apostrophes and dots that Pico does not know."""

_MARKS: Final = re.compile(r"([^\w\s])[^\w\s]+")
_LONG_WORD: Final = re.compile(rf"(\S{{{_WORD_MAX}}})")


class Pico:
    """Library of Pico, as the package py-nanotts wraps it."""

    rate: Final = RATE
    gain: Final = 1.0

    def __init__(self) -> None:
        try:
            import py_nanotts
        except ImportError as error:
            raise NoLibraryError(str(error)) from None
        self._engine = py_nanotts.NanoTTS()

    def say(self, text: str, voice: str, speed: float, heard: Callable[[bytes], bool]) -> None:
        """Synthesise a text. `heard` gets 16-bit samples, and returns False to stop.

        What Pico fails on, such as a hundred digits without a space, is left out.
        """
        import numpy

        for part in speakable(text):
            try:
                said = self._engine.speak(part, voice=voice, speed=speed, volume=VOLUME)
            except RuntimeError:
                continue
            samples = numpy.frombuffer(said, dtype="<i2")
            loud = numpy.flatnonzero(numpy.abs(samples.astype(numpy.int32)) > _QUIET)
            if not len(loud):
                continue
            samples = samples[: loud[-1] + _PAUSE]
            for start in range(0, len(samples), _PIECE):
                if not heard(samples[start : start + _PIECE].tobytes()):
                    return


def speakable(text: str) -> Iterator[str]:
    """Yield a text in pieces of at most TEXT_MAX characters, without what Pico must not get."""
    plain = text.encode(errors="ignore").decode().translate(_PLAIN)
    plain = _MARKS.sub(r"\1 ", _UNSPOKEN.sub(" ", plain))
    plain = " ".join(plain.split())
    yield from textwrap.wrap(_LONG_WORD.sub(r"\1 ", plain), TEXT_MAX)


if __name__ == "__main__":
    synthesis_worker.run(Pico)
