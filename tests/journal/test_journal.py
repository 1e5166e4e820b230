"""The journal: what is appended is read, in order and once, whatever happens in between."""

import contextlib
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processes import started

from offhook.errors import UserError
from offhook.journal import reader as reader_module
from offhook.journal import segments, writer
from offhook.journal.folders import FileLock, is_alive, process_folders
from offhook.journal.progress import last_lines, waiting_lines
from offhook.journal.reader import STUCK_LOOKS, JournalReader
from offhook.journal.segments import LINE_MAX, SEGMENT_BYTES
from offhook.journal.writer import AHEAD, JournalFullError, JournalWriter

ID = "0123456789abcdef" * 2
FIRST = 7_000_000
LIMIT = 64 * SEGMENT_BYTES

LINE = st.binary(min_size=1, max_size=300).filter(lambda line: b"\n" not in line)


def written(root: Path, limit: int = LIMIT) -> JournalWriter:
    return JournalWriter(root / ID, limit, FIRST)


def read_all(reader: JournalReader) -> list[tuple[int, bytes]]:
    lines = []
    while some := reader.read(7):
        lines += some
    return lines


def over(reader: JournalReader) -> bool:
    return reader.is_over


def on_disk(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*.lines")))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Segments of 4 KiB."""
    for module in (segments, writer, reader_module):
        monkeypatch.setattr(module, "SEGMENT_BYTES", 4096)
    return 4096


def test_lines_are_numbered_in_order_and_read_once(tmp_path: Path) -> None:
    journal = written(tmp_path)
    reader = JournalReader(tmp_path / ID)
    assert reader.read(5) == []
    assert journal.append([b"a", b"b"]) == FIRST
    assert journal.append([b"c"]) == FIRST + 2
    assert reader.read(2) == [(FIRST, b"a"), (FIRST + 1, b"b")]
    assert reader.read(2) == [(FIRST + 2, b"c")]
    assert reader.read(2) == []
    assert reader.first == FIRST
    assert reader.passed == FIRST + 2
    assert not over(reader)
    journal.close()
    assert not over(reader), "until a read has found nothing more"
    assert reader.read(2) == []
    assert over(reader)


def test_a_follower_goes_on_where_the_last_one_was_done(tmp_path: Path) -> None:
    journal = written(tmp_path)
    for line in (b"a", b"b", b"c"):
        journal.append([line])
    first = JournalReader(tmp_path / ID, follows=True)
    read_all(first)
    first.done(FIRST + 1)
    first.close()
    assert journal.done() == FIRST + 1
    assert journal.oldest() == b"c"
    second = JournalReader(tmp_path / ID, follows=True)
    assert read_all(second) == [(FIRST + 2, b"c")]
    journal.append([b"d"])
    assert read_all(second) == [(FIRST + 3, b"d")]
    second.start_after(FIRST + 2)
    assert read_all(second) == [(FIRST + 3, b"d")]
    second.done(FIRST + 3)
    assert journal.done() == FIRST + 3
    assert journal.oldest() is None


def test_what_the_database_has_is_wiped_whoever_was_killed_before(tmp_path: Path) -> None:
    """Of a follower that was killed between the commit and the wiping, the database tells."""
    journal = written(tmp_path)
    journal.append([b"she said", b"he said"])
    journal.append([b"they said"])
    reader = JournalReader(tmp_path / ID, follows=True)
    reader.start_after(FIRST + 1)
    assert read_all(reader) == [(FIRST + 2, b"they said")]
    assert b"she said" not in on_disk(tmp_path)
    assert b"they said" in on_disk(tmp_path)
    reader.done(FIRST + 2)
    assert b"said" not in on_disk(tmp_path)


def test_a_wiping_that_a_kill_interrupted_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = written(tmp_path)
    journal.append([b"she said"])
    reader = JournalReader(tmp_path / ID, follows=True)
    read_all(reader)
    place = segments.write_place

    def killed(fd: int, at: segments.FollowerPlace) -> None:
        place(fd, at)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(segments, "write_place", killed)
        with pytest.raises(KeyboardInterrupt):
            reader.done(FIRST)
    assert b"she said" in on_disk(tmp_path)
    JournalReader(tmp_path / ID, follows=True)
    assert b"she said" not in on_disk(tmp_path)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(LINE, min_size=1, max_size=9), st.integers(0, 30), st.booleans()),
        max_size=9,
    )
)
def test_every_line_comes_out_in_order_across_followers(
    tmp_path_factory: pytest.TempPathFactory,
    rounds: list[tuple[list[bytes], int, bool]],
) -> None:
    """Appended, read, done up to somewhere, read again by the same follower or the next."""
    root = tmp_path_factory.mktemp("journal")
    with pytest.MonkeyPatch.context() as patch:
        for module in (segments, writer, reader_module):
            patch.setattr(module, "SEGMENT_BYTES", 4096)
        journal = written(root)
        reader = JournalReader(root / ID, follows=True)
        appended: list[tuple[int, bytes]] = []
        done = 0
        for lines, more, restart in rounds:
            number = journal.append(lines)
            appended += list(enumerate(lines, number))
            done = min(len(appended), done + more)
            read_all(reader)
            if done:
                reader.done(appended[done - 1][0])
            if restart:
                reader.close()
                reader = JournalReader(root / ID, follows=True)
            reader.start_after(appended[done - 1][0] if done else 0)
            assert read_all(reader) == appended[done:]
        reader.close()
        journal.close()


