"""Resources and cores of another process, read from outside: all bridges are measured alike."""

import os
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from offhook.errors import UserError

_PAGE: Final = 4096 if sys.platform == "win32" else os.sysconf("SC_PAGE_SIZE")

_PROC: Final = Path("/proc/self/statm")
"""A file of Linux, which tells of processes without a program."""

_STAT: Final = Path("/proc/stat")
_TICK_NS: Final = 0 if sys.platform == "win32" else 1_000_000_000 // os.sysconf("SC_CLK_TCK")

PINS: Final = hasattr(os, "sched_setaffinity")
"""True if this system can keep a process on a core."""


class ProcessUsage(msgspec.Struct, frozen=True):
    """Resources that a bridge has used. Memory in bytes; 0 where the system does not tell."""

    at_ns: int
    cpu_ns: int
    """CPU time of the process that carries the calls, in ns: user and system, all threads."""
    beside_ns: int
    """CPU time of the bridge's other processes, in ns."""
    rss: int
    """Resident memory of the process that carries the calls."""
    machine_ns: int
    """CPU time of this machine that was not idle, less this process's own, in ns.

    Only differences mean something."""


def usage_of(pid: int, beside: Collection[int]) -> ProcessUsage:
    """Return what a bridge has used: the process that carries its calls, and those beside it."""
    return ProcessUsage(
        at_ns=time.perf_counter_ns(),
        cpu_ns=cpu_ns(pid),
        beside_ns=sum(cpu_ns(other) for other in beside),
        rss=rss(pid),
        machine_ns=machine_ns(),
    )


def require_known_system() -> None:
    """Raise UserError E-BENCH-07 where other processes cannot be measured."""
    if sys.platform == "win32":
        raise UserError(
            "E-BENCH-07",
            "This system does not tell what another process uses.",
            "Run offhook bench on Linux or macOS, or in WSL.",
        )


def cpu_ns(pid: int) -> int:
    """Return the CPU time of a process in ns; 0 when it is over."""
    if _PROC.exists():
        try:
            # The clock of a process's CPU time: clock_getcpuclockid(3), which Python lacks.
            return time.clock_gettime_ns(~pid << 3 | 2)
        except OSError:
            return 0
    text = _told_by_ps(pid, "time")
    seconds = 0.0
    for part in text.replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part or 0)
    return int(seconds * 1e9)


def rss(pid: int) -> int:
    """Return the resident memory of a process in bytes; 0 when it is over."""
    if not _PROC.exists():
        return int(_told_by_ps(pid, "rss") or 0) * 1024
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def machine_ns() -> int:
    """Return the CPU time of this machine that was not idle, less this process's own; 0: not known.

    In ns; only differences mean something. Idle time is exact where the kernel stops its tick then,
    while a program that runs between two ticks is in no count of used time. What a hypervisor took
    for other machines is not idle either.
    """
    if not _PROC.exists():
        return 0
    first, *lines = _STAT.read_text().splitlines()
    cores = sum(line.startswith("cpu") for line in lines)
    idle, waiting = map(int, first.split(maxsplit=6)[4:6])
    busy = cores * time.monotonic_ns() - (idle + waiting) * _TICK_NS
    return busy - time.process_time_ns()


def pin(pid: int, cores: Collection[int]) -> None:
    """Keep every thread of a process on some cores, where the system can."""
    if not PINS:
        return
    try:
        threads = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return
    for thread in threads:
        try:
            os.sched_setaffinity(thread, cores)
        except OSError:  # the thread is over
            continue


def _told_by_ps(pid: int, what: str) -> str:
    command = ["/bin/ps", "-o", f"{what}=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()
