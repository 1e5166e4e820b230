"""How loud a frame of telephone audio is, without any engine."""

from typing import Final

from offhook.recordings.wav import LINEAR

SILENT: Final = b"\xff\x7f"
"""Both zeros of mu-law."""

_FLOOR: Final = 150
"""Mean magnitude, in 16-bit steps, of the quietest frame that is speech: -47 dBFS."""

_MAGNITUDES: Final = tuple(map(abs, LINEAR))


def is_speech(frame: bytes) -> bool:
    """Return whether a frame is louder than the noise of a quiet line."""
    return sum(map(_MAGNITUDES.__getitem__, frame)) >= _FLOOR * len(frame)
