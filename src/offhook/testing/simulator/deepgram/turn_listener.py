"""The caller's side of a session: when a turn begins and pauses in the audio, and what was said.

A pause is not yet the end of a turn: whoever goes on before the answer has not finished, and what
was said before and after is one turn. So each stretch of speech is recognised for itself, and the
turn is all of them until it is `taken`.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from offhook import audio
from offhook.testing.simulator.deepgram.timers import Timers
from offhook.testing.simulator.speech.engines import SpeechToText, Transcript
from offhook.testing.simulator.speech.turn_finder import TurnChange, TurnFinder

BEFORE_MS: Final = 400
"""Audio from before speech was noticed that is recognised with it: beginnings are soft."""

EARS_S: Final = 8.0
"""Seconds after which nothing more is expected of a recogniser; then nothing was understood."""

_BEFORE: Final = BEFORE_MS * audio.BYTES_PER_MS


class _Stretch:
    """Speech from a beginning to a pause; `heard` is None until it is known."""

    heard: Transcript | None = None


class TurnListener:
    """Listens to one caller.

    `started`: speech has begun, perhaps that of a turn that had only paused. `paused`: the turn may
    be over. `heard`: what was said in it so far, once for each pause.
    """

    def __init__(
        self,
        ears: SpeechToText,
        timers: Timers,
        silence_ms: int,
        started: Callable[[], None],
        paused: Callable[[], None],
        heard: Callable[[Transcript], None],
    ) -> None:
        self._ears = ears
        self._timers = timers
        self._finder = TurnFinder(silence_ms)
        self._started = started
        self._paused = paused
        self._heard = heard
        self._before = b""
        self._stretches: list[_Stretch] = []

    @property
    def speaking(self) -> bool:
        """Whether the caller is in the middle of a turn."""
        return self._finder.speaking

    @property
    def recognising(self) -> bool:
        """Whether it is not yet known what was said in a turn that was not taken."""
        return any(stretch.heard is None for stretch in self._stretches)

    def end_after(self, silence_ms: int) -> None:
        """From now on, a turn ends after that much silence."""
        self._finder.silence_ms = silence_ms

    def hear(self, data: bytes) -> None:
        """Mu-law audio of any length."""
        for start in range(0, len(data), audio.FRAME_BYTES):
            self._piece(data[start : start + audio.FRAME_BYTES])

    def end_turn(self) -> bool:
        """End the turn now, as ForceEndTurn asks. Says whether there was one."""
        if not self._finder.end_turn():
            return False
        self._pause()
        return True

    def taken(self) -> None:
        """Take what was said so far for answered: further speech is another turn."""
        self._stretches.clear()

    def forget(self) -> None:
        """Whatever was said is of no interest; speech that goes on begins anew."""
        self._finder.end_turn()
        self._stretches.clear()
        self._ears.forget()

    def close(self) -> None:
        """Stop listening: the caller is gone."""
        self._stretches.clear()
        self._ears.close()

    def _piece(self, data: bytes) -> None:
        if self._finder.speaking:
            self._ears.hear(data)
        else:
            self._before = (self._before + data)[-_BEFORE:]
        for change in self._finder.hear(data):
            if change is TurnChange.STARTED:
                self._ears.hear(self._before)
                self._before = b""
                self._started()
            else:
                self._pause()

    def _pause(self) -> None:
        stretch = _Stretch()
        self._stretches.append(stretch)
        self._paused()
        known = partial(self._known, stretch)
        self._timers.after(EARS_S, partial(known, Transcript("", understood=False)))
        self._ears.end(known)

    def _known(self, stretch: _Stretch, heard: Transcript) -> None:
        if stretch.heard is None and stretch in self._stretches:
            stretch.heard = heard
            if not self._finder.speaking:
                self._tell()

    def _tell(self) -> None:
        """Say what the turn is, if all of it is known."""
        parts = [stretch.heard for stretch in self._stretches if stretch.heard is not None]
        if len(parts) < len(self._stretches):
            return
        # Noise beside words is not held against them.
        trusted = [part for part in parts if part.understood] or parts
        text = " ".join(part.text for part in trusted if part.text)
        self._heard(Transcript(text, any(part.understood for part in parts)))