def test_closed_twice_it_closes_no_file_of_others(tmp_path: Path) -> None:
    """The second time, its descriptors' numbers may be those of others' files."""
    journal = written(tmp_path)
    journal.append([b"{}"])
    lock = FileLock(tmp_path / "lock")
    journal.close()
    lock.close()
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(Path(os.devnull).open("rb")) for _ in range(5)]
        journal.close()
        lock.close()
        assert [each.read() for each in others] == [b""] * 5


def test_the_space_is_taken_beforehand_and_given_back(tmp_path: Path, small: int) -> None:
    journal = written(tmp_path)
    reader = JournalReader(tmp_path / ID, follows=True)
    files = list((tmp_path / ID).glob("*.lines"))
    assert len(files) == 1 + AHEAD
    assert sum(path.stat().st_blocks * 512 for path in files) >= small * (1 + AHEAD)
    lines = [bytes([65 + number % 26]) * 1000 for number in range(100)]
    for line in lines:
        journal.append([line])
        assert journal.take_space()
    assert [line for _, line in read_all(reader)] == lines
    reader.done(journal.next - 1)
    assert journal.done() == journal.next - 1
    assert len(list((tmp_path / ID).glob("*.lines"))) == 1 + AHEAD
    assert journal.filled < 0.1
    journal.close()
    assert not over(reader), "until a read has found nothing more"
    assert read_all(reader) == []
    assert over(reader)
    reader.trim()
    (left,) = (tmp_path / ID).glob("*.lines")
    assert left.stat().st_size <= small
    reader.remove()
    assert process_folders(tmp_path) == []


