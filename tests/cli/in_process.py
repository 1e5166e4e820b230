"""Commands in the process of a test: a process of their own takes half a second of CPU more."""

import asyncio
import contextlib
import io
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from offhook.cli import main
from offhook.serving import call_process, supervisor
from offhook.serving.options import ServeOptions, process_command
from offhook.serving.running import exit_code
from offhook.serving.service_manager import ServiceManager

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


async def run_offhook(folder: Path, *arguments: str, **environ: str) -> Ended:
    """Run a command while the loop of the test goes on, such as that of the server it asks."""
    return await asyncio.to_thread(offhook, folder, *arguments, **environ)


def refused_start(folder: Path, *arguments: str, **environ: str) -> Ended:
    """Run `offhook serve`, whose call process must refuse to start, without starting a process."""

    def supervise(options: ServeOptions, _: ServiceManager, listening: int | None) -> int:
        reading, writing = os.pipe()
        given = {"control": reading, "life": writing, "listening": listening, "is_first": 1}
        text = process_command(call_process.__name__, options, given)[-1]
        try:
            return exit_code(lambda: call_process.main(text, os.environ))
        finally:
            os.close(reading)
            os.close(writing)

    before = signal.getsignal(signal.SIGTTOU)
    try:
        with (
            mock.patch.object(supervisor, "supervise", supervise),
            mock.patch.object(call_process, "ControlPipe"),
            mock.patch.object(call_process, "CallServing", side_effect=AssertionError("it starts")),
        ):
            return offhook(folder, "serve", *arguments, **environ)
    finally:
        signal.signal(signal.SIGTTOU, before)
