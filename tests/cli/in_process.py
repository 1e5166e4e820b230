"""Commands in the process of a test: a process of their own takes half a second of CPU more."""

import contextlib
import io
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from offhook.cli import main

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("DEEPGRAM", "TWILIO", "OFFHOOK"))}


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def offhook(folder: Path, *arguments: str, **environ: str) -> Ended:
    """Run a command as a user does, in a folder and without a terminal, but in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, CLEAN | {"TZ": "UTC", "COLUMNS": "200"} | environ, clear=True),
        mock.patch.object(sys, "argv", ["offhook", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        time.tzset()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    time.tzset()
    return Ended(code, out.getvalue(), err.getvalue())
