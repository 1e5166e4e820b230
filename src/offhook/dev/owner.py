"""A process that runs one command, and ends it when its own parent process ends.

It is run as `python -m offhook.dev.owner COMMAND…`, with a pipe as its standard input. The end of
the pipe is the end of its owner, even of one that was killed: the command is then ended, within
some seconds. SIGTERM is passed on. Everything here is of Python's standard library.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

SECOND_S: Final = 1.0
"""Seconds until a command that SIGTERM has not ended gets another one, which hastens most."""

KILL_S: Final = 15.0
"""Seconds from there until it is killed."""

NOT_STARTED: Final = 127


class _Command:
    """The command, and the signals that have come for it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_told = False

    def run(self, command: Sequence[str]) -> int:
        """Run the command to its end; return its exit code, negative for a signal."""
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603
        except OSError as error:
            sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
            return NOT_STARTED
        if self._is_told:
            self._process.terminate()
        threading.Thread(target=self._end_with_owner, name="owner", daemon=True).start()
        return self._process.wait()

    def tell(self, number: int, frame: object) -> None:
        """Pass on SIGTERM."""
        self._is_told = True
        if self._process is not None:
            self._process.terminate()

    def _end_with_owner(self) -> None:
        """Wait for the end of the owner, and end the command."""
        process = self._process
        assert process is not None  # it is started first
        with suppress(OSError):
            while os.read(0, 4096):  # sys.stdin's buffer has a lock that this thread would keep
                pass
        for seconds in (SECOND_S, KILL_S):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                return
        process.kill()


def main(command: Sequence[str]) -> int:
    """Run a command; return the exit code by which a shell would tell its end."""
    owned = _Command()
    signal.signal(signal.SIGTERM, owned.tell)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = owned.run(command)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
