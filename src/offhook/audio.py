"""The one audio format of a call: G.711 mu-law, 8000 samples a second, one channel, no header.

One byte is one sample, so 8 bytes are 1 ms (twilio.md §1.5). Nothing here transcodes a live call:
both vendors speak this format.
"""

import math
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


def mulaw(sample: int) -> int:
    """Return a 16-bit linear sample as a mu-law byte."""
    # G.711 table 2a: magnitudes of 14 bits, shifted by 33 so that each segment ends at a power of
    # two; the bits after the leading one are the step inside the segment. Sent inverted.
    magnitude = min(abs(sample) >> 2, 8158) + 33
    segment = magnitude.bit_length() - 6
    code = segment << 4 | (magnitude >> segment + 1) & 0x0F
    return code ^ (0x7F if sample < 0 else 0xFF)


def _tone(ms: int, hertz: float, peak: float) -> bytes:
    """Return a sine of a peak, of a full scale of 32768, that swells and fades without a click."""
    size = ms * BYTES_PER_MS
    return bytes(
        mulaw(
            round(
                peak
                * math.sin(math.pi * at / size) ** 2
                * math.sin(math.tau * hertz * at / BYTES_PER_SECOND)
            )
        )
        for at in range(size)
    )


TONE: Final = _tone(200, 440.0, 1800.0)
"""A soft tone of 200 ms, 25 dB below full scale at its loudest: the line is held."""
