"""The one audio format of a call: G.711 mu-law, 8000 samples a second, one channel, no header.

One byte is one sample, so 8 bytes are 1 ms (twilio.md §1.5). Nothing here transcodes a live call:
both vendors speak this format.
"""

from typing import Final

BYTES_PER_MS: Final = 8
BYTES_PER_SECOND: Final = 8000
FRAME_MS: Final = 20
FRAME_BYTES: Final = 160
"""Bytes of audio in one message of Twilio's, in practice: 20 ms."""

SILENCE: Final = b"\xff"
"""One sample of digital silence."""


def silence(milliseconds: int) -> bytes:
    """Return digital silence of a length in ms."""
    return SILENCE * (milliseconds * BYTES_PER_MS)


def milliseconds(size: int) -> int:
    """Return how long `size` bytes of audio play, in whole milliseconds."""
    return size // BYTES_PER_MS
