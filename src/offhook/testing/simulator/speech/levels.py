"""Loudness of telephone audio, measured without a speech engine."""

from typing import Final

from offhook.recordings.wav import LINEAR

SILENT: Final = b"\xff\x7f"
"""The two zeros of mu-law."""

_FLOOR: Final = 150
"""Mean magnitude, in 16-bit steps, from which a frame counts as speech: -47 dBFS."""

_MAGNITUDES: Final = tuple(map(abs, LINEAR))


def is_speech(frame: bytes) -> bool:
    """Return True if a frame is louder than the noise of a quiet line."""
    if not frame.strip(SILENT):  # most frames of a call: 20 times cheaper than the sum
        return False
    return sum(map(_MAGNITUDES.__getitem__, frame)) >= _FLOOR * len(frame)
