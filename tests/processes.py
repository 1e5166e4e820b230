"""Processes that tests start, ended on every path."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command beside the test, which reads what it prints. Kill it if it still runs."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
