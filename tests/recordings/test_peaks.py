"""Peaks that are written with a recording: those that its audio has, whatever becomes of it."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offhook.recordings import peaks, reading
from offhook.recordings.files import LocalFiles
from offhook.recordings.growing import GrowingRecording
from offhook.recordings.repair import repair
from offhook.recordings.silencing import Side

NAME = "20261124T134326Z-CA1.wav"
KEPT = NAME.replace(".wav", ".peaks")
NOISE = random.Random(7).randbytes(40_000)


def recording(folder: Path, at: int | None = None) -> GrowingRecording:
    return GrowingRecording(LocalFiles(folder), NAME, "CA1", lambda: None, at)


def part(start: int, samples: int) -> bytes:
    """Caller, and then the agent, each different."""
    return NOISE[start : start + samples] + NOISE[20_000 + start : 20_000 + start + samples]


def computed(folder: Path) -> bytes:
    """The peaks that the audio of the file has."""
    store = LocalFiles(folder)
    found = reading.find(store, NAME)
    with store.open(NAME) as file:
        return peaks.of_file(file, 0, peaks.buckets(found.samples))


@given(st.binary(max_size=50))
def test_the_loudest_sample_is_found(mulaw: bytes) -> None:
    assert peaks.loudest(mulaw) == max((peaks.loudest(bytes([one])) for one in mulaw), default=0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(st.integers(0, 3000), max_size=6),
    st.lists(
        st.tuples(
            st.integers(0, 6),
            st.integers(0, 20_000),
            st.integers(0, 20_000),
            st.sampled_from(["caller", "agent", "both"]),
        ),
        max_size=4,
    ),
)
def test_they_are_those_of_the_audio_whenever_a_part_is_silenced(
    tmp_path: Path, sizes: list[int], silences: list[tuple[int, int, int, Side]]
) -> None:
    for name in (NAME, KEPT):
        (tmp_path / name).unlink(missing_ok=True)
    file = recording(tmp_path)
    at = 0
    file.write([])
    for turn, size in enumerate(sizes):
        for when, start, end, side in silences:
            if when == turn:
                file.silence(start, end, side)
        file.write([part(at, size)])
        at += size
    for when, start, end, side in silences:
        if when >= len(sizes):
            file.silence(start, end, side)
    file.close()
    assert (tmp_path / KEPT).read_bytes() == computed(tmp_path)


def test_no_audio_is_read_for_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = recording(tmp_path)
    file.write([part(0, 8000)])
    file.close()
    expected = computed(tmp_path)
    monkeypatch.setattr(peaks, "of_file", None)
    found = reading.peaks(LocalFiles(tmp_path), NAME)
    assert (found.caller, found.agent) == (expected[0::2], expected[1::2])


def test_a_part_that_is_silenced_after_the_end_is_flat(tmp_path: Path) -> None:
    file = recording(tmp_path)
    file.write([part(0, 8100)])
    file.close()
    before = (tmp_path / KEPT).read_bytes()
    reading.silence(LocalFiles(tmp_path), NAME, 350, 600, "agent")
    after = (tmp_path / KEPT).read_bytes()
    assert after == computed(tmp_path) != before
    assert after[1::2][4:6] == b"\0\0"


def test_a_silence_during_the_last_write_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the file was closed, and others do not know that yet."""
    file = recording(tmp_path)
    file.write([part(0, 8000)])
    keep: Callable[..., None] = reading.keep_peaks

    def kept(store: LocalFiles, name: str, both: bytes) -> None:
        keep(store, name, both)
        assert file.silence(0, 1600, "both")

    monkeypatch.setattr(reading, "keep_peaks", kept)
    file.close()
    assert (tmp_path / KEPT).read_bytes() == computed(tmp_path)
    assert computed(tmp_path)[:4] == bytes(4)


@pytest.mark.parametrize("goes_on", [False, True])
def test_those_of_a_call_whose_process_died_are_computed_once(
    tmp_path: Path, goes_on: bool
) -> None:
    died = recording(tmp_path)
    died.write([part(0, 8100)])
    assert died._file is not None
    died._file.close()
    assert not (tmp_path / KEPT).exists()
    if goes_on:
        file = recording(tmp_path, 9000)
        file.write([part(9000, 3000)])
        file.close()
    else:
        repair(LocalFiles(tmp_path))
    reading.peaks(LocalFiles(tmp_path), NAME)
    assert (tmp_path / KEPT).read_bytes() == computed(tmp_path)


def test_a_disk_that_has_no_room_for_them_costs_no_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = recording(tmp_path)
    file.write([part(0, 8000)])

    def full(self: LocalFiles, name: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalFiles, "create", full)
    file.close()
    assert file.why is None
    assert not reading.find(LocalFiles(tmp_path), NAME).growing
    assert len(reading.peaks(LocalFiles(tmp_path), NAME).caller) == 10
