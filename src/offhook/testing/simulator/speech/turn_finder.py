"""Finds a caller's turns in telephone audio: when speech begins, and when a turn is over.

A frame is speech when WebRTC's voice activity detector and an energy floor both say so
(docs/local-voice.md). Time is the audio's own: one byte is 1/8 ms, however fast it arrives, so a
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
"""Speech frames in a row (60 ms) with which a turn may begin."""

TURN_FRAMES: Final = 8
"""Speech frames (160 ms) that are a turn: less is a click or a cough, and interrupts nobody."""

GAP_FRAMES: Final = 5
"""Frames without speech (100 ms) that there may be between those."""

_FLOOR: Final = 150.0**2
"""Mean square of the quietest frame that can be speech: -47 dBFS."""

_ABOVE_NOISE: Final = 4.0
"""Times the noise's power that a frame of speech has, at least: 6 dB."""

_NOISE_FRAMES: Final = 75
"""Whose quietest (of 1.5 s) is taken for the noise: speech pauses more often than that."""

_VAD_MODE: Final = 2
"""Of 0 to 3, the strictest. At 20 dB SNR mode 3 finds a word 60 ms later, and misses `Stop`."""

_DTMF_LOW: Final = (697.0, 770.0, 852.0, 941.0)
_DTMF_HIGH: Final = (1209.0, 1336.0, 1477.0, 1633.0)
_DTMF_SHARE: Final = 0.8
"""The part of a frame's energy that two of these tones hold when it is a key and not a voice."""


_SQUARE: Final = tuple(value * value for value in LINEAR)


class TurnChange(enum.Enum):
    """What a stretch of audio changed."""

    STARTED = "started"
    """The caller has been speaking for TURN_FRAMES."""
    ENDED = "ended"
    """The turn is over."""


class TurnFinder:
    """One caller's turns. `silence_ms` of silence end a turn."""

    def __init__(self, silence_ms: int = 600) -> None:
        self.silence_ms = silence_ms
        self._vad = webrtcvad.Vad(_VAD_MODE)
        self._powers: deque[float] = deque(maxlen=_NOISE_FRAMES)
        self._rest = b""
        self._speech = 0
        self._silence = 0
        self.speaking = False
        """A turn has started and is not over."""

    def hear(self, data: bytes) -> list[TurnChange]:
        """Listen to mu-law audio of any length."""
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
        """End the turn now, as ForceEndTurn asks. Says whether there was one."""
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
        # Every frame is shown to the detector, which learns the line from silence too.
        voiced: bool = self._vad.is_speech(decode(frame), audio.BYTES_PER_SECOND)
        self._powers.append(power)
        return voiced and power > max(_FLOOR, _ABOVE_NOISE * min(self._powers))

    def _reset(self) -> None:
        self.speaking = False
        self._speech = self._silence = 0


def _is_dtmf(frame: bytes) -> bool:
    """Whether the frame is a key's two tones (Goertzel, at those eight frequencies alone)."""
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
    """Return the squared magnitude of that frequency in the samples."""
    coefficient = 2 * math.cos(2 * math.pi * frequency / audio.BYTES_PER_SECOND)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    return before * before + last * last - coefficient * before * last
