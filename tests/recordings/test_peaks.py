"""Peaks of a recording: those that its audio has, whatever becomes of it, and who computes them."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.waiting import wait_until

from offhook.events.types import (
    CallEnded,
    Event,
    RecordingEnded,
    RecordingFailed,
    RecordingStarted,
)
from offhook.recordings import peaks, peaks_thread, reading
from offhook.recordings.files import LocalFiles
from offhook.recordings.growing import GrowingRecording
from offhook.recordings.peaks_thread import PeaksThread
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
    store = LocalFiles(tmp_path)
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
    file.close()
    reading.peaks(store, NAME)
    for when, start, end, side in silences:
        if when >= len(sizes):
            reading.silence_samples(store, NAME, start, end, side)
    assert (tmp_path / KEPT).read_bytes() == computed(tmp_path)


def finished(folder: Path, samples: int = 8000) -> Path:
    """A recording whose call is over; return its file of peaks."""
    file = recording(folder)
    file.write([part(0, samples)])
    file.close()
    return folder / KEPT


def test_the_process_that_carries_calls_computes_none(tmp_path: Path) -> None:
    assert not finished(tmp_path).exists()


def test_they_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path)
    first = reading.peaks(LocalFiles(tmp_path), NAME)
    monkeypatch.setattr(peaks, "of_file", None)
    assert reading.peaks(LocalFiles(tmp_path), NAME) == first


def test_a_part_that_is_silenced_after_the_end_is_flat(tmp_path: Path) -> None:
    kept = finished(tmp_path, 8100)
    reading.peaks(LocalFiles(tmp_path), NAME)
    before = kept.read_bytes()
    reading.silence(LocalFiles(tmp_path), NAME, 350, 600, "agent")
    after = kept.read_bytes()
    assert after == computed(tmp_path) != before
    assert after[1::2][4:6] == b"\0\0"


@pytest.mark.parametrize("is_late", [False, True])
def test_a_part_that_another_process_silences_meanwhile_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    """While they are computed, or in the moment in which they are kept."""
    kept = finished(tmp_path)
    os.utime(tmp_path / NAME, ns=(1, 1))
    owner: Any = LocalFiles if is_late else peaks
    name = "create" if is_late else "of_file"
    usual = getattr(owner, name)

    def silencing(*given: Any) -> Any:
        monkeypatch.undo()
        made = usual(*given)
        reading.silence(LocalFiles(tmp_path), NAME, 0, 500, "both")
        return made

    monkeypatch.setattr(owner, name, silencing)
    reading.peaks(LocalFiles(tmp_path), NAME)
    assert not kept.exists() or kept.read_bytes() == computed(tmp_path)
    assert reading.peaks(LocalFiles(tmp_path), NAME).caller[:5] == bytes(5)


@pytest.mark.parametrize("goes_on", [False, True])
def test_those_of_a_call_whose_process_died_are_computed_too(tmp_path: Path, goes_on: bool) -> None:
    died = recording(tmp_path)
    died.write([part(0, 8100)])
    assert died._file is not None
    died._file.close()
    reading.peaks(LocalFiles(tmp_path), NAME)
    assert not (tmp_path / KEPT).exists()
    if goes_on:
        file = recording(tmp_path, 9000)
        file.write([part(9000, 3000)])
        file.close()
    else:
        repair(LocalFiles(tmp_path))
    reading.peaks(LocalFiles(tmp_path), NAME)
    assert (tmp_path / KEPT).read_bytes() == computed(tmp_path)


def test_a_disk_that_has_no_room_for_them_costs_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path)

    def full(self: LocalFiles, name: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalFiles, "create", full)
    assert len(reading.peaks(LocalFiles(tmp_path), NAME).caller) == 10


# --- the operator's thread -----------------------------------------------------------------------


@pytest.fixture
def thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PeaksThread]:
    monkeypatch.setattr(peaks_thread, "LOOK_S", 0.01)
    with PeaksThread(LocalFiles(tmp_path)) as made:
        yield made


@pytest.mark.parametrize(
    "end",
    [
        RecordingEnded(1000),
        RecordingFailed("no space"),
        CallEnded("server", "server_died", "The server died.", "", 1000),
    ],
)
def test_they_are_computed_when_a_recording_ends(
    tmp_path: Path, thread: PeaksThread, end: Event
) -> None:
    kept = finished(tmp_path)
    thread.told("CA1", RecordingStarted(NAME))
    thread.told("CA2", end)
    thread.told("CA1", end)
    wait_until(lambda: kept.exists() and kept.stat().st_size)
    assert kept.read_bytes() == computed(tmp_path)


def test_a_recording_whose_end_is_not_written_is_waited_for(
    tmp_path: Path, thread: PeaksThread
) -> None:
    file = recording(tmp_path)
    file.write([part(0, 8000)])
    looks = 0
    find = reading.find

    def looking(store: LocalFiles, name: str) -> reading.RecordingFile:
        nonlocal looks
        looks += 1
        if looks == 3:
            file.close()
        return find(store, name)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "find", looking)
        thread.told("CA1", RecordingStarted(NAME))
        thread.told("CA1", RecordingEnded(1000))
        wait_until((tmp_path / KEPT).exists)
    assert looks >= 3


def test_a_recording_that_is_gone_keeps_no_other(tmp_path: Path, thread: PeaksThread) -> None:
    kept = finished(tmp_path)
    for call_sid, name in (("CA0", "20261124T134326Z-CA0.wav"), ("CA1", NAME)):
        thread.told(call_sid, RecordingStarted(name))
        thread.told(call_sid, RecordingEnded(1000))
    wait_until(kept.exists)
    assert thread.thread.faults == 0
