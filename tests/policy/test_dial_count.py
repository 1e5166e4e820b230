"""The count of what was dialled: what a restart finds, whatever happened to disk and clocks."""

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest
from tests.processes import started
from tests.waiting import until

from offhook.clock import MachineClocks
from offhook.errors import UserError
from offhook.policy import dial_count
from offhook.policy.dial_count import DialCount, Spent, call_tag, number_tag
from offhook.policy.dial_policy import DialPolicy, DialRefusal, DialRules

ALLOWED = "+12025550142"
BOOT = "0" * 7 + "1"


class Machine:
    """A machine whose clocks are in a test's hands."""

    def __init__(self, path: Path, boot: str = BOOT) -> None:
        self.path = path
        self.monotonic = 5000.0
        self.wall = 1_800_000_000.0
        self.boot = boot

    def pass_s(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def open(self, per_hour: int = 10) -> DialCount:
        clocks = MachineClocks(lambda: self.monotonic, lambda: self.wall, self.boot)
        return DialCount(self.path, per_hour, clocks)

    async def dial(self, count: int, per_hour: int = 3) -> list[str | None]:
        """One life of a server, which dials that often: why not, for each."""
        rules = DialRules(calls_per_hour=per_hour)
        with self.open(per_hour) as kept:
            policy = DialPolicy(rules, earlier=kept.earlier(self.monotonic), keep=kept)
            found = []
            for _ in range(count):
                refused = await policy.check("call", ALLOWED, self.monotonic)
                found.append(None if refused is None else refused.slug)
            return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "records" / "dialled")


async def test_lives_share_an_hour(machine: Machine) -> None:
    assert await machine.dial(1) == [None]
    machine.pass_s(60)
    assert await machine.dial(1) == [None]
    machine.pass_s(60)
    assert await machine.dial(3) == [None, "calls_per_hour", "calls_per_hour"]
    machine.pass_s(3480.5)  # the first is an hour old
    assert await machine.dial(2) == [None, "calls_per_hour"]


async def test_processes_of_one_folder_count_what_the_others_have_dialled(
    machine: Machine,
) -> None:
    rules = DialRules(calls_per_hour=3)

    def policy(kept: DialCount) -> DialPolicy:
        return DialPolicy(rules, earlier=kept.earlier(machine.monotonic), keep=kept)

    with machine.open() as first:
        assert await policy(first).check("call", ALLOWED, machine.monotonic) is None
        with machine.open() as second:  # while the first drains
            assert await policy(second).check("call", ALLOWED, machine.monotonic) is None
            with machine.open() as third:
                assert len(third.earlier(machine.monotonic)) == 2
            files = sorted(path.name for path in machine.path.parent.iterdir())
            assert files == ["dialled", "dialled.2", "dialled.3"]
    # Both are gone: the next has the first file, and knows of all.
    assert await machine.dial(2) == [None, "calls_per_hour"]
    assert len(list(machine.path.parent.iterdir())) == 3
    machine.pass_s(3601)
    assert await machine.dial(4) == [None, None, None, "calls_per_hour"]


async def test_a_killed_process_leaves_its_file_to_the_next(machine: Machine) -> None:
    machine.path.parent.mkdir()
    hold = "import sys, time; from pathlib import Path; from offhook.policy.dial_count import *; "
    hold += "count = DialCount(Path(sys.argv[1]), 3); print('held', flush=True); time.sleep(900)"
    with started(sys.executable, "-c", hold, str(machine.path)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with machine.open() as second:
            assert second._path.name == "dialled.2"
        child.kill()
        child.wait()
    with machine.open() as third:
        assert third._path.name == "dialled"


def test_more_processes_than_there_are_files_are_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial_count, "FILES_MAX", 2)
    with machine.open(), machine.open(), pytest.raises(UserError, match="E-DIAL-03"):
        machine.open()


