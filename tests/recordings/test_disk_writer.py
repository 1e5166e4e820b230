"""The thread that writes: in order, bounded, and one file's fault is not that of the others."""

import threading

import pytest

from offhook.recordings import disk_writer
from offhook.recordings.disk_writer import DiskWriter


class File:
    """A GrowingFile in memory, whose disk may hang or fail."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.content = b""
        self.why: str | None = None
        self.closed = False
        self.free = threading.Event()
        self.free.set()
        self._fault = fault

    @property
    def stopped(self) -> bool:
        return self.why is not None

    def stop(self, why: str) -> None:
        self.why = why

    def write(self, parts: list[bytes]) -> None:
        self.free.wait(20)
        if self._fault is not None:
            raise self._fault
        self.content += b"".join(parts)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_writer, "GATHER_S", 0.0)


def test_parts_are_written_in_order_each_to_its_file() -> None:
    files = [File(), File()]
    writer = DiskWriter("test", 1000)
    writer.start()
    for number in range(50):
        for file in files:
            writer.put(file, b"%d," % number)
    for file in files:
        writer.close(file)
    assert writer.stop()
    expected = b"".join(b"%d," % number for number in range(50))
    assert [file.content for file in files] == [expected, expected]
    assert all(file.closed for file in files)


def test_something_may_be_done_before_anything_is_written() -> None:
    file = File()
    seen: list[bytes] = []
    writer = DiskWriter("test", 1000, first=lambda: seen.append(file.content))
    writer.put(file, b"late")
    writer.start()
    assert writer.stop()
    assert (seen, file.content) == ([b""], b"late")


def test_whose_part_finds_no_room_is_stopped_and_nobody_else() -> None:
    large, small = File(), File()
    writer = DiskWriter("test", 100)
    writer.put(large, bytes(90))
    writer.put(large, bytes(20))
    writer.put(large, bytes(1))
    writer.put(small, b"here")
    assert large.why == "the disk is too slow"
    assert not small.stopped
    writer.start()
    assert writer.stop()
    assert (len(large.content), small.content) == (90, b"here")


def test_a_fault_stops_that_file_alone(caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = File(RuntimeError("boom")), File()
    writer = DiskWriter("test", 100)
    writer.put(broken, b"x")
    writer.put(whole, b"y")
    writer.start()
    assert writer.stop()
    assert (broken.why, whole.content) == ("RuntimeError", b"y")
    assert "boom" in caplog.text


def test_a_disk_that_hangs_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_writer, "FLUSH_S", 0.05)
    file = File()
    file.free.clear()
    writer = DiskWriter("test", 100)
    writer.put(file, b"x")
    writer.start()
    assert not writer.stop()
    file.free.set()
    assert writer.stop(20)
    assert file.content == b"x"
