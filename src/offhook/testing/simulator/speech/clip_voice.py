"""TextToSpeech without an engine: recorded clips, and a hum for other texts."""

import functools
from collections.abc import Callable
from random import Random
from typing import Final

from offhook import audio
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.engines import SpeechHandle

_HUM_MS_PER_CHARACTER: Final = 60
_HUM_MAX_MS: Final = 20_000


class ClipTextToSpeech:
    """TextToSpeech that delivers all audio before `speak` returns."""

    def speak(
        self, sentence: str, audio: Callable[[bytes], None], done: Callable[[], None]
    ) -> SpeechHandle:
        """Deliver the clip of a sentence, or a hum as long as its words take."""
        audio(spoken(sentence))
        done()
        return _SAID


class _Said:
    def cancel(self) -> None:
        """Do nothing: all audio has been delivered."""


_SAID: Final = _Said()


def spoken(sentence: str) -> bytes:
    """Return a sentence as mu-law audio: its clip, or a quiet hum as long as its words take."""
    clip = clips.find(sentence)
    if clip is not None:
        return clips.load(clip)
    milliseconds = min(len(sentence) * _HUM_MS_PER_CHARACTER, _HUM_MAX_MS)
    size = milliseconds * audio.BYTES_PER_MS
    return (_noise() * (size // audio.BYTES_PER_SECOND + 1))[:size]


@functools.cache
def _noise() -> bytes:
    """Return a second of noise at -33 dBFS: mu-law of either sign, within one segment."""
    random = Random(0)
    return bytes(
        random.choice((0x50, 0xD0)) + random.randrange(16) for _ in range(audio.BYTES_PER_SECOND)
    )
