"""Peaks of recordings: how loud each side is in every tenth of a second, to draw a call.

A file of peaks has two bytes for each BUCKET_MS of its recording, caller and agent: 0 to 255,
linear.
"""

from typing import BinaryIO, Final

from offhook.audio import BYTES_PER_SECOND
from offhook.recordings.wav import LINEAR, STEREO_HEADER_BYTES

PEAKS_SUFFIX: Final = ".peaks"
"""Suffix of the file beside a recording that keeps its peaks."""

BUCKET_MS: Final = 100

BUCKET: Final = BUCKET_MS * BYTES_PER_SECOND // 1000
"""Samples of a bucket, of each side."""

# A mu-law byte without its sign, inverted, is the rank of its loudness: 0 to 127 (G.711).
_RANKS: Final = 128
_QUIETER: Final = {
    rank: bytes(byte for byte in range(256) if (~byte & 0x7F) < rank) for rank in range(1, _RANKS)
}
_LOUDEST: Final = max(LINEAR)
_LEVELS: Final = bytes(round(255 * abs(LINEAR[~rank & 0xFF]) / _LOUDEST) for rank in range(_RANKS))


def loudest(mulaw: bytes) -> int:
    """Return the level of the loudest sample, 0 to 255.

    Halves the ranks seven times, each time without the samples that are too quiet: that takes half
    of the time of `max`.
    """
    rank, step = 0, _RANKS // 2
    while step:
        if louder := mulaw.translate(None, _QUIETER[rank + step]):
            mulaw = louder
            rank += step
        step //= 2
    return _LEVELS[rank]


def of_samples(both: bytes) -> bytes:
    """Return the peaks of interleaved samples; a bucket at the end may be shorter."""
    made = bytearray()
    for at in range(0, len(both), 2 * BUCKET):
        bucket = both[at : at + 2 * BUCKET]
        made += bytes((loudest(bucket[0::2]), loudest(bucket[1::2])))
    return bytes(made)


def of_file(file: BinaryIO, first: int, last: int) -> bytes:
    """Return the peaks of the buckets from `first` up to `last` of a recording's open file."""
    made = bytearray()
    file.seek(STEREO_HEADER_BYTES + 2 * BUCKET * first)
    for _ in range(first, last):
        made += of_samples(file.read(2 * BUCKET))
    return bytes(made)


def buckets(samples: int) -> int:
    """Return the number of buckets of so many samples; the last one may be shorter."""
    return -(-samples // BUCKET)
