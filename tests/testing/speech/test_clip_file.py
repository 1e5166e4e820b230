"""Recordings of any rate and kind, as a telephone line carries them."""

import math
import struct
import sys
from array import array
from pathlib import Path

import pytest

from offhook.errors import UserError
from offhook.recordings import wav
from offhook.testing.simulator.speech import clip_file

TONE_HZ = 500


def write(path: Path, kind: int, channels: int, rate: int, bits: int, data: bytes) -> Path:
    size = bits // 8 * channels
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, rate, rate * size, size, bits)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)
    return path


def tone(rate: int) -> list[float]:
    return [0.5 * math.sin(2 * math.pi * TONE_HZ * n / rate) for n in range(rate // 2)]


def pcm(sample: float, bits: int) -> bytes:
    if bits == 8:
        return bytes([round(128 + sample * 127)])
    top = (1 << (bits - 1)) - 1
    return round(sample * top).to_bytes(bits // 8, "little", signed=True)


@pytest.mark.parametrize(
    ("rate", "channels", "kind", "bits"),
    [
        (16000, 1, wav.PCM, 16),
        (44100, 2, wav.PCM, 16),
        (48000, 1, wav.PCM, 24),
        (8000, 2, wav.PCM, 32),
        (22050, 1, wav.PCM, 8),
        (48000, 2, wav.FLOAT, 32),
        (16000, 1, wav.MULAW, 8),
    ],
)
def test_any_rate_is_converted(
    tmp_path: Path, rate: int, channels: int, kind: int, bits: int
) -> None:
    pytest.importorskip("soxr")
    samples = tone(rate)
    if kind == wav.FLOAT:
        frames = [struct.pack("<f", sample) for sample in samples]
    elif kind == wav.MULAW:
        coded = wav.encode(array("h", [round(s * 32767) for s in samples]).tobytes())
        frames = [coded[i : i + 1] for i in range(len(coded))]
    else:
        frames = [pcm(sample, bits) for sample in samples]
    data = b"".join(frame * channels for frame in frames)
    line = clip_file.read(write(tmp_path / "a.wav", kind, channels, rate, bits, data))
    expected = wav.encode(array("h", [round(s * 32767) for s in tone(8000)]).tobytes())
    assert len(line) == len(expected) == 4000
    wrong = [decoded(line[n]) - decoded(expected[n]) for n in range(400, 3600)]
    assert math.sqrt(sum(error * error for error in wrong) / len(wrong)) < 32767 * 0.02


def decoded(code: int) -> int:
    magnitude = (((~code & 0x0F) << 3) + 132 << (~code >> 4 & 7)) - 132
    return magnitude if code & 0x80 else -magnitude


def test_what_a_line_carries_is_taken_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", wav.MULAW, 1, 8000, 8, b"\x10\x20\x30")
    assert clip_file.read(path) == b"\x10\x20\x30"


@pytest.mark.parametrize(("kind", "bits"), [(wav.PCM, 12), (17, 4), (wav.FLOAT, 64)])
def test_what_is_not_known_is_refused_with_the_command_that_converts(
    tmp_path: Path, kind: int, bits: int
) -> None:
    path = write(tmp_path / "a.wav", kind, 1, 16000, bits, b"\x10" * 800)
    with pytest.raises(UserError, match="E-WAV-03") as problem:
        clip_file.read(path)
    assert "ffmpeg -i" in problem.value.fix


def test_without_the_extra_nothing_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    path = write(tmp_path / "a.wav", wav.PCM, 1, 16000, 16, b"\x10" * 800)
    with pytest.raises(UserError, match="E-WAV-03") as problem:
        clip_file.read(path)
    assert "ffmpeg -i" in problem.value.fix
