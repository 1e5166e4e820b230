"""The journal: what is appended is there again, in order, whatever happens in between."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processes import started

from offhook.errors import UserError
from offhook.records import journal as module
from offhook.records.journal import LINE_MAX, SEGMENT_BYTES, SEGMENTS, Journal, JournalFullError

LINES = st.lists(st.binary(min_size=1, max_size=300), max_size=20)


def read(journal: Journal) -> list[tuple[int, bytes]]:
    lines = []
    while some := journal.read(7):
        lines += some
    return lines


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.lines")))


def texts(lines: list[tuple[int, bytes]]) -> list[bytes]:
    numbers = [number for number, _ in lines]
    assert numbers == sorted(set(numbers))
    return [line for _, line in lines]


def test_lines_are_numbered_in_order_and_read_once(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        first, second, third = [journal.append(line) for line in (b"a", b"b", b"c")]
        assert first < second < third
        assert journal.read(2) == [(first, b"a"), (second, b"b")]
        assert journal.read(2) == [(third, b"c")]
        assert journal.read(2) == []
        assert journal.waiting == 3


def test_the_next_who_opens_it_finds_what_is_not_done(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        identity = journal.id
        numbers = [journal.append(line) for line in (b"a", b"b", b"c")]
        journal.read(3)
        journal.done(numbers[1])
        assert journal.waiting == 1
    with Journal(tmp_path) as journal:
        assert journal.id == identity
        assert (numbers[2], b"c") in read(journal)
        assert journal.append(b"d") > numbers[2]
        journal.done(numbers[2])
        assert journal.waiting == 1


def test_numbers_go_on_when_everything_is_done(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        first = journal.append(b"a")
        journal.read(1)
        journal.done(first)
        assert journal.waiting == 0
    with Journal(tmp_path) as journal:
        assert read(journal) == []
        second = journal.append(b"b")
        assert second > first
        assert read(journal) == [(second, b"b")]


def test_what_is_done_is_wiped(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for _ in range(50):
            number = journal.append(b"what she said")
            journal.read(1)
            journal.done(number)
        assert b"she said" not in on_disk(tmp_path)


def test_after_rewinding_what_is_not_done_is_read_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        first, *_ = [journal.append(line) for line in (b"a", b"b", b"c")]
        journal.read(3)
        journal.done(first)
        journal.rewind()
        journal.append(b"d")
        assert texts(read(journal)) == [b"b", b"c", b"d"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LINES, st.integers(0, 30), st.booleans()), max_size=6))
def test_every_line_comes_out_in_order_across_restarts(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[tuple[list[bytes], int, bool]]
) -> None:
    """Appended, read, done up to somewhere, rewound or opened anew: the rest comes next."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    appended: list[tuple[int, bytes]] = []
    done = 0
    for lines, more, restart in rounds:
        appended += [(journal.append(line), line) for line in lines]
        done = min(len(appended), done + more)
        read(journal)
        if done:
            journal.done(appended[done - 1][0])
        if restart:
            journal.close()
            journal = Journal(folder)
            if done:
                # What the database has is known there: a journal may tell of it once more.
                journal.done(appended[done - 1][0])
        journal.rewind()
        assert journal.waiting == len(appended) - done
        assert read(journal) == appended[done:]
        journal.rewind()
    journal.close()


def test_more_than_was_taken_beforehand_goes_in_and_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 4096)
    with Journal(tmp_path) as journal:
        sizes = len(list(tmp_path.glob("*.lines")))
        assert sizes == SEGMENTS
        lines = [bytes([n % 256]) * 1000 for n in range(100)]
        numbers = [journal.append(line) for line in lines]
        assert journal.filled > 1
        assert texts(read(journal)) == lines
        journal.done(numbers[-1])
        assert len(list(tmp_path.glob("*.lines"))) == SEGMENTS
        assert journal.filled < 0.2


def test_the_space_is_taken_beforehand(tmp_path: Path) -> None:
    with Journal(tmp_path):
        taken = sum(path.stat().st_blocks * 512 for path in tmp_path.glob("*.lines"))
    assert taken >= SEGMENTS * SEGMENT_BYTES


def test_without_any_room_a_line_is_refused_and_those_before_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 4096)
    with Journal(tmp_path) as journal:

        def no_room(fd: int, offset: int, size: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", no_room)
        kept: list[int] = []
        with pytest.raises(JournalFullError, match="No space left"):
            kept.extend(journal.append(b"x" * 1000) for _ in range(100))
        assert len(read(journal)) == len(kept) >= 3 * SEGMENTS
        journal.done(kept[-1])
        again = journal.append(b"again")
        assert read(journal) == [(again, b"again")]


def test_a_line_that_is_no_line_is_our_mistake(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal, pytest.raises(ValueError, match="more than"):
        journal.append(bytes(LINE_MAX + 1))


def test_only_one_process_has_it(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(UserError, match="E-REC-02"):
        Journal(tmp_path)
    Journal(tmp_path).close()


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="E-REC-01"):
        Journal(tmp_path / "file" / "journal")


def test_a_torn_line_ends_what_is_read(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(b"whole")
        journal.append(b"torn by a loss of power")
    for path in tmp_path.glob("*.lines"):
        content = path.read_bytes()
        path.write_bytes(content.replace(b"loss of power", b"loss of \0\0\0\0\0"))
    with Journal(tmp_path) as journal:
        assert texts(read(journal)) == [b"whole"]
        journal.append(b"next")
        assert texts(read(journal)) == [b"next"]


def test_numbers_that_a_loss_of_power_took_away_are_not_given_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        before = {path: path.read_bytes() for path in tmp_path.glob("*.lines")}
        lost = journal.append(b"in the database, and nowhere else")
    for path, content in before.items():
        path.write_bytes(content)
    with Journal(tmp_path) as journal:
        journal.done(lost)
        journal.append(b"new")
        journal.rewind()
        assert texts(read(journal)) == [b"new"]


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 200, bytes(5000)])
def test_a_file_of_rubbish_among_them_does_no_harm(tmp_path: Path, content: bytes) -> None:
    with Journal(tmp_path) as journal:
        journal.append(b"a")
    (tmp_path / "0099.lines").write_bytes(content)
    with Journal(tmp_path) as journal:
        assert texts(read(journal)) == [b"a"]
        journal.append(b"b")
        assert texts(read(journal)) == [b"b"]


WRITER = """
import sys
from pathlib import Path
from offhook.records.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(10**9):
    journal.append(f"line {number}".encode())
    print(number, flush=True)
"""


def test_what_was_appended_survives_sigkill(tmp_path: Path) -> None:
    with started(sys.executable, "-c", WRITER, str(tmp_path)) as process:
        assert process.stdout is not None
        for _ in range(200):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        told = [int(line) for line in process.stdout if line.endswith("\n")]
    with Journal(tmp_path) as journal:
        lines = read(journal)
    assert len(lines) > max(told, default=199)
    assert texts(lines) == [f"line {n}".encode() for n in range(len(lines))]
