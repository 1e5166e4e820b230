"""Detection of a caller's turns: beginnings and pauses in the audio, and the words between them.

A pause is not yet the end of a turn. If the caller goes on before the answer, the words before and
after the pause are one turn. So each stretch of speech is recognised by itself, and the turn
consists of all stretches until it is `taken`.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from offhook import audio
from offhook.testing.simulator.deepgram.timers import Timers
from offhook.testing.simulator.speech.engines import SpeechToText, Transcript
from offhook.testing.simulator.speech.turn_finder import TurnChange, TurnFinder

BEFORE_MS: Final = 400
"""Milliseconds of audio before detected speech that are also recognised: words begin softly."""

RECOGNISED_S: Final = 8.0
"""Seconds that a recogniser may take, after which the turn counts as not understood."""

_BEFORE: Final = BEFORE_MS * audio.BYTES_PER_MS


class _Stretch:
    """Stretch of speech between two pauses; `heard` is None until it is recognised."""

    heard: Transcript | None = None


class TurnListener:
    """Listener that finds and recognises the turns of one caller.

    `started` is called when speech begins, also after a pause within a turn. `paused` is called
    when the turn may be over. `heard` is called once for each pause, with the words of the turn so
    far.
    """

    def __init__(
        self,
        speech_to_text: SpeechToText,
        timers: Timers,
        silence_ms: int,
        started: Callable[[], None],
        paused: Callable[[], None],
        heard: Callable[[Transcript], None],
    ) -> None:
        self._speech_to_text = speech_to_text
        self._timers = timers
        self._finder = TurnFinder(silence_ms)
        self._started = started
        self._paused = paused
        self._heard = heard
        self._before = b""
        self._stretches: list[_Stretch] = []

    @property
    def speaking(self) -> bool:
        """True while the caller speaks, until a pause."""
        return self._finder.speaking

    @property
    def recognising(self) -> bool:
        """True while part of the current turn has not been recognised."""
        return any(stretch.heard is None for stretch in self._stretches)

    def end_after(self, silence_ms: int) -> None:
        """Set the silence, in milliseconds, that ends a turn from now on."""
        self._finder.silence_ms = silence_ms

    def hear(self, data: bytes) -> None:
        """Process mu-law audio of any length."""
        for start in range(0, len(data), audio.FRAME_BYTES):
            self._piece(data[start : start + audio.FRAME_BYTES])

    def end_turn(self) -> bool:
        """End the turn now, for ForceEndTurn. Return True if there was one."""
        if not self._finder.end_turn():
            return False
        self._pause()
        return True

    def taken(self) -> None:
        """Mark the turn as answered: further speech is another turn."""
        self._stretches.clear()

    def forget(self) -> None:
        """Discard the current turn; speech that continues begins another turn."""
        self._finder.end_turn()
        self._stretches.clear()
        self._speech_to_text.forget()

    def close(self) -> None:
        """Stop listening: the caller is gone."""
        self._stretches.clear()
        self._speech_to_text.close()

    def _piece(self, data: bytes) -> None:
        if self._finder.speaking:
            self._speech_to_text.hear(data)
        else:
            self._before = (self._before + data)[-_BEFORE:]
        for change in self._finder.hear(data):
            if change is TurnChange.STARTED:
                self._speech_to_text.hear(self._before)
                self._before = b""
                self._started()
            else:
                self._pause()

    def _pause(self) -> None:
        stretch = _Stretch()
        self._stretches.append(stretch)
        self._paused()
        known = partial(self._known, stretch)
        self._timers.after(RECOGNISED_S, partial(known, Transcript("", understood=False)))
        self._speech_to_text.end(known)

    def _known(self, stretch: _Stretch, heard: Transcript) -> None:
        if stretch.heard is None and stretch in self._stretches:
            stretch.heard = heard
            if not self._finder.speaking:
                self._tell()

    def _tell(self) -> None:
        """Report the turn, if all of it has been recognised."""
        parts = [stretch.heard for stretch in self._stretches if stretch.heard is not None]
        if len(parts) < len(self._stretches):
            return
        # Noise next to understood words does not make the turn untrusted.
        trusted = [part for part in parts if part.understood] or parts
        text = " ".join(part.text for part in trusted if part.text)
        self._heard(Transcript(text, any(part.understood for part in parts)))
