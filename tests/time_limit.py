"""The limit of a test's time: what hangs is named, with the stacks of its threads and tasks.

The limit ends hangs and nothing else, so it is far above what a test takes on a busy machine. It
holds until the test's fixtures are torn down, also after a failure: that is where a loop hangs that
cannot be closed.
"""

import asyncio
import contextlib
import faulthandler
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import psutil

NATIVE_S = 15.0
"""How long this thread may be kept from the interpreter, after which C code does its work."""


class TimeLimit:
    """Ends this process when a test takes too long. What it was doing goes to the file `path`."""

    def __init__(self, path: Path, before_exit: Callable[[str], None]) -> None:
        self._path = path
        self._file: TextIO = path.open("w+")
        self._before_exit = before_exit
        self._changed = threading.Condition()
        self._test = ""
        self._seconds = 0.0
        self._number = 0
        threading.Thread(target=self._run, name="time limit", daemon=True).start()

    def begin(self, test: str, seconds: float) -> None:
        """Give a test so many seconds."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"{test} took more than its limit of {seconds:.0f} s\n\n")
        self._file.flush()
        # For a thread that keeps the interpreter to itself while it hangs.
        faulthandler.dump_traceback_later(seconds + NATIVE_S, file=self._file, exit=True)
        with self._changed:
            self._test, self._seconds = test, seconds
            self._number += 1
            self._changed.notify()

    def end(self) -> None:
        """Note that the test and its fixtures are over."""
        faulthandler.cancel_dump_traceback_later()
        with self._changed:
            self._number += 1
            self._changed.notify()

    def _run(self) -> None:
        # A test is under way while the number is odd.
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._number % 2 == 1)
                number = self._number
                if not self._changed.wait_for(lambda: self._number != number, self._seconds):  # noqa: B023
                    break
        self._write_stacks()
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process().children(recursive=True):
                child.kill()
        self._before_exit(self._path.read_text())
        os._exit(1)

    def _write_stacks(self) -> None:
        faulthandler.dump_traceback(self._file, all_threads=True)
        for task in [found for found in gc.get_objects() if isinstance(found, asyncio.Task)]:
            if not task.done():
                self._file.write("\n")
                task.print_stack(file=self._file)
        self._file.flush()
