"""Writing for a reader who may not read."""

import os
from collections.abc import Iterator

import pytest
from tests.waiting import wait_until

from offhook.observability.stderr import WAITING_BYTES, Printer

LINE = "x" * 999 + "\n"


def told(lost: int, fault: str) -> str:
    return f"{lost} lost {fault}".rstrip() + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def read_all(reading: int) -> list[str]:
    with os.fdopen(os.dup(reading)) as file:
        return file.read().splitlines()


def test_what_is_written_comes_in_its_order(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    printer = Printer(writing, told)
    for number in range(100):
        printer.write(f"{number} \N{SNOWMAN} \ud800\n")
    printer.stop()
    os.close(writing)
    assert read_all(reading) == [f"{number} \N{SNOWMAN} \\ud800" for number in range(100)]
    assert (printer.lost, printer.waiting, printer.isatty()) == (0, 0, False)


def test_a_reader_who_stands_still_costs_lines_that_are_counted(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    printer = Printer(writing, told)
    count = 0
    while not printer.lost:
        printer.write(LINE)
        count += 1
    printer.lose()
    assert printer.full
    assert printer.waiting <= WAITING_BYTES + len(LINE)
    got = b""
    while b"lost" not in got:
        got += os.read(reading, 65536)
    wait_until(lambda: not printer.full)
    printer.write("after\n")
    printer.stop()
    os.close(writing)
    lines = [*got.decode().splitlines(), *read_all(reading)]
    kept, said = lines[: count - 1], lines[count - 1 :]
    # What was kept is whole and in order; then, in the place of what was lost, how much it was:
    # in one line or in two, by whether the thread had begun to write before.
    assert kept == [LINE.strip()] * (count - 1)
    assert said in (["2 lost", "after"], ["1 lost", "1 lost", "after"])
    assert printer.lost == 2


def test_nobody_waits_long_for_a_reader_who_never_comes(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    printer = Printer(writing, told)
    while not printer.lost:
        printer.write(LINE)
    printer.stop()
    assert printer.waiting
    # Let its thread go: nothing of it outlives the test.
    got = b""
    while b"lost" not in got:
        got += os.read(reading, 65536)
    printer.stop()
    os.close(writing)


@pytest.mark.parametrize("fault", [MemoryError, KeyboardInterrupt, SystemExit, RuntimeError])
def test_no_exception_ends_the_thread(
    pipe: tuple[int, int], fault: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = pipe
    write = os.write
    left = [fault(), fault()]  # The line, and what tells that it is lost.

    def broken(fd: int, data: bytes) -> int:
        if fd == writing and left:
            raise left.pop()
        return write(fd, data)

    monkeypatch.setattr("offhook.observability.stderr.os.write", broken)
    printer = Printer(writing, told)
    printer.write(LINE)
    wait_until(lambda: not left)
    printer.write("after\n")
    wait_until(lambda: not printer.waiting)
    assert (printer.lost, printer.faults, printer.state) == (1, 2, "ok")
    printer.stop()
    assert printer.state == "ok"
    os.close(writing)
    assert read_all(reading) == ["after", f"1 lost {fault.__name__}"]


def test_a_fault_in_what_tells_is_told_by_the_printer_itself(pipe: tuple[int, int]) -> None:
    reading, writing = pipe

    def broken(lost: int, fault: str) -> str:
        raise RuntimeError("what it says is in no line")

    printer = Printer(writing, broken)
    printer.lose()
    wait_until(lambda: printer.faults == 1)
    printer.stop()
    os.close(writing)
    assert read_all(reading) == ["1 log lines were lost; a fault in the printer: RuntimeError"]


def test_a_printer_whose_thread_has_ended_by_itself_is_dead(pipe: tuple[int, int]) -> None:
    printer = Printer(pipe[1], told)
    printer.stop()
    printer._stopping = False
    assert printer.state == "dead"
    os.close(pipe[1])


def test_a_write_that_fails_loses_its_line_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    printer = Printer(writing, told)
    for _ in range(3):
        printer.write(LINE)
    printer.stop()
    os.close(writing)
    assert printer.lost == 3
    assert printer.waiting == 0
