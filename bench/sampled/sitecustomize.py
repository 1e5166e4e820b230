"""A sampling profiler in the call process, for bench/churn.py: its folder is on PYTHONPATH.

Python imports a module of this name as it starts. Every TICK_S the stack of the main thread is
given the CPU time that the thread has used since the tick before; at the end of the process these
times, in ns, are written to CHURN_SAMPLES, as JSON. The ticks are the wall clock's: those of CPU
time come with the kernel's own tick, of 4 ms, and miss short bursts.
"""

import atexit
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

TICK_S = 0.002
"""Seconds between two samples."""


def begin(folder: Path) -> None:
    """Take stacks from now on; write them when the process ends."""
    spent_ns: dict[str, int] = {}
    last_ns = 0

    def take(number: int, frame: FrameType | None) -> None:
        nonlocal last_ns
        now_ns = time.thread_time_ns()
        stack = []
        while frame is not None:
            code = frame.f_code
            stack.append(f"{code.co_filename.rpartition('/offhook/')[2]}:{code.co_name}")
            frame = frame.f_back
        key = ";".join(stack)
        spent_ns[key] = spent_ns.get(key, 0) + now_ns - last_ns
        last_ns = now_ns

    def write() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        (folder / f"{os.getpid()}.json").write_text(json.dumps(spent_ns), "utf-8")

    signal.signal(signal.SIGALRM, take)
    signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
    atexit.register(write)


if "CHURN_SAMPLES" in os.environ and "offhook.serving.call_process" in " ".join(sys.orig_argv):
    begin(Path(os.environ["CHURN_SAMPLES"]))
