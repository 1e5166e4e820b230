"""Reading recordings, live ones too: as PCM for browsers, and as peaks to draw.

All of it blocks. Where there is an event loop, call it in a thread.
"""

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from offhook.audio import BYTES_PER_SECOND, milliseconds
from offhook.errors import UserError
from offhook.recordings import peaks as peaks_
from offhook.recordings.files import LocalFiles
from offhook.recordings.repair import SUFFIX, is_ours
from offhook.recordings.silencing import Side, overwrite, samples
from offhook.recordings.wav import PCM, STEREO_HEADER_BYTES, UNKNOWN_SIZE, decode

_PCM_HEADER: Final = struct.Struct("<4sI4s 4sIHHIIHH 4sI")
_PCM_SAMPLE: Final = 4
"""Bytes of one sample of both channels, 16 bits each."""

_STRETCH: Final = 32 * 1024
"""Samples that are read at once."""


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
    """Peak loudness of each side in every peaks.BUCKET_MS: 0 to 255, linear."""

    caller: bytes
    agent: bytes


def names(store: LocalFiles) -> list[str]:
    """Return the names of all recordings in the folder, the oldest first."""
    return [name for name in store.names() if name.endswith(SUFFIX)]


def find(store: LocalFiles, name: str) -> RecordingFile:
    """Return a recording as it is now.

    Raises UserError E-AUD-03 for a name that cannot be one, E-AUD-04 for a missing one, and
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
    """Return the peaks of a recording, which are computed once and kept beside it.

    Those of a recording that grows are not kept. Raises as `find` does.
    """
    found = find(store, name)
    count = peaks_.buckets(found.samples)
    with contextlib.suppress(OSError), store.open(_peaks_of(name)) as file:
        both = file.read()
        if len(both) == 2 * count and not found.growing:
            return Peaks(both[0::2], both[1::2])
    with _opened(store, name) as file:
        before = _changed_ns(file)
        both = peaks_.of_file(file, 0, count)
        changed = _changed_ns(file) != before
    if not found.growing and not changed:
        _keep_peaks(store, name, both, before)
    return Peaks(both[0::2], both[1::2])


def _keep_peaks(store: LocalFiles, name: str, both: bytes, changed_ns: int) -> None:
    """Keep the peaks of a recording as it was at `changed_ns`. A full disk only prevents that.

    Another process may silence a stretch or erase the recording in this moment: then they are
    forgotten.
    """
    with contextlib.suppress(OSError):
        _forget_peaks(store, name)
        with store.create(_peaks_of(name)) as file:
            file.write(both)
        try:
            with store.open(name) as recording:
                is_same = _changed_ns(recording) == changed_ns
        except OSError:
            is_same = False
        if not is_same:
            _forget_peaks(store, name)


def _changed_ns(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_mtime_ns


def silence(store: LocalFiles, name: str, start_ms: int, end_ms: int, side: Side) -> None:
    """Silence a stretch of a finished recording for good. Times are of the recording.

    What lies outside of it is passed over. A live recording is silenced by Recordings.silence.
    Raises as `find` does.
    """
    silence_samples(store, name, samples(start_ms), samples(end_ms), side)


def silence_samples(store: LocalFiles, name: str, start: int, end: int, side: Side) -> None:
    """Silence the samples from `start` to `end` as `silence` does."""
    with _opened(store, name, change=True) as file:
        found = _found(store, name, file)
        end = min(end, found.samples)
        overwrite(file, start, end, side)
        file.flush()  # before a look at the peaks: who keeps some looks at the recording afterwards
        _remake_peaks(store, found, file, start, end)


def _remake_peaks(
    store: LocalFiles, found: RecordingFile, file: BinaryIO, start: int, end: int
) -> None:
    """Have the kept peaks show a silenced stretch; forget them when that fails."""
    first, last = start // peaks_.BUCKET, peaks_.buckets(end)
    try:
        with store.open(_peaks_of(found.name), change=True) as kept:
            if store.size(_peaks_of(found.name)) != 2 * peaks_.buckets(found.samples):
                _forget_peaks(store, found.name)
                return
            kept.seek(2 * first)
            kept.write(peaks_.of_file(file, first, last) if first < last else b"")
    except OSError:
        _forget_peaks(store, found.name)


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
        store.delete(_peaks_of(name))


def _peaks_of(name: str) -> str:
    return name.removesuffix(SUFFIX) + peaks_.PEAKS_SUFFIX


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
