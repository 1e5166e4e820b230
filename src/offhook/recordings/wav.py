"""Mu-law WAV files: a call in stereo (caller left, agent right), and clips to speak.

Python's own `wave` knows only PCM, so the header is written here: format 7 with the `fact` chunk
that every format but PCM needs, 58 bytes in all.
"""

import struct
from array import array
from pathlib import Path
from sys import byteorder
from typing import BinaryIO, Final, NamedTuple

from offhook import audio
from offhook.errors import UserError

PCM: Final = 1
FLOAT: Final = 3
MULAW: Final = 7
_EXTENSIBLE: Final = 0xFFFE
"""Format tag of WAVE_FORMAT_EXTENSIBLE, whose real format is further on in the chunk."""

_HEADER: Final = struct.Struct("<4sI4s 4sIHHIIHHH 4sII 4sI")
UNKNOWN_SIZE: Final = 0xFFFFFFFF
"""Size in the header while the file grows; readers take it as "until the end of the file"."""

STEREO_HEADER_BYTES: Final = _HEADER.size
"""Bytes of the header before the samples of a call's file."""


def _linear(sample: int) -> int:
    """Return a mu-law byte as a 16-bit linear sample (G.711)."""
    inverted = ~sample & 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 132 << (inverted >> 4 & 7)) - 132
    return -magnitude if inverted & 0x80 else magnitude


LINEAR: Final = tuple(map(_linear, range(256)))
"""The 16-bit sample of every mu-law byte."""

_LOW_BYTE: Final = bytes(value & 0xFF for value in LINEAR)
_HIGH_BYTE: Final = bytes(value >> 8 & 0xFF for value in LINEAR)


class StereoWriter:
    """Appends a call's two sides to a seekable binary file, as they are spoken.

    Until `close` the header gives no sizes, so what a crash leaves behind can still be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._samples = 0
        self._begin = file.tell()
        file.write(stereo_header(None))

    @classmethod
    def resume(cls, file: BinaryIO, samples: int) -> "StereoWriter":
        """Return a writer that goes on with the file of a process that died, at that sample.

        What is missing until there becomes silence.
        """
        writer = cls(file)
        size = file.seek(0, 2)
        written = max(0, size - STEREO_HEADER_BYTES) // 2
        file.seek(STEREO_HEADER_BYTES + 2 * written)
        while written < samples:
            missing = min(samples - written, audio.BYTES_PER_SECOND)
            file.write(audio.SILENCE * (2 * missing))
            written += missing
        writer._samples = written
        return writer

    @property
    def samples(self) -> int:
        """Number of samples written."""
        return self._samples

    def is_alone(self) -> bool:
        """Return whether the file ends with what this writer has written."""
        return self._file.seek(0, 2) == self._begin + STEREO_HEADER_BYTES + 2 * self._samples

    def write(self, caller: bytes, agent: bytes) -> None:
        """Append both sides of the same stretch of time: mu-law, of equal length."""
        if len(caller) != len(agent):
            raise ValueError("the two sides of a call are equally long")
        both = bytearray(2 * len(caller))
        both[0::2] = caller
        both[1::2] = agent
        self._file.write(both)
        self._samples += len(caller)

    def close(self) -> None:
        """Put the sizes into the header. The file stays open: its owner closes it."""
        self._file.seek(self._begin)
        self._file.write(stereo_header(self._samples))
        self._file.seek(0, 2)


def stereo_header(samples: int | None) -> bytes:
    """Return the header of a call's file; `samples` is None while the file grows."""
    size = UNKNOWN_SIZE if samples is None else 2 * samples
    return _HEADER.pack(
        b"RIFF",
        UNKNOWN_SIZE if samples is None else _HEADER.size - 8 + size,
        b"WAVE",
        b"fmt ",
        18,
        MULAW,
        2,  # channels
        audio.BYTES_PER_SECOND,
        2 * audio.BYTES_PER_SECOND,
        2,  # bytes of one sample of both channels
        8,  # bits a sample
        0,  # no extension
        b"fact",
        4,
        UNKNOWN_SIZE if samples is None else samples,
        b"data",
        size,
    )


def read_stereo(path: Path) -> tuple[bytes, bytes]:
    """Return the caller's and the agent's mu-law audio from a file that StereoWriter wrote.

    Raises UserError E-WAV-01 when it is no WAV file, E-WAV-02 when it is another kind of WAV.
    """
    found = parse(path)
    if (found.format, found.channels) != (MULAW, 2):
        raise UserError(
            "E-WAV-02",
            f"{path} is not the recording of a call: that is mu-law in stereo, this is {found}.",
            "Name a WAV file that Offhook wrote.",
        )
    return found.data[0::2], found.data[1::2]


def read_clip(path: Path) -> bytes:
    """Return the mu-law audio of a WAV file of one channel at 8000 Hz, mu-law or 16-bit PCM.

    Raises UserError E-WAV-01 when it is no WAV file, E-WAV-03 when it would have to be converted.
    """
    found = parse(path)
    if (found.channels, found.rate) == (1, audio.BYTES_PER_SECOND):
        if (found.format, found.bits) == (MULAW, 8):
            return found.data
        if (found.format, found.bits) == (PCM, 16):
            return encode(found.data)
    raise UserError(
        "E-WAV-03",
        f"{path} is {found}; a telephone line carries mu-law of 8000 Hz with one channel.",
        f"Convert it: ffmpeg -i {path} -ar 8000 -ac 1 -c:a pcm_mulaw {path.stem}-8k.wav",
    )


def encode(pcm: bytes) -> bytes:
    """Return 16-bit little-endian PCM as G.711 mu-law, one byte a sample."""
    samples = array("h", pcm[: len(pcm) & ~1])
    if byteorder == "big":
        samples.byteswap()
    return bytes(map(audio.mulaw, samples))


def decode(mulaw: bytes) -> bytes:
    """Return G.711 mu-law as 16-bit little-endian PCM; channels stay interleaved."""
    pcm = bytearray(2 * len(mulaw))
    pcm[0::2] = mulaw.translate(_LOW_BYTE)
    pcm[1::2] = mulaw.translate(_HIGH_BYTE)
    return bytes(pcm)


class Wav(NamedTuple):
    """A WAV file's content. `format` is PCM, FLOAT, MULAW or another, `bits` are of a sample."""

    format: int
    channels: int
    rate: int
    bits: int
    data: bytes

    def __str__(self) -> str:
        kind = {PCM: "PCM", FLOAT: "floats", MULAW: "mu-law"}.get(
            self.format, f"format {self.format}"
        )
        return f"{kind} of {self.bits} bits, {self.rate} Hz, {self.channels} channel(s)"


def parse(path: Path) -> Wav:
    """Return the content of a WAV file of any format. Raises UserError E-WAV-01 for other files."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            "E-WAV-01", f"{path} cannot be read: {error.strerror}.", "Check the file's name."
        ) from None
    form: tuple[int, int, int, int] | None = None
    position = 12
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        while position + 8 <= len(content):
            name, size = struct.unpack_from("<4sI", content, position)
            body = content[position + 8 : position + 8 + size]
            if name == b"fmt " and len(body) >= 16:
                form = struct.unpack_from("<HHI6xH", body)
                if form[0] == _EXTENSIBLE and len(body) >= 26:
                    form = (*struct.unpack_from("<H", body, 24), *form[1:])
            elif name == b"data" and form is not None:
                return Wav(*form, body)
            position += 8 + size + size % 2
    raise UserError("E-WAV-01", f"{path} is not a WAV file.", "Name a .wav file.")
