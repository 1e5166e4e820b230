"""Silencing of stretches of a recording that must not be kept."""

from typing import BinaryIO, Final, Literal, TypeAlias

from offhook.audio import BYTES_PER_MS, SILENCE
from offhook.recordings.wav import STEREO_HEADER_BYTES

Side: TypeAlias = Literal["caller", "agent", "both"]

_STRETCH: Final = 32 * 1024
"""Samples that are changed at once."""


def samples(ms: int) -> int:
    """Return the sample at a time of the recording, which has none before its beginning."""
    return max(0, ms) * BYTES_PER_MS


def overwrite(file: BinaryIO, start: int, end: int, side: Side) -> None:
    """Silence the samples from `start` to `end`, as far as the file has them."""
    for first in range(start, end, _STRETCH):
        at = STEREO_HEADER_BYTES + 2 * first
        file.seek(at)
        both = bytearray(file.read(2 * min(_STRETCH, end - first)))
        if side != "agent":
            both[0::2] = SILENCE * len(both[0::2])
        if side != "caller":
            both[1::2] = SILENCE * len(both[1::2])
        file.seek(at)
        file.write(both)
