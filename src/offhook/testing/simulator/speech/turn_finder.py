"""Detection of a caller's turns in telephone audio: beginnings of speech and ends of turns.

A frame is speech if WebRTC's voice activity detector and an energy floor both say so
(docs/local-voice.md). Time is counted in audio: one byte is 1/8 ms, however fast it arrives, so a
rehearsal at any speed finds the same turns.
"""

import enum
import math
from collections import deque
from typing import Final

import webrtcvad

from offhook import audio
from offhook.recordings.wav import LINEAR, decode

ONSET_FRAMES: Final = 3
"""Speech frames in a row (60 ms) that may begin a turn."""

TURN_FRAMES: Final = 8
"""Speech frames (160 ms) that make a turn. Fewer are a click or a cough and do not interrupt."""

GAP_FRAMES: Final = 5
"""Frames without speech (100 ms) that may lie between speech frames as a turn begins."""

_FLOOR: Final = 150.0**2
"""Mean square below which a frame cannot be speech: -47 dBFS."""

_ABOVE_NOISE: Final = 4.0
"""Least ratio of the power of a speech frame to that of the noise: 6 dB."""

_NOISE_FRAMES: Final = 75
"""Latest frames (1.5 s), whose quietest counts as noise: speech pauses more often than that."""

_VAD_MODE: Final = 2
"""Mode of the detector, 0 to 3. At 20 dB SNR, mode 3 is 60 ms slower and misses `Stop`."""

_DTMF_LOW: Final = (697.0, 770.0, 852.0, 941.0)
_DTMF_HIGH: Final = (1209.0, 1336.0, 1477.0, 1633.0)
_DTMF_SHARE: Final = 0.8
"""Share of a frame's energy in two of these tones above which it is a key, not a voice."""


_SQUARE: Final = tuple(value * value for value in LINEAR)


class TurnChange(enum.Enum):
    """Change in a turn that a stretch of audio caused."""

    STARTED = "started"
    """A turn has begun: the caller has spoken for TURN_FRAMES."""
    ENDED = "ended"
    """A turn is over: the caller has been silent for `silence_ms`."""


class TurnFinder:
    """Detector of one caller's turns. A silence of `silence_ms` ends a turn."""

    def __init__(self, silence_ms: int = 600) -> None:
        self.silence_ms = silence_ms
        self._vad = webrtcvad.Vad(_VAD_MODE)
        self._powers: deque[float] = deque(maxlen=_NOISE_FRAMES)
        self._rest = b""
        self._speech = 0
        self._silence = 0
        self.speaking = False
        """True from the beginning of a turn to its end."""

    def hear(self, data: bytes) -> list[TurnChange]:
        """Process mu-law audio of any length, and return the changes in order."""
        data = self._rest + data
        whole = len(data) - len(data) % audio.FRAME_BYTES
        self._rest = data[whole:]
        changes = []
        for start in range(0, whole, audio.FRAME_BYTES):
            change = self._frame(data[start : start + audio.FRAME_BYTES])
            if change is not None:
                changes.append(change)
        return changes

    def end_turn(self) -> bool:
        """End the turn now, for ForceEndTurn. Return True if there was one."""
        spoke = self.speaking
        self._reset()
        return spoke

    def _frame(self, frame: bytes) -> TurnChange | None:
        speech = self._is_speech(frame)
        if not self.speaking:
            return self._begin(speech and not _is_dtmf(frame))
        if speech:
            self._silence = 0
            return None
        self._silence += 1
        if self._silence * audio.FRAME_MS < self.silence_ms:
            return None
        self._reset()
        return TurnChange.ENDED

    def _begin(self, speech: bool) -> TurnChange | None:
        if speech:
            self._speech += 1
            self._silence = 0
        else:
            self._silence += 1
            if self._speech < ONSET_FRAMES or self._silence > GAP_FRAMES:
                self._reset()
        if self._speech < TURN_FRAMES:
            return None
        self.speaking = True
        return TurnChange.STARTED

    def _is_speech(self, frame: bytes) -> bool:
        power = sum(map(_SQUARE.__getitem__, frame)) / audio.FRAME_BYTES
        # The detector must process every frame, because it adapts to the noise of the line.
        voiced: bool = self._vad.is_speech(decode(frame), audio.BYTES_PER_SECOND)
        self._powers.append(power)
        return voiced and power > max(_FLOOR, _ABOVE_NOISE * min(self._powers))

    def _reset(self) -> None:
        self.speaking = False
        self._speech = self._silence = 0


def _is_dtmf(frame: bytes) -> bool:
    """Return True if the frame holds the two tones of a key (Goertzel at eight frequencies)."""
    samples = [LINEAR[sample] for sample in frame]
    energy = sum(sample * sample for sample in samples)
    if energy == 0:
        return False
    low = max(_tone(samples, frequency) for frequency in _DTMF_LOW)
    high = max(_tone(samples, frequency) for frequency in _DTMF_HIGH)
    # A pure tone of energy E gives E * length / 2, whatever its phase.
    unit = energy * len(samples) / 2
    return low + high > _DTMF_SHARE * unit and min(low, high) > 0.05 * unit


def _tone(samples: list[int], frequency: float) -> float:
    """Return the squared magnitude of a frequency in the samples."""
    coefficient = 2 * math.cos(2 * math.pi * frequency / audio.BYTES_PER_SECOND)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    return before * before + last * last - coefficient * before * last
