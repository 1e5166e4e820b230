"""One run of the tests: its folder, its processes, and what is told meanwhile.

A run is one process, or one that gives work to others (pytest-xdist). The first one makes the
folder; all others find it in their environment.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests import sweeper

_PREFIX = "offhook-tests-"

KEPT = 2
"""How many folders of failed runs stay."""

SILENT_S = 30.0
"""How long a run may tell nothing before it tells which tests it is waiting for."""


def folder() -> Path | None:
    """Return the folder of the run that this process belongs to."""
    found = os.environ.get(sweeper.VARIABLE)
    return None if found is None else Path(found)


class Run:
    """The run that this first process begins, before anything else is started."""

    def __init__(self) -> None:
        _remove_old()
        # Short: the sockets of PostgreSQL lie within, and a path of theirs has 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
        self.folder.chmod(0o711)  # PostgreSQL runs as another user when the tests run as root
        os.environ[sweeper.VARIABLE] = os.environ["TMPDIR"] = str(self.folder)
        # Without bytecode every server that a test starts would compile all that it imports.
        if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
            sys.dont_write_bytecode = False
            sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = f"{sys.prefix}/bytecode"
        tempfile.tempdir = None  # it is asked of the environment again
        self._sweeper = subprocess.Popen(
            [sys.executable, sweeper.__file__, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder.parent,
            env={k: v for k, v in os.environ.items() if k not in (sweeper.VARIABLE, "TMPDIR")},
            start_new_session=True,  # Ctrl-C is for the tests
        )

    def end(self, *, keep: bool) -> list[str]:
        """End what still runs, and return it: one line a process. Remove the folder, or keep it."""
        if keep:
            (self.folder / sweeper.KEEP).touch()
        left, _ = self._sweeper.communicate()
        return left.splitlines()


def _remove_old() -> None:
    """Remove what failed runs have left, except that of the last ones."""
    kept = []
    for mark in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{sweeper.KEEP}"):
        with contextlib.suppress(OSError):  # another run removes it at this moment
            kept.append((mark.stat().st_mtime, mark.parent))
    for _, old in sorted(kept)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


class Progress:
    """Tells which tests a run is waiting for when nothing else was told for a while."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._began: dict[str, float] = {}
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Tell nothing any more."""
        self._over.set()
        self._thread.join()

    def began(self, test: str) -> None:
        """Note that a test began."""
        with self._lock:
            self._began[test] = time.monotonic()

    def told(self, test: str | None = None) -> None:
        """Note that something was told, and the test that is over with it."""
        with self._lock:
            self._last = time.monotonic()
            if test is not None:
                self._began.pop(test, None)

    def _run(self) -> None:
        while not self._over.wait(1.0):
            now = time.monotonic()
            with self._lock:
                if now - self._last < SILENT_S or not self._began:
                    continue
                self._last = now
                running = sorted(self._began.items(), key=lambda one: one[1])
            self._tell(", ".join(f"{test} ({now - at:.0f} s)" for test, at in running[:8]))
