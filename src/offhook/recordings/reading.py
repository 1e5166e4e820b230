"""Reading recordings, live ones too: as PCM for browsers, and as peaks to draw.

All of it blocks. Where there is an event loop, call it in a thread.
"""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from offhook.audio import BYTES_PER_SECOND, milliseconds
from offhook.errors import UserError
from offhook.recordings.files import LocalFiles
from offhook.recordings.repair import SUFFIX, is_ours
from offhook.recordings.silencing import Side, overwrite, samples
from offhook.recordings.wav import LINEAR, PCM, STEREO_HEADER_BYTES, UNKNOWN_SIZE, decode

PEAKS_SUFFIX: Final = ".peaks"
"""Suffix of the file beside a recording that keeps its peaks."""

BUCKET_MS: Final = 100

_PCM_HEADER: Final = struct.Struct("<4sI4s 4sIHHIIHH 4sI")
_PCM_SAMPLE: Final = 4
"""Bytes of one sample of both channels, 16 bits each."""

_STRETCH: Final = 32 * 1024
"""Samples that are read at once."""

_BUCKET: Final = BUCKET_MS * BYTES_PER_SECOND // 1000
_LOUDEST: Final = max(LINEAR)
_MAGNITUDE: Final = bytes(round(255 * abs(value) / _LOUDEST) for value in LINEAR)


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """The state of a recording at one moment: a live one goes on growing."""

    name: str
    samples: int
    """Samples of each side, 8000 a second."""
    growing: bool
    """True while the call goes on, or if a crash left its recording unfinished."""

    @property
    def length_ms(self) -> int:
        """Length of the recording in ms."""
        return milliseconds(self.samples)

    @property
    def pcm16_bytes(self) -> int:
        """Bytes of the recording as a PCM file, with the header."""
        return _PCM_HEADER.size + _PCM_SAMPLE * self.samples


@dataclass(frozen=True, slots=True)
class Peaks:
    """Peak loudness of each side in every BUCKET_MS: 0 to 255, linear."""

    caller: bytes
    agent: bytes


def names(store: LocalFiles) -> list[str]:
    """Return the names of all recordings in the folder, the oldest first."""
    return [name for name in store.names() if name.endswith(SUFFIX)]


def find(store: LocalFiles, name: str) -> RecordingFile:
    """Return a recording as it is now.

    Raises UserError E-AUD-03 for a name that cannot be one, E-AUD-04 when there is none of it, and
    E-AUD-05 when the file is not a recording.
    """
    with _opened(store, name) as file:
        return _found(store, name, file)


def pcm16(store: LocalFiles, name: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Return the bytes from `start` to `stop` of a recording as a 16-bit PCM WAV file, in stereo.

    The whole has RecordingFile.pcm16_bytes; only the requested part is read and decoded. Raises as
    `find` does, before the first piece.
    """
    found = find(store, name)
    size = found.pcm16_bytes
    return _pieces(store, found, max(0, start), size if stop is None else min(stop, size))


def _pieces(store: LocalFiles, found: RecordingFile, start: int, stop: int) -> Iterator[bytes]:
    header = _PCM_HEADER.size
    if start < min(stop, header):
        yield _pcm_header(found.samples)[start:stop]
    begin, end = max(0, start - header), stop - header
    if begin >= end:
        return
    first, last = begin // _PCM_SAMPLE, -(-end // _PCM_SAMPLE)
    with store.open(found.name) as file:
        file.seek(STEREO_HEADER_BYTES + 2 * first)
        for at in range(first, last, _STRETCH):
            pcm = decode(file.read(2 * min(_STRETCH, last - at)))
            yield pcm[max(0, begin - _PCM_SAMPLE * at) : end - _PCM_SAMPLE * at]


def peaks(store: LocalFiles, name: str) -> Peaks:
    """Return the peaks of a recording: computed once, and kept beside it when its call is over.

    Raises as `find` does.
    """
    found = find(store, name)
    kept = name.removesuffix(SUFFIX) + PEAKS_SUFFIX
    size = 2 * -(-found.samples // _BUCKET)
    with contextlib.suppress(OSError), store.open(kept) as file:
        both = file.read()
        if len(both) == size:
            return Peaks(both[0::2], both[1::2])
    both = _peaks(store, found)
    if not found.growing:
        # A full disk only prevents that the peaks are kept.
        with contextlib.suppress(OSError):
            _forget_peaks(store, name)
            with store.create(kept) as file:
                file.write(both)
    return Peaks(both[0::2], both[1::2])


def _peaks(store: LocalFiles, found: RecordingFile) -> bytes:
    both = bytearray()
    with store.open(found.name) as file:
        file.seek(STEREO_HEADER_BYTES)
        for at in range(0, found.samples, _BUCKET):
            bucket = file.read(2 * min(_BUCKET, found.samples - at)).translate(_MAGNITUDE)
            both += bytes((max(bucket[0::2], default=0), max(bucket[1::2], default=0)))
    return bytes(both)


def silence(store: LocalFiles, name: str, start_ms: int, end_ms: int, side: Side) -> None:
    """Silence a stretch of a finished recording for good. Times are of the recording.

    What lies outside of it is passed over. A live recording is silenced by Recordings.silence.
    Raises as `find` does.
    """
    with _opened(store, name, change=True) as file:
        found = _found(store, name, file)
        overwrite(file, samples(start_ms), min(samples(end_ms), found.samples), side)
    _forget_peaks(store, name)


def delete(store: LocalFiles, name: str) -> bool:
    """Remove a recording and the file of its peaks. Return whether there was one.

    Raises UserError E-AUD-03 for a name that cannot be one.
    """
    _forget_peaks(store, name)
    try:
        store.delete(_checked(name))
    except FileNotFoundError:
        return False
    return True


def _forget_peaks(store: LocalFiles, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        store.delete(name.removesuffix(SUFFIX) + PEAKS_SUFFIX)


def _checked(name: str) -> str:
    return name if name.endswith(SUFFIX) else name + SUFFIX


def _opened(store: LocalFiles, name: str, *, change: bool = False) -> BinaryIO:
    try:
        return store.open(name, change=change)
    except OSError as error:
        raise UserError(
            "E-AUD-04",
            f"The recording {name} cannot be read: {error.strerror}.",
            "It may have been erased: look the call up again.",
        ) from None


def _found(store: LocalFiles, name: str, file: BinaryIO) -> RecordingFile:
    header = file.read(STEREO_HEADER_BYTES)
    if not name.endswith(SUFFIX) or not is_ours(header):
        raise UserError(
            "E-AUD-05",
            f"{name} is not a recording, or only its first bytes were ever written.",
            "Delete the file, or put it elsewhere.",
        )
    count = max(0, store.size(name) - STEREO_HEADER_BYTES) // 2
    stated = int.from_bytes(header[-4:], "little")
    return RecordingFile(name, count, growing=stated == UNKNOWN_SIZE)


def _pcm_header(count: int) -> bytes:
    size = _PCM_SAMPLE * count
    return _PCM_HEADER.pack(
        b"RIFF",
        _PCM_HEADER.size - 8 + size,
        b"WAVE",
        b"fmt ",
        16,
        PCM,
        2,  # channels
        BYTES_PER_SECOND,
        _PCM_SAMPLE * BYTES_PER_SECOND,
        _PCM_SAMPLE,
        16,  # bits a sample
        b"data",
        size,
    )
