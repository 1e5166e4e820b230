"""End the processes of a test run, and remove its folder, once its first process is gone.

    python tests/sweeper.py FOLDER     # runs until its standard input is closed

The first process of a run (tests/running.py) holds the other end of standard input. The kernel
closes it on every path, also when that process is killed. What still runs then is ended, and
printed: one process a line.
"""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

VARIABLE = "TEST_RUN_FOLDER"
"""In the environment of each process of a run: its folder."""

POSTGRES = "postgres"
"""In the folder of a run: the PostgreSQL that its workers share, which is stopped here."""

KEEP = "keep"
"""A file that keeps the folder: tests failed, and somebody may want to look."""

STOP_S = 20.0


def main() -> None:
    folder = sys.argv[1]
    sys.stdin.buffer.read()
    _stop_postgres(Path(folder, POSTGRES, "data"))
    for process in list(_processes_of(folder)):
        with contextlib.suppress(psutil.Error):
            told = " ".join(process.cmdline())[:300]
            process.kill()
            _tell(f"{process.pid} {told}")
    psutil.wait_procs(_processes_of(folder), STOP_S)
    if not Path(folder, KEEP).exists():
        shutil.rmtree(folder, ignore_errors=True)


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # where the first process was killed nobody reads
        print(line, flush=True)


def _stop_postgres(data: Path) -> None:
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        postmaster = psutil.Process(pid)
        if str(data) in postmaster.cmdline():
            everyone = [postmaster, *postmaster.children(recursive=True)]
            postmaster.send_signal(signal.SIGINT)  # which is a fast shutdown
            psutil.wait_procs(everyone, STOP_S)


def _processes_of(folder: str) -> Iterator[psutil.Process]:
    """Yield the run's processes, except this one and those that started it."""
    mine = psutil.Process()
    spared = {mine.pid, *(parent.pid for parent in mine.parents())}
    for process in psutil.process_iter():
        if process.pid not in spared and _is_of(process, folder):
            yield process


def _is_of(process: psutil.Process, folder: str) -> bool:
    """Tell by the environment, or by an argument where a server has changed its environment."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(VARIABLE) == folder:
            return True
    except (psutil.Error, OSError):
        pass
    try:
        return any(folder + os.sep in argument for argument in process.cmdline())
    except (psutil.Error, OSError):
        return False


if __name__ == "__main__":
    main()
