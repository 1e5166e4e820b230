"""PCM made on the fly, peaks, silence: against a recording that the test wrote itself."""

import io
import math
import wave
from array import array
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offhook.errors import UserError
from offhook.recordings import peaks, reading, wav
from offhook.recordings.files import LocalFiles
from offhook.recordings.silencing import Side

NAME = "20261124T134326Z-CA1.wav"
SAMPLES = 2000
LEFT = bytes(n % 251 for n in range(SAMPLES))
RIGHT = bytes(n % 241 for n in range(SAMPLES))


def write(folder: Path, left: bytes, right: bytes, *, whole: bool = True) -> LocalFiles:
    with (folder / NAME).open("w+b") as file:
        writer = wav.StereoWriter(file)
        writer.write(left, right)
        if whole:
            writer.close()
    return LocalFiles(folder)


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return write(tmp_path, LEFT, RIGHT)


def linear(side: bytes) -> list[int]:
    return [wav.LINEAR[sample] for sample in side]


# --- PCM -----------------------------------------------------------------------------------------


def test_the_pcm_view_is_a_wav_file_of_the_size_that_was_told(files: LocalFiles) -> None:
    found = reading.find(files, NAME)
    content = b"".join(reading.pcm16(files, NAME))
    assert (found.samples, found.length_ms, found.growing) == (SAMPLES, 250, False)
    assert len(content) == found.pcm16_bytes
    with wave.open(io.BytesIO(content)) as opened:
        assert opened.getparams()[:4] == (2, 2, 8000, SAMPLES)
        frames = array("h", opened.readframes(SAMPLES))
    assert list(frames[0::2]) == linear(LEFT)
    assert list(frames[1::2]) == linear(RIGHT)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-5, 8100), st.integers(-5, 8100) | st.none())
def test_any_range_of_it_is_that_range(files: LocalFiles, start: int, stop: int | None) -> None:
    whole = b"".join(reading.pcm16(files, NAME))
    part = b"".join(reading.pcm16(files, NAME, start, stop))
    assert part == whole[max(0, start) : len(whole) if stop is None else max(0, stop)]


def test_a_range_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    class Counting(LocalFiles):
        read = 0

        def open(self, name: str, *, change: bool = False) -> io.BytesIO:
            counting = self

            class File(io.BytesIO):
                def read(self, size: int | None = -1, /) -> bytes:
                    data = super().read(size)
                    counting.read += len(data)
                    return data

            with super().open(name) as file:
                return File(file.read())

    write(tmp_path, bytes(10**6), bytes(10**6))
    counting = Counting(tmp_path)
    found = b"".join(reading.pcm16(counting, NAME, 3_000_001, 3_000_011))
    assert len(found) == 10
    assert counting.read < 100


def test_a_live_recording_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    files = write(tmp_path, LEFT, RIGHT, whole=False)
    found = reading.find(files, NAME)
    assert (found.samples, found.growing) == (SAMPLES, True)
    with wave.open(io.BytesIO(b"".join(reading.pcm16(files, NAME)))) as opened:
        assert opened.getnframes() == SAMPLES


# --- peaks ---------------------------------------------------------------------------------------


def test_peaks_are_the_loudest_of_each_tenth_of_a_second(files: LocalFiles, tmp_path: Path) -> None:
    loudest = max(wav.LINEAR)
    expected = [
        [
            round(255 * max(map(abs, linear(side[at : at + 800]))) / loudest)
            for at in range(0, SAMPLES, 800)
        ]
        for side in (LEFT, RIGHT)
    ]
    found = reading.peaks(files, NAME)
    assert [list(found.caller), list(found.agent)] == expected
    assert files.names() == [NAME.replace(".wav", ".peaks"), NAME]
    assert reading.names(files) == [NAME]


def test_they_are_computed_once(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    first = reading.peaks(files, NAME)
    monkeypatch.setattr(peaks, "of_file", None)
    assert reading.peaks(files, NAME) == first


@pytest.mark.parametrize("kept", [b"", b"\1\2\3", b"\1" * 100])
def test_a_file_of_peaks_that_does_not_fit_is_made_anew(
    files: LocalFiles, tmp_path: Path, kept: bytes
) -> None:
    path = (tmp_path / NAME).with_suffix(".peaks")
    path.write_bytes(kept)
    found = reading.peaks(files, NAME)
    assert len(found.caller) == len(found.agent) == 3
    assert path.stat().st_size == 6


def test_those_of_a_recording_that_is_erased_meanwhile_are_not_kept(
    files: LocalFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = files.create

    def erase_first(name: str) -> BinaryIO:
        (tmp_path / NAME).unlink()
        return create(name)

    monkeypatch.setattr(files, "create", erase_first)
    assert len(reading.peaks(files, NAME).caller) == 3
    assert files.names() == []


def test_those_of_a_live_recording_are_not_kept(tmp_path: Path) -> None:
    files = write(tmp_path, LEFT, RIGHT, whole=False)
    assert len(reading.peaks(files, NAME).caller) == 3
    assert files.names() == [NAME]


def test_silence_is_flat_and_the_loudest_sample_is_255(tmp_path: Path) -> None:
    files = write(tmp_path, b"\xff" * 801, b"\x00" * 801)
    found = reading.peaks(files, NAME)
    assert (found.caller, found.agent) == (b"\0\0", b"\xff\xff")


# --- silence, and no more ------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-10, 300), st.integers(-10, 300), st.sampled_from(["caller", "agent", "both"]))
def test_a_stretch_is_silenced_and_nothing_else(
    tmp_path: Path, start: int, end: int, side: Side
) -> None:
    files = write(tmp_path, LEFT, RIGHT)
    reading.silence(files, NAME, start, end, side)
    for channel, mine, now in (
        ("caller", LEFT, wav.read_stereo(tmp_path / NAME)[0]),
        ("agent", RIGHT, wav.read_stereo(tmp_path / NAME)[1]),
    ):
        first, last = max(0, start) * 8, min(max(0, end) * 8, SAMPLES)
        expected = bytearray(mine)
        if side in (channel, "both") and first < last:
            expected[first:last] = b"\xff" * (last - first)
        assert now == expected


def test_peaks_are_silenced_with_it(files: LocalFiles) -> None:
    assert reading.peaks(files, NAME).caller[0] > 200
    reading.silence(files, NAME, 0, 100, "caller")
    assert reading.peaks(files, NAME).caller[0] == 0


def test_deleting_leaves_nothing(files: LocalFiles) -> None:
    reading.peaks(files, NAME)
    assert reading.delete(files, NAME)
    assert not reading.delete(files, NAME)
    assert files.names() == []


@pytest.mark.parametrize(
    ("name", "code"),
    [("../secret.wav", "E-AUD-03"), ("CA2.wav", "E-AUD-04"), ("CA3.wav", "E-AUD-05")],
)
def test_what_cannot_be_read_is_told(
    files: LocalFiles, tmp_path: Path, name: str, code: str
) -> None:
    (tmp_path / "CA3.wav").write_bytes(b"garbage" * 100)
    for ask in (reading.find, reading.pcm16, reading.peaks):
        with pytest.raises(UserError, match=code):
            ask(files, name)
    with pytest.raises(UserError, match=code):
        reading.silence(files, name, 0, 1, "both")


def test_the_decoder_is_the_encoders_inverse() -> None:
    every = bytes(range(256))
    assert wav.encode(wav.decode(every)) == every.replace(b"\x7f", b"\xff")
    assert math.isclose(max(array("h", wav.decode(every))), 32124)
