"""What a crash leaves behind is whole again at the next start, and nothing else is touched."""

import os
import signal
import sys
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processes import started

from offhook.recordings import reading, wav
from offhook.recordings.files import LocalFiles
from offhook.recordings.recorder import Recordings
from offhook.recordings.repair import RepairReport, repair

TALKING = """
import sys, time
from pathlib import Path
from offhook.clock import LoopClock
from offhook.recordings.files import LocalFiles
from offhook.recordings.recorder import Recordings
import asyncio

files = LocalFiles(Path(sys.argv[1]))
files.prepare()
with Recordings(files) as recordings:
    clock = LoopClock(asyncio.new_event_loop(), 1.0)
    recorders = [recordings.begin(f"CA{n}", clock, lambda event: None) for n in range(3)]
    for number in range(10**9):
        for n, recorder in enumerate(recorders):
            recorder.heard(20 * number, bytes([n + 1]) * 160)
        if number % 50 == 49:
            print(number // 50, flush=True)
            time.sleep(0.02)
"""


def test_recordings_of_a_killed_process_open_and_hold_what_was_said(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    with started(sys.executable, "-c", TALKING, str(tmp_path)) as child:
        assert child.stdout is not None
        while len(files.names()) < 3 or min(map(files.size, files.names())) < 100_000:
            assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    names = reading.names(files)
    assert all(reading.find(files, name).growing for name in names)
    with Recordings(files):
        pass
    for number, name in enumerate(names):
        left, right = wav.read_stereo(tmp_path / name)
        assert len(left) == len(right) == reading.find(files, name).samples > 49_000
        assert set(left) == {number + 1}
        assert set(right) == {0xFF}
        assert (tmp_path / name).read_bytes()[:58] == wav.stereo_header(len(left))
        assert not reading.find(files, name).growing
    assert repair(files) == RepairReport([], [])


@given(st.integers(0, 200))
def test_a_file_that_was_written_in_part_can_be_opened(
    tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = wav.stereo_header(None) + bytes(range(1, 143))
    (folder / "a.wav").write_bytes(whole[:size])
    assert repair(LocalFiles(folder)) == RepairReport(["a.wav"], [])
    samples = max(0, size - 58) // 2
    left, right = wav.read_stereo(folder / "a.wav")
    assert len(left) == len(right) == samples
    assert left == whole[58 : 58 + 2 * samples : 2]
    pcm = b"".join(reading.pcm16(LocalFiles(folder), "a.wav"))
    (folder / "b.wav").write_bytes(pcm)
    with wave.open(str(folder / "b.wav")) as opened:
        assert opened.getnframes() == samples


def test_a_header_of_zeros_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(bytes(58) + b"abcd")
    assert repair(LocalFiles(tmp_path)) == RepairReport(["a.wav"], [])
    assert wav.read_stereo(tmp_path / "a.wav") == (b"ac", b"bd")


def test_what_is_no_recording_is_named_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contents = {
        "garbage.wav": os.urandom(5000),
        "pcm.wav": b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0" + b"\1" * 500,
        "short.wav": b"Hello",
        "notes.txt": b"RIFF",
        "a.peaks": b"\0" * 10,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.wav").mkdir()
    found = repair(LocalFiles(tmp_path))
    assert found == RepairReport([], ["garbage.wav", "pcm.wav", "short.wav"])
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file()} == (
        contents
    )
    with Recordings(LocalFiles(tmp_path)):
        pass
    assert caplog.text.count("E-AUD-05") == 3


def test_a_recording_that_another_process_still_writes_takes_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with path.open("w+b") as file:
        writer = wav.StereoWriter(file)
        writer.write(b"ab", b"cd")
        file.flush()
        assert repair(LocalFiles(tmp_path)) == RepairReport(["a.wav"], [])
        assert wav.read_stereo(path) == (b"ab", b"cd")
        writer.write(b"ef", b"gh")
        writer.close()
    assert wav.read_stereo(path) == (b"abef", b"cdgh")
