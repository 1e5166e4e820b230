"""The ledger beneath faults: processes that race and die, a disk that is full, torn or hangs."""

import asyncio
import random
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from tests.forms import sized
from tests.processes import started
from tests.waiting import until

from offhook.outbound import ledger
from offhook.outbound.errors import TryLaterError
from offhook.outbound.ledger import CallLedger
from offhook.outbound.ledger_file import LedgerFile, Placement

ADA, BOB = "+12025550142", "+12025550143"
ONE = Placement("key", "id-1", "f" * 64, 1_000_000)
KILLS: Final = sized(15, 100)
KEYS: Final = 200

CLAIMS: Final = """
import sys
from pathlib import Path
from offhook.outbound.ledger_file import LedgerFile, Placement
path, name, first, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ledger = LedgerFile(path)
ledger.is_filled
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, last):
    print("asks", number, flush=True)
    known = ledger.claim(Placement(f"key {number}", f"{name} {number}", "f", 1_000_000))
    print("won" if known is None else "known", number, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the file of a ledger that has the database's rows, of which there are none."""
    made = LedgerFile(tmp_path / "ledger.db")
    made.fill([], [])
    made.close()
    return tmp_path / "ledger.db"


def claims(path: Path, name: str, first: int, last: int) -> list[str]:
    return [sys.executable, "-c", CLAIMS, str(path), name, str(first), str(last)]


# --- processes ------------------------------------------------------------------------------------


