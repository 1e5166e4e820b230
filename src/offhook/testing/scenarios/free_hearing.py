"""Recognition of free speech for each stretch that a caller hears: any agent's words."""

from functools import partial
from typing import Final

from offhook.testing.scenarios.hearing import PendingWords, Stretch
from offhook.testing.simulator.speech.engines import SpeechToText, Transcript

WAITING_MAX: Final = 1000
"""Stretches of all calls that may wait for the recogniser; words are judged after the call."""


class FreeHearing(PendingWords):
    """A Hearing of one call, by a recogniser that needs no vocabulary."""

    def __init__(self, speech_to_text: SpeechToText) -> None:
        super().__init__()
        self._speech_to_text = speech_to_text

    def over(self, stretch: Stretch) -> None:
        """Begin to recognise the stretch."""
        self._begin()
        self._speech_to_text.hear(bytes(stretch.audio))
        self._speech_to_text.end(partial(self._known, stretch))

    async def finish(self) -> None:
        """Wait for all words, and release the recogniser."""
        await super().finish()
        self._speech_to_text.close()

    def _known(self, stretch: Stretch, heard: Transcript) -> None:
        self._texts[stretch] = heard.text if heard.understood else ""
        self._end()
