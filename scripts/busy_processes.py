"""Processes that keep the processor busy beside what is measured."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

_BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:
    sum(range(1_000_000))
"""


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep as many cores busy. The processes end with this one, however it ends."""
    beside = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()
