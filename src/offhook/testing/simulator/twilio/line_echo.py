"""Echo on a caller's line: what the caller hears comes back, later and weaker, with their voice.

A loudspeaker telephone or a badly matched line does that; Twilio and Deepgram do not cancel it.
"""

from array import array
from dataclasses import dataclass
from typing import Final

from offhook import audio
from offhook.recordings.wav import LINEAR, encode

_MOST: Final = 32767
_COMB: Final = 37 * audio.BYTES_PER_MS
"""Samples (37 ms) after which a room returns a sound once more."""


@dataclass(frozen=True, slots=True)
class EchoSettings:
    """Echo of a line.

    Attributes:
        delay_ms: Milliseconds after which a sound that is played to the caller comes back.
        loss_db: Decibels by which it is weaker then.
        room_ms: Milliseconds in which a room lets it fade by 60 dB; 0: no room.
    """

    delay_ms: int
    loss_db: float
    room_ms: int = 0


class LineEcho:
    """Echo of one line: takes what the caller hears, and mixes its echo into what they say."""

    def __init__(self, settings: EchoSettings) -> None:
        self._gain = 10 ** (-settings.loss_db / 20)
        self._feedback = 10 ** (-3 * 37 / settings.room_ms) if settings.room_ms else 0.0
        self._coming: list[float] = [0.0] * (settings.delay_ms * audio.BYTES_PER_MS)
        self._room = [0.0] * _COMB

    def mix(self, spoken: bytes, heard: bytes) -> bytes:
        """Return a frame of the caller with the echo; `heard` is what plays at that time."""
        gain = self._gain
        self._coming += [LINEAR[sample] * gain for sample in heard]
        size = len(spoken)
        back, self._coming = self._coming[:size], self._coming[size:]
        if self._feedback:
            feedback = self._feedback
            back = [now + feedback * before for now, before in zip(back, self._room, strict=False)]
            self._room = self._room[size:] + back
        if not any(back):
            return spoken
        return encode(
            array(
                "h",
                (
                    max(-_MOST, min(_MOST, round(LINEAR[sample] + echo)))
                    for sample, echo in zip(spoken, back, strict=True)
                ),
            ).tobytes()
        )
