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
    of the time of `max`, and this runs in the process that carries calls.
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


class GrowingPeaks:
    """Peaks of a recording that is being written: 20 bytes for each second, in memory."""

    def __init__(self) -> None:
        self._done = bytearray()
        # Samples of the bucket that is not full yet.
        self._caller = b""
        self._agent = b""

    def add(self, caller: bytes, agent: bytes) -> None:
        """Take both sides of what was appended to the recording."""
        caller, agent = self._caller + caller, self._agent + agent
        full = len(caller) // BUCKET * BUCKET
        for at in range(0, full, BUCKET):
            end = at + BUCKET
            self._done += bytes((loudest(caller[at:end]), loudest(agent[at:end])))
        self._caller, self._agent = caller[full:], agent[full:]

    def remake(self, file: BinaryIO, start: int, end: int) -> None:
        """Take the samples from `start` to `end` anew from the recording: they were silenced."""
        count = len(self._done) // 2
        first, last = start // BUCKET, min(buckets(end), count)
        if first < last:
            self._done[2 * first : 2 * last] = of_file(file, first, last)
        if end > count * BUCKET:
            file.seek(STEREO_HEADER_BYTES + 2 * BUCKET * count)
            rest = file.read(2 * len(self._caller))
            self._caller, self._agent = rest[0::2], rest[1::2]

    def all(self) -> bytes:
        """Return the peaks of everything that was appended."""
        if not self._caller:
            return bytes(self._done)
        return bytes((*self._done, loudest(self._caller), loudest(self._agent)))