def test_of_processes_that_claim_a_key_at_once_one_has_it(path: Path) -> None:
    children = [
        subprocess.Popen(
            claims(path, f"process {number}", 0, KEYS),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    told = [child.communicate()[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0] * 3
    won = sorted(int(line[4:]) for lines in told for line in lines if line.startswith("won "))
    assert won == list(range(KEYS))


@pytest.mark.limit(900)
@pytest.mark.long
def test_no_kill_between_claim_and_answer_has_a_key_taken_twice(path: Path) -> None:
    """Whoever is killed asks again for the last keys, as those who ask for calls do."""
    chance = random.Random(3)
    won: set[int] = set()
    asked = 0
    for life in range(KILLS):
        first = max(asked - 2, 0)
        with started(*claims(path, f"life {life}", first, first + 1000)) as child:
            left = chance.randrange(1, 12)
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            for line in child.stdout:
                if not line.endswith("\n"):
                    continue  # it was killed while it wrote this
                word, _, number = line.strip().partition(" ")
                if word == "asks":
                    asked = max(asked, int(number))
                    left -= 1
                    if left == 0:
                        child.kill()  # while it claims, or just after: both come about
                elif word == "won":
                    assert int(number) not in won
                    won.add(int(number))
                else:
                    assert int(number) <= asked
    held = LedgerFile(path)
    for taken in won:
        known = held.claim(Placement(f"key {taken}", "late", "f", 1_000_000))
        assert known is not None, "what was answered is on disk"


def test_a_child_that_is_started_gets_no_file_of_the_ledger(path: Path) -> None:
    held = LedgerFile(path)
    held.claim(ONE)
    listed = subprocess.run(
        [sys.executable, "-c", "import os; print(os.listdir('/proc/self/fd'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(listed.stdout.split(",")) <= 5
    assert path.stat().st_mode & 0o077 == 0


# --- a file that is torn --------------------------------------------------------------------------


def test_garbage_is_moved_aside_and_lets_nobody_be_called_until_there_are_rows(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b"\xff" * 10_000)
    held = LedgerFile(path)
    with pytest.raises(TryLaterError, match="E-OUT-25"):
        held.claim(ONE)
    assert "E-OUT-26" in caplog.text
    assert path.with_name("ledger.db.corrupt-1").read_bytes() == b"\xff" * 10_000
    held.fill([(replace(ONE, sid="CA1"), 1)], [ADA])
    assert held.claim(ONE) == replace(ONE, sid="CA1")


def test_of_a_torn_file_the_readable_rows_are_kept(path: Path) -> None:
    first = LedgerFile(path)
    first.bar(ADA)
    for number in range(500):
        first.claim(Placement(f"key {number}", f"id {number}", "f" * 64, 1_000_000))
    first.name("id 499", "CA499")
    first.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name='placements'")
        page = int(root.fetchone()[0])
        size = int(connection.execute("PRAGMA page_size").fetchone()[0])
    data = bytearray(path.read_bytes())
    # The children of the table's root: one in the middle is lost.
    middle = len(data) // size // 2
    assert middle != page - 1
    data[middle * size : (middle + 1) * size] = b"\x55" * size
    path.write_bytes(data)
    held = LedgerFile(path)
    other = LedgerFile(path)
    known = 0
    for number in range(500):
        asked = Placement(f"key {number}", f"new {number}", "f", 1_000_000)
        with suppress(TryLaterError):
            known += held.claim(asked) is not None
            continue
        other.fill([], [])  # the torn page was met, and the file replaced
        known += other.claim(asked) is not None
    assert known > 250
    assert path.with_name("ledger.db.corrupt-1").exists()
    assert held.is_barred(ADA)
    assert held.named(["CA499"]) == {"CA499"}


def test_a_process_that_has_the_old_file_open_takes_the_new_one(path: Path) -> None:
    one, other = LedgerFile(path), LedgerFile(path)
    assert not one.is_barred(ADA)
    assert not other.is_barred(ADA)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\x55" * size)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    one.close()
    with pytest.raises(TryLaterError, match="E-OUT-25"):
        one.claim(ONE)
    one.fill([], [])
    assert one.claim(ONE) is None
    assert other.claim(replace(ONE, id="id-2")) == ONE
    assert not path.with_name("ledger.db.corrupt-2").exists()


def test_a_file_that_was_deleted_is_new(path: Path) -> None:
    held = LedgerFile(path)
    assert held.claim(ONE) is None
    path.unlink()
    with pytest.raises(TryLaterError, match="E-OUT-25"):
        held.claim(replace(ONE, id="id-2"))


def test_a_ledger_of_a_newer_offhook_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(TryLaterError, match=r"E-OUT-23.*newer than this Offhook"):
        LedgerFile(path).claim(ONE)
    assert not path.with_name("ledger.db.corrupt-1").exists()


# --- a disk that is full, or hangs ----------------------------------------------------------------

FULL: Final = """
import resource, sys
from pathlib import Path
from offhook.errors import UserError
from offhook.outbound.ledger_file import LedgerFile, Placement
path = Path(sys.argv[1])
ledger = LedgerFile(path)
ledger.bar("+12025550142")
assert ledger.claim(Placement("before", "before", "f", 1)) is None
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, hard))
refused = 0
for number in range(50):
    try:
        ledger.claim(Placement(f"full {number}", f"full {number}", "f", 1))
    except UserError as error:
        refused += error.code == "E-OUT-23"
        assert ledger.is_barred("+12025550142"), "it can be read all the same"
        assert ledger.named(["CA1"]) == frozenset()
print(refused)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for number in range(50):
    known = ledger.claim(Placement(f"full {number}", f"late {number}", "f", 1))
    assert known is None or known.id == f"full {number}"
assert ledger.claim(Placement("before", "again", "f", 1)).id == "before"
"""


def test_a_full_disk_refuses_claims_by_name_and_is_used_again_when_it_has_room(
    path: Path,
) -> None:
    """No file may grow beyond half of the ledger's size: that is what a full disk comes to."""
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 40


@asynccontextmanager
async def hanging(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CallLedger]:
    """A ledger whose disk takes for ever, until this is left: nobody runs its thread."""
    monkeypatch.setattr(ledger, "PATIENCE_S", 0.05)
    yield CallLedger(path)


async def test_a_disk_that_hangs_refuses_in_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hanging(path, monkeypatch) as hung:
        with pytest.raises(TryLaterError, match="E-OUT-24"):
            await hung.claim(ONE)
        with pytest.raises(TryLaterError, match="E-OUT-24"):
            await hung.is_barred(ADA)
        hung.saw(1)  # an incoming call waits for nothing
        many = (hung.is_barred(ADA) for _ in range(2 * ledger.WAITING_MAX))
        answers = await asyncio.gather(*many, return_exceptions=True)
        assert all(isinstance(answer, TryLaterError) for answer in answers)
        assert len(hung._jobs) == ledger.WAITING_MAX


async def test_what_was_given_up_is_not_claimed_later_and_what_must_be_is_done(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hanging(path, monkeypatch) as hung:
        with pytest.raises(TryLaterError, match="E-OUT-24"):
            await hung.claim(ONE)
        with pytest.raises(TryLaterError, match="E-OUT-24"):
            await hung.bar(ADA)
        monkeypatch.undo()
        with hung:  # the disk works again
            assert await hung.is_barred(ADA), "they have asked for it"
            assert await hung.claim(replace(ONE, id="id-2")) is None


async def test_a_ledger_that_cannot_be_opened_starts_and_refuses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ledger.db").mkdir()
    with CallLedger(tmp_path / "ledger.db") as broken:
        assert broken.recent == []
        assert "E-OUT-23" in caplog.text
        with pytest.raises(TryLaterError, match="E-OUT-23"):
            await broken.claim(ONE)
        broken.saw(7)
        (tmp_path / "ledger.db").rmdir()
        with pytest.raises(TryLaterError, match="E-OUT-25"):
            await broken.claim(ONE)


# --- admitted calls -------------------------------------------------------------------------------


async def test_admitted_calls_are_known_to_the_next_run_also_after_a_kill(path: Path) -> None:
    with CallLedger(path) as first:
        for mark in range(100):
            first.saw(mark)
        reader = LedgerFile(path)
        await until(lambda: len(reader.recent()) == 100)  # it is not stopped: it might be killed
        first.saw(100)
    with CallLedger(path) as second:
        assert second.recent == list(range(101))


async def test_marks_that_a_full_disk_refused_are_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "AGAIN_S", 0.01)
    saw, refusals = LedgerFile.saw, 3

    def full(self: LedgerFile, marks: list[int]) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise TryLaterError("E-OUT-23", "The disk is full.", "Make room.", 1.0)
        saw(self, marks)

    monkeypatch.setattr(LedgerFile, "saw", full)
    with CallLedger(path) as held:
        for mark in range(10):
            held.saw(mark)
        reader = LedgerFile(path)
        await until(lambda: reader.recent() == list(range(10)))
