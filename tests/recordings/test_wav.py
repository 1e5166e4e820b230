"""Mu-law WAV files, and the encoder that makes mu-law."""

import io
import struct
import warnings
import wave
from array import array
from bisect import bisect_right
from pathlib import Path

import pytest

from offhook.errors import UserError
from offhook.recordings import wav


def decision_values() -> list[int]:
    """G.711 table 2a, column of decision values of the positive side: x1 = 0 is left out."""
    values = list(range(1, 32, 2))
    for segment in range(1, 8):
        step = 2 << segment
        values += range(values[-1] + step, values[-1] + 16 * step + 1, step)
    assert values[-1] == 8159  # the table's virtual last value: never reached by a code
    return values[:-1]


def test_every_sample_is_encoded_as_the_table_of_g711_says() -> None:
    decisions = decision_values()
    samples = array("h", range(-32768, 32768))
    encoded = wav.encode(samples.tobytes())
    for sample, code in zip(samples, encoded, strict=True):
        number = bisect_right(decisions, abs(sample) / 4)
        assert code == (0x7F if sample < 0 else 0xFF) - number, sample


def test_silence_and_the_extremes() -> None:
    assert wav.encode(array("h", [0, 32767, -32768]).tobytes()) == b"\xff\x80\x00"


def test_it_agrees_with_pythons_own_encoder_on_whole_steps() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop")  # left the standard library in 3.13
    samples = array("h", range(-32768, 32768, 4)).tobytes()
    assert wav.encode(samples) == audioop.lin2ulaw(samples, 2)


def test_a_call_is_written_left_and_right_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    with path.open("wb") as file:
        writer = wav.StereoWriter(file)
        writer.write(b"\x01\x02", b"\x11\x12")
        writer.write(b"\x03", b"\x13")
        writer.close()
    content = path.read_bytes()
    assert len(content) == 58 + 6
    assert content[58:] == b"\x01\x11\x02\x12\x03\x13"
    riff, form, tag, channels, rate, per_second, block, bits = struct.unpack(
        "<4x I 4x 4x I HHIIHH 2x", content[:38]
    )
    assert (riff, form, tag, channels, rate) == (len(content) - 8, 18, 7, 2, 8000)
    assert (per_second, block, bits) == (16000, 2, 8)
    assert struct.unpack("<4sII4sI", content[38:58]) == (b"fact", 4, 3, b"data", 6)
    assert wav.read_stereo(path) == (b"\x01\x02\x03", b"\x11\x12\x13")


def test_a_file_whose_writer_died_is_still_readable(tmp_path: Path) -> None:
    file = io.BytesIO()
    wav.StereoWriter(file).write(b"ab", b"cd")
    path = tmp_path / "crashed.wav"
    path.write_bytes(file.getvalue())
    assert wav.read_stereo(path) == (b"ab", b"cd")


def test_the_sides_of_a_call_must_be_equally_long() -> None:
    with pytest.raises(ValueError):
        wav.StereoWriter(io.BytesIO()).write(b"ab", b"c")


def pcm(path: Path, *, rate: int = 8000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(array("h", [0, 32767, -32768, 0]).tobytes())
    return path


def test_a_clip_may_be_pcm_or_mulaw(tmp_path: Path) -> None:
    assert wav.read_clip(pcm(tmp_path / "pcm.wav")) == b"\xff\x80\x00\xff"
    mulaw = tmp_path / "mulaw.wav"
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 7, 1, 8000, 8000, 1, 8
    )
    # An odd chunk of somebody else's before the data, with its pad byte.
    mulaw.write_bytes(header + b"LIST\x03\0\0\0abc\0" + b"data\x02\0\0\0hi")
    assert wav.read_clip(mulaw) == b"hi"


@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (8000, 2)])
def test_another_rate_is_refused_with_the_command_that_converts(
    tmp_path: Path, rate: int, channels: int
) -> None:
    with pytest.raises(UserError) as problem:
        wav.read_clip(pcm(tmp_path / "x.wav", rate=rate, channels=channels))
    assert problem.value.code == "E-WAV-03"
    assert f"{rate} Hz, {channels} channel" in problem.value.what
    assert "ffmpeg -i" in problem.value.fix


def test_what_is_not_a_wav_file_says_so(tmp_path: Path) -> None:
    junk = tmp_path / "junk.wav"
    for content in (b"", b"RIFF", b"RIFF\0\0\0\0WAVEdata\x02\0\0\0hi", b"ID3" * 40):
        junk.write_bytes(content)
        with pytest.raises(UserError) as problem:
            wav.read_clip(junk)
        assert problem.value.code == "E-WAV-01"
    with pytest.raises(UserError, match="No such file"):
        wav.read_stereo(tmp_path / "missing.wav")
    with pytest.raises(UserError) as wrong:
        wav.read_stereo(pcm(tmp_path / "pcm.wav"))
    assert wrong.value.code == "E-WAV-02"