def test_a_dead_process_keeps_only_what_it_wrote(tmp_path: Path) -> None:
    with started(sys.executable, "-c", WRITER, str(tmp_path)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
    (folder,) = process_folders(tmp_path)
    assert len(list(folder.glob("*.lines"))) > AHEAD
    reader = JournalReader(folder, follows=True)
    lines = read_all(reader)
    assert not over(reader)
    lines += read_all(reader)
    assert over(reader)
    reader.trim()
    assert sum(path.stat().st_size for path in folder.glob("*.lines")) < 64 * len(lines) + 4096
    reader.start_after(0)
    assert read_all(reader) == lines


def test_without_room_a_batch_is_refused_and_those_before_stay(
    tmp_path: Path, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = written(tmp_path)

    def no_room(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    kept: list[int] = []
    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", no_room)
        assert journal.take_space()
        with pytest.raises(JournalFullError, match="No space left"):
            kept.extend(journal.append([b"x" * 1000]) for _ in range(100))
        assert not journal.take_space()
    assert len(kept) == 3 * (1 + AHEAD)
    again = journal.append([b"again"])
    assert read_all(JournalReader(tmp_path / ID))[-1] == (again, b"again")
    assert again == FIRST + len(kept)


def test_beyond_its_limit_it_takes_nothing_until_some_is_done(tmp_path: Path, small: int) -> None:
    journal = written(tmp_path, limit=5 * small)
    kept: list[int] = []
    with pytest.raises(JournalFullError, match="journal_limit"):
        kept.extend(journal.append([b"x" * 1000]) for _ in range(100))
    assert len(kept) == 3 * 5
    assert not journal.take_space()
    reader = JournalReader(tmp_path / ID, follows=True)
    assert len(read_all(reader)) == len(kept)
    reader.done(kept[7])
    assert journal.take_space()
    journal.append([b"x" * 1000])


@pytest.mark.parametrize("lines", [[], [b""], [b"two\nlines"], [bytes(LINE_MAX)] * 3])
def test_what_is_no_batch_is_our_mistake(tmp_path: Path, lines: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"line|batch"):
        written(tmp_path).append(lines)


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="E-REC-01"):
        written(tmp_path / "file")


def test_a_process_without_lines_leaves_nothing(tmp_path: Path) -> None:
    journal = written(tmp_path)
    assert is_alive(journal.folder)
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_how_much_waits_shows_to_other_processes(tmp_path: Path, small: int) -> None:
    journal = written(tmp_path)
    for _ in range(20):
        journal.append([b"x" * 900])
        journal.take_space()
    last = last_lines(tmp_path)
    assert last == {ID: FIRST + 19}
    journal.append([b"later"])
    assert waiting_lines(tmp_path, last) == 20
    reader = JournalReader(tmp_path / ID, follows=True)
    read_all(reader)
    reader.done(FIRST + 9)
    assert waiting_lines(tmp_path, last) == 10
    reader.done(FIRST + 20)
    assert waiting_lines(tmp_path, last) == 0


def test_who_only_looks_passes_over_what_was_wiped_before_it_came(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = written(tmp_path)
    looks, follows = JournalReader(tmp_path / ID), JournalReader(tmp_path / ID, follows=True)
    journal.append([b"one"])
    journal.append([b"two"])
    read_all(follows)
    follows.done(FIRST + 1)
    journal.append([b"three"])
    found: list[tuple[int, bytes]] = []
    for _ in range(STUCK_LOOKS + 1):
        found += read_all(looks)
    assert found == [(FIRST + 2, b"three")]
    assert caplog.text == ""
    late = JournalReader(tmp_path / ID)
    assert read_all(late) == found
    later = JournalReader(tmp_path / ID)
    later.skip()
    journal.append([b"four"])
    assert read_all(later) == [(FIRST + 3, b"four")]


# --- damage --------------------------------------------------------------------------------------


def damage(root: Path, change: Callable[[bytearray], None], name: str = "00000001.lines") -> None:
    path = root / ID / name
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def test_a_torn_line_has_not_been_written_yet(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.append([b"whole"])
    at = journal._end
    journal.append([b"torn, as this much of it is there"])
    whole = (tmp_path / ID / "00000001.lines").read_bytes()

    def tear(data: bytearray) -> None:
        data[at + 40 :] = bytes(len(data) - at - 40)

    reader = JournalReader(tmp_path / ID)
    damage(tmp_path, tear)
    assert read_all(reader) == [(FIRST, b"whole")]
    assert reader.lost == 0
    (tmp_path / ID / "00000001.lines").write_bytes(whole)
    assert [number for number, _ in read_all(reader)] == [FIRST + 1]


def test_a_damaged_line_is_told_and_those_behind_it_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = written(tmp_path)
    for line in (b"one", b"two", b"three", b"four"):
        journal.append([line])
    journal.close()
    damage(tmp_path, lambda data: data.__setitem__(data.index(b"two"), 0))
    reader = JournalReader(tmp_path / ID, follows=True)
    found = read_all(reader)
    assert not over(reader)
    found += read_all(reader)
    assert found == [(FIRST, b"one"), (FIRST + 2, b"three"), (FIRST + 3, b"four")]
    assert reader.lost == 1
    assert "1 lines are lost" in caplog.text
    assert over(reader)


def test_a_damaged_header_loses_nothing(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.append([b"one"])
    damage(tmp_path, lambda data: data.__setitem__(slice(0, 128), os.urandom(128)))
    reader = JournalReader(tmp_path / ID, follows=True)
    assert read_all(reader) == [(FIRST, b"one")]
    journal.append([b"two"])
    assert read_all(reader) == [(FIRST + 1, b"two")]


def test_lines_of_another_process_are_not_read(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.append([b"mine"])
    other = JournalWriter(tmp_path / ("f" * 32), LIMIT, FIRST)
    other.append([b"others"])
    foreign = (tmp_path / ("f" * 32) / "00000001.lines").read_bytes()
    (tmp_path / ID / "00000002.lines").write_bytes(foreign)
    at = journal._end

    def mix(data: bytearray) -> None:
        data[at : at + 64] = foreign[128 : 128 + 64]

    damage(tmp_path, mix)
    journal.close()
    reader = JournalReader(tmp_path / ID, follows=True)
    assert read_all(reader) == [(FIRST, b"mine")]
    assert not over(reader)
    assert read_all(reader) == []
    assert over(reader)


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 200, bytes(5000), b"\xff\0\xfe\n" * 999])
def test_a_file_of_rubbish_among_them_does_no_harm(tmp_path: Path, content: bytes) -> None:
    journal = written(tmp_path)
    journal.append([b"a"])
    (tmp_path / ID / "00000099.lines").write_bytes(content)
    (tmp_path / ID / "rubbish.lines").write_bytes(content)
    (tmp_path / ("x" * 32)).mkdir()
    reader = JournalReader(tmp_path / ID, follows=True)
    assert read_all(reader) == [(FIRST, b"a")]
    journal.append([b"b"])
    assert read_all(reader) == [(FIRST + 1, b"b")]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(LINE, min_size=1, max_size=4), min_size=1, max_size=12),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_no_damage_raises_and_none_gives_a_line_that_was_not_written(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[bytes]],
    seed: int,
    follows: bool,
) -> None:
    root, chance = tmp_path_factory.mktemp("journal"), random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        for module in (segments, writer, reader_module):
            patch.setattr(module, "SEGMENT_BYTES", 4096)
        journal = written(root)
        true: dict[int, bytes] = {}
        for lines in batches:
            number = journal.append(lines)
            true |= dict(enumerate(lines, number))
        journal.close()
        for path in sorted((root / ID).glob("*.lines")):
            data = bytearray(path.read_bytes())
            for _ in range(chance.randrange(4)):
                match chance.randrange(4):
                    case 0:
                        del data[chance.randrange(len(data)) :]
                    case 1 if data:
                        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                    case 2:
                        at, end = sorted(chance.sample(range(len(data) + 2), 2))
                        data[at:end] = bytes(end - at)
                    case _:
                        at, to = (chance.randrange(len(data) + 1) for _ in range(2))
                        data[to : to + 200] = data[at : at + 200]
                if not data:
                    break
            path.write_bytes(data)
        reader = JournalReader(root / ID, follows=follows)
        found = read_all(reader)
        assert not over(reader) or not found
        found += read_all(reader)
        assert over(reader)
        assert {number: true.get(number) for number, _ in found} == dict(found)
        numbers = [number for number, _ in found]
        assert numbers == sorted(set(numbers))
        if follows and found:
            reader.done(numbers[-1])
            reader.trim()
            reader.start_after(numbers[-1])
            assert read_all(reader) == []


# --- processes -----------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from offhook.journal.writer import JournalWriter
import uuid
journal = JournalWriter(Path(sys.argv[1]) / uuid.uuid4().hex, 10**9, 1)
for number in range(10**9):
    journal.append([f"line {number}".encode()])
    journal.take_space()
    print(number, flush=True)
"""


def test_what_was_appended_survives_sigkill(tmp_path: Path) -> None:
    with started(sys.executable, "-c", WRITER, str(tmp_path)) as process:
        assert process.stdout is not None
        for _ in range(200):
            process.stdout.readline()
        (folder,) = process_folders(tmp_path)
        assert is_alive(folder)
        process.send_signal(signal.SIGKILL)
        told = [int(line) for line in process.stdout if line.endswith("\n")]
        process.wait()
    assert not is_alive(folder)
    lines = read_all(JournalReader(folder))
    assert len(lines) > max(told, default=199)
    assert lines == [(1 + n, f"line {n}".encode()) for n in range(len(lines))]