async def test_what_was_handed_out_is_on_disk_before(machine: Machine) -> None:
    with machine.open() as kept:
        assert await kept.keep(Spent(0.0, "call", 0.2))
        assert b" call " in machine.path.read_bytes()


@pytest.mark.parametrize("boot", [BOOT, ""])
async def test_a_clock_that_jumps_back_makes_nothing_older_and_nothing_young_for_ever(
    machine: Machine, boot: str
) -> None:
    machine.boot = boot
    assert await machine.dial(3) == [None, None, None]
    machine.wall -= 10 * 365 * 86400
    machine.pass_s(60)
    assert await machine.dial(1) == ["calls_per_hour"]
    machine.pass_s(1800)
    assert await machine.dial(1) == ["calls_per_hour"]
    machine.pass_s(1801)  # an hour after the first start with the new time
    assert await machine.dial(1) == [None]


async def test_within_a_boot_no_jump_of_the_clock_lifts_a_limit(machine: Machine) -> None:
    assert await machine.dial(3) == [None, None, None]
    machine.wall += 10 * 365 * 86400
    machine.pass_s(60)
    assert await machine.dial(1) == ["calls_per_hour"]
    machine.wall -= 10 * 365 * 86400
    assert await machine.dial(1) == ["calls_per_hour"]
    machine.pass_s(3600)
    assert await machine.dial(1) == [None]


async def test_after_a_boot_the_wall_clock_tells_the_age(machine: Machine) -> None:
    assert await machine.dial(3) == [None, None, None]
    machine.boot = "0" * 7 + "2"
    machine.monotonic = 20.0
    machine.wall += 90
    assert await machine.dial(1) == ["calls_per_hour"]
    machine.pass_s(3600)
    assert await machine.dial(1) == [None]


async def test_torn_and_strange_lines_are_no_lines(machine: Machine) -> None:
    assert await machine.dial(2) == [None, None]
    data = bytearray(machine.path.read_bytes())
    width = dial_count._WIDTH
    data[width * 2 : width * 3] = data[:width][:50] + b"\0" * (width - 50)  # half of a line
    data[width * 3 : width * 4] = data[:width].replace(b" call ", b" text ")  # a wrong sum
    data[width * 4 :] = data[width * 4 :][: -width // 2]  # cut
    machine.path.write_bytes(data)
    assert await machine.dial(2) == [None, "calls_per_hour"]
    machine.path.write_bytes(b"")
    assert await machine.dial(4) == [None, None, None, "calls_per_hour"]
    machine.path.write_bytes(os.urandom(100_000))
    assert await machine.dial(4) == [None, None, None, "calls_per_hour"]


async def fill(kept: DialCount, count: int) -> None:
    entries = (kept.keep(Spent(0.0, "call", 0.2)) for _ in range(count))
    assert all(await asyncio.gather(*entries))


async def test_the_file_does_not_grow_and_loses_nothing_of_the_hour(machine: Machine) -> None:
    size = 0
    for round_ in range(5):
        with machine.open(600) as kept:
            assert len(kept.earlier(machine.monotonic)) == (0 if round_ == 0 else 600)
            await fill(kept, 600)
            size = size or machine.path.stat().st_size
        assert machine.path.stat().st_size == size
        machine.pass_s(3000)
        with machine.open(600) as kept:
            assert len(kept.earlier(machine.monotonic)) == 600
        machine.pass_s(599)
    with machine.open(5000) as kept:
        assert len(kept.earlier(machine.monotonic)) == 600
        await fill(kept, 4000)
    with machine.open(10) as kept:
        assert len(kept.earlier(machine.monotonic)) == 4600


async def test_a_full_disk_stops_nothing_and_a_broken_one_stops_dials(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machine.open() as kept:
        policy = DialPolicy(DialRules(), keep=kept)
        size = machine.path.stat().st_size
        assert await policy.check("call", ALLOWED, 0.0) is None
        assert machine.path.stat().st_size == size, "its space was taken beforehand"

        def broken(*_: object) -> int:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "pwrite", broken)
        assert await policy.check("call", ALLOWED, 0.0) == DialRefusal.NOT_COUNTED
        assert await policy.begin_transfer("CA1", ALLOWED, 0.0) == DialRefusal.NOT_COUNTED
        monkeypatch.undo()
        assert await policy.check("call", ALLOWED, 0.0) is None


async def test_a_disk_that_hangs_holds_nobody_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial_count, "KEEP_S", 0.05)
    hung = machine.open()  # nobody runs its thread
    policy = DialPolicy(DialRules(), keep=hung)
    assert await policy.check("call", ALLOWED, 0.0) == DialRefusal.NOT_COUNTED
    os.close(hung._fd)


