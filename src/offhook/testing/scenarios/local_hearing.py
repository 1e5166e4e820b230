"""What a caller heard, recognised stretch by stretch by ears that know the agent's words.

A little noise is laid under it: synthetic speech on a line without any is a poor match for a
recogniser that learnt from people. And the first sounds are heard twice, once to learn the line.
Of 23 sentences of the front desk, each said after its greeting, 4.6 % of the words were then wrong;
26.8 % without noise and by ears that hear every stretch as the first.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from offhook.testing.scenarios.hearing import SeenFunctionCall, Stretch
from offhook.testing.simulator.speech import mulaw
from offhook.testing.simulator.speech.engines import SpeechToText, Transcript

NOISE_DBFS: Final = -50.0
LEARNING_S: Final = 2.0
"""Seconds of speech that are heard twice."""


class LocalHearing:
    """A Hearing of one call, by ears of its own, which learn its line."""

    def __init__(self, ears: SpeechToText) -> None:
        self._ears = ears
        self._texts: dict[Stretch, str] = {}
        self._learnt_s = 0.0
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def over(self, stretch: Stretch) -> None:
        """Have it recognised."""
        self._under_way += 1
        self._idle.clear()
        sound = mulaw.with_noise(bytes(stretch.audio), NOISE_DBFS)
        if self._learnt_s < LEARNING_S:
            self._learnt_s += stretch.ended - stretch.began
            self._ears.hear(sound)
            self._ears.end(_ignore)
        self._ears.hear(sound)
        self._ears.end(partial(self._known, stretch))

    def words(self, stretch: Stretch) -> str | None:
        """Its words, when they are there."""
        return self._texts.get(stretch)

    def functions(self) -> Sequence[SeenFunctionCall]:
        """Return none: functions are not seen."""
        return ()

    async def finish(self) -> None:
        """Wait until all words are there, and close the ears."""
        await self._idle.wait()
        self._ears.close()

    def _known(self, stretch: Stretch, heard: Transcript) -> None:
        self._texts[stretch] = heard.text
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()


def _ignore(heard: Transcript) -> None:
    """Ignore what was heard to learn the line."""
