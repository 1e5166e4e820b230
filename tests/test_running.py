"""What a run of the tests leaves behind: nothing, however it ends. And what hangs is named."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests import running, sweeper
from tests.order import BROWSERS, long_ones_first
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]

LEAVES_A_PROCESS = """
import asyncio

async def test_fails_before_it_ends_its_process():
    await asyncio.create_subprocess_exec("sleep", "600")
    assert False

async def test_leaves_a_process():
    await asyncio.create_subprocess_exec("sleep", "600")
"""
HANGS = """
import asyncio, subprocess, pytest

@pytest.mark.limit(3)
async def test_hangs():
    subprocess.Popen(["sleep", "600"])

    async def waits_for_ever():
        await asyncio.get_running_loop().create_future()

    await asyncio.create_task(waits_for_ever())
"""
IS_KILLED = """
import subprocess, tempfile, time
from pathlib import Path

def test_waits(postgres):
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(tempfile.gettempdir(), "ready").touch()
    time.sleep(600)
"""


@pytest.fixture
def suite() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a run of the tests that a text has, as a file among ours."""
    with tempfile.TemporaryDirectory(prefix="suite_", dir=ROOT / "tests") as folder:

        def start(text: str, *arguments: str) -> subprocess.Popen[str]:
            Path(folder, "test_it.py").write_text(text)
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", folder, *arguments],
                cwd=ROOT,
                env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

        yield start


def runs_within() -> list[Path]:
    """Return the folders of runs that were begun within this one."""
    folder = running.folder()
    assert folder is not None
    return list(folder.glob("offhook-tests-*"))


def processes_of(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(sweeper.VARIABLE) == str(folder):
                found.append(process.name())
        except (psutil.Error, OSError):
            pass
    return found


@pytest.mark.long
def test_a_process_that_is_left_is_ended_and_a_test_that_hangs_is_named(
    suite: Callable[..., subprocess.Popen[str]],
) -> None:
    with suite(LEAVES_A_PROCESS + HANGS, "-n", "1") as run:
        output, _ = run.communicate()
    assert run.returncode == 1, output
    assert "the test left 1 processes running" in output
    assert "2 failed, 1 passed, 2 errors" in output
    assert "test_it.py::test_hangs took more than its limit of 3 s" in output
    assert "in waits_for_ever" in output
    (kept,) = re.findall(r"What the tests wrote is in (\S+);", output)
    assert processes_of(Path(kept)) == []


def test_a_test_that_hangs_is_named_where_one_process_does_all(
    suite: Callable[..., subprocess.Popen[str]],
) -> None:
    with suite(HANGS) as run:
        output, _ = run.communicate()
    assert run.returncode == 1, output
    assert "test_it.py::test_hangs took more than its limit of 3 s" in output
    assert "in waits_for_ever" in output


def test_a_run_that_is_killed_leaves_no_process_and_no_folder(
    suite: Callable[..., subprocess.Popen[str]],
) -> None:
    before = set(runs_within())
    with suite(IS_KILLED, "-n", "1") as run:
        wait_until(lambda: any((one / "ready").exists() for one in set(runs_within()) - before))
        (folder,) = [one for one in set(runs_within()) - before if (one / "ready").exists()]
        assert "sleep" in processes_of(folder)
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not folder.exists())
    assert processes_of(folder) == []


def test_of_failed_runs_the_last_two_folders_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as here:
        monkeypatch.setattr(tempfile, "tempdir", here)
        for number in range(5):
            folder = Path(here, f"offhook-tests-{number}")
            folder.mkdir()
            (folder / sweeper.KEEP).touch()
            os.utime(folder / sweeper.KEEP, (number, number))
        Path(here, "offhook-tests-live").mkdir()
        running._remove_old()
        assert sorted(path.name[14:] for path in Path(here).iterdir()) == ["3", "4", "live"]


@pytest.mark.parametrize("workers", [1, 2, 5, 60])
def test_every_worker_begins_with_its_share_of_the_long_tests(workers: int) -> None:
    long, others = [f"long {n}" for n in range(7)], [f"short {n}" for n in range(100)]
    browsing = [f"page {n}" for n in range(3)]
    ordered = long_ones_first(long, browsing, others, workers)
    assert sorted(ordered) == sorted(long + browsing + others)
    for tests in (long, browsing, others):
        assert [test for test in ordered if test in tests] == tests
    begin, shares, browsers = 0, [], []
    for worker in range(workers):
        part = ordered[begin : begin + (len(ordered) - begin) // (workers - worker)]
        begin += len(part)
        shares.append(sum(test in long for test in part))
        assert all(test in long for test in part[: shares[-1]])
        pages = [at for at, test in enumerate(part) if test in browsing]
        if pages:
            browsers.append(worker)
            assert pages[0] == shares[-1], "right behind the long ones"
            assert pages == list(range(pages[0], pages[0] + len(pages)))
    assert browsers == list(range(len(browsers)))
    assert len(browsers) <= BROWSERS or workers == 60, "there are too few others"
    assert sum(shares) == 7
    assert max(shares) - min(shares) <= 1