async def test_what_was_read_too_late_is_told_at_the_next_look(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the dials of another process would never count here."""
    begun, goes_on = threading.Event(), threading.Event()
    read = Path.read_bytes

    def slow(path: Path) -> bytes:
        begun.set()
        goes_on.wait()
        return read(path)

    with machine.open() as here, machine.open() as other:
        assert await other.keep(Spent(0.0, "call", 1.0))
        monkeypatch.setattr(Path, "read_bytes", slow)
        async with asyncio.TaskGroup() as group:
            look = group.create_task(here.news(0.0))
            await until(begun.is_set)
            look.cancel()  # as by its time limit
        goes_on.set()
        assert [spent.kind for spent in await here.news(0.0)] == ["call"]
        assert await here.news(0.0) == [], "once"


async def test_a_file_that_cannot_be_read_does_not_hide_another(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def broken(path: Path) -> bytes:
        if path.name == "dialled.3":
            raise OSError(5, "Input/output error")
        return read(path)

    with machine.open() as here, machine.open() as second, machine.open() as third:
        for other in (second, third):
            assert await other.keep(Spent(0.0, "call", 1.0))
        monkeypatch.setattr(Path, "read_bytes", broken)
        with pytest.raises(OSError, match="Input/output"):
            await here.news(0.0)
        monkeypatch.undo()
        assert len(await here.news(0.0)) == 2


async def test_limits_of_one_call_and_one_number_survive_too(machine: Machine) -> None:
    rules = DialRules(texts_per_call=2, texts_per_number=3)

    async def text(sid: str, to: str = ALLOWED) -> str | None:
        with machine.open() as kept:
            policy = DialPolicy(rules, earlier=kept.earlier(machine.monotonic), keep=kept)
            refused = await policy.check("text", to, machine.monotonic, call_sid=sid)
            return None if refused is None else refused.slug

    assert [await text("CA1") for _ in range(3)] == [None, None, "texts_of_call"]
    assert [await text("CA2") for _ in range(2)] == [None, "texts_of_number"]
    assert await text("CA2", "+12025550143") is None

    async def transfer() -> str | None:
        with machine.open() as kept:
            policy = DialPolicy(DialRules(), earlier=kept.earlier(machine.monotonic), keep=kept)
            refused = await policy.begin_transfer("CA3", ALLOWED, machine.monotonic)
            return None if refused is None else refused.slug

    assert [await transfer() for _ in range(6)] == [*[None] * 5, "transfers_of_call"]


async def test_an_entry_tells_neither_number_nor_call(machine: Machine) -> None:
    sid = "CA" + "1" * 32
    with machine.open() as kept:
        policy = DialPolicy(DialRules(), keep=kept)
        assert await policy.check("text", ALLOWED, 0.0, call_sid=sid) is None
    data = machine.path.read_bytes().decode()
    assert ALLOWED[1:] not in data
    assert sid[2:] not in data
    assert len(number_tag(ALLOWED)) * 4 == 20
    assert len(call_tag(sid)) * 4 == 48


def test_a_file_that_cannot_be_is_said_at_start(tmp_path: Path) -> None:
    (tmp_path / "dialled").mkdir()
    with pytest.raises(UserError, match="E-DIAL-03"):
        DialCount(tmp_path / "dialled", 10)
