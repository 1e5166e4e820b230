"""A recogniser for a clean line: it knows the recordings that callers speak from, byte by byte."""

from collections.abc import Callable
from typing import Final

from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.engines import Transcript

_PART: Final = 400
"""Bytes from the middle of a recording by which it is known."""


class KnowingSpeechToText:
    """A recogniser without a model: what is no recording of ours is not understood."""

    def __init__(self) -> None:
        self._now = b""

    def hear(self, audio: bytes) -> None:
        self._now += audio

    def end(self, heard: Callable[[Transcript], None]) -> None:
        now, self._now = self._now, b""
        found = []
        for name in clips.names("caller-"):
            clip = clips.load(name)
            middle = len(clip) // 2
            if clip[middle : middle + _PART] in now:
                found.append(" ".join(words(clips.text(name))))
        heard(Transcript(" ".join(found), bool(found)))

    def forget(self) -> None:
        self._now = b""

    def close(self) -> None:
        pass
