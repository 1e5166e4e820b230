"""`offhook serve` as processes: how tests start one, find its processes, and end it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from tests import migrated
from tests.waiting import until
from tests.whole_server import ACCOUNT, ASK, GREET, HANG_UP, QUICK, TOKEN, caller

from offhook.clock import LoopClock
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.twilio.phone import place_call

COMMAND = [sys.executable, "-m", "offhook", "serve"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("DEEPGRAM", "TWILIO", "OFFHOOK"))}
SECRETS = {"DEEPGRAM_API_KEY": "canary-key", "TWILIO_AUTH_TOKEN": TOKEN}
OPERATOR = ("--operator-listen", "127.0.0.1:0")
"""A port of its own: tests run beside each other."""


class Serving:
    """A server of two processes, its port, and what it says."""

    def __init__(
        self, process: asyncio.subprocess.Process, folder: Path, url: str, banner: str
    ) -> None:
        self.process = process
        self.folder = folder
        self.url = url
        self.said = banner

    @property
    def records(self) -> Path:
        return self.folder / "offhook-data"

    def pids(self, name: str) -> list[int]:
        """Return the process ids of the call processes, or of the operator process."""
        found = []
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.Error):
                    if f"offhook.serving.{name}_process" in child.cmdline():
                        found.append(child.pid)
        return found

    def pid(self, name: str) -> int | None:
        """Return the process id of the `call` or the `operator` process, if it runs."""
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                if f"offhook.serving.{name}_process" in child.cmdline():
                    return child.pid
        return None

    async def until_started(self, name: str, *, other_than: int | None = None) -> int:
        """Wait for a process of that name, other than one that has ended; return its id."""
        # All processes of the machine are looked at, which takes some milliseconds.
        await until(lambda: self.pid(name) not in (None, other_than), every_s=0.1)
        pid = self.pid(name)
        assert pid is not None
        return pid

    async def operator_url(self) -> str:
        """Wait until the operator's listener answers; return its URL."""
        return await operator_url(self.records)

    @property
    def api_token(self) -> str:
        return (self.records / "api-token").read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_token}"}

    async def call(self, *steps: ScenarioStep, **options: Any) -> CallReport:
        return await place(self.url, *steps, **options)

    async def reload(self, times: int = 1) -> int:
        """Have another call process answer; return the id of the one that drains."""
        old = await self.until_started("call")
        self.process.send_signal(signal.SIGHUP)
        await self.until_said("the one before drains", times)
        return old

    async def until_said(self, words: str, times: int = 1) -> None:
        """Wait until the server has said something, on its stderr."""
        await self._until(lambda: self.said.count(words) >= times, words)

    async def until_said_of(self, call_sid: str, words: str) -> None:
        """Wait until the server has said something in a line about a call."""
        line = re.compile(f"^(?=.*{re.escape(words)}).*{call_sid}", re.MULTILINE)
        await self._until(lambda: line.search(self.said), words)

    async def _until(self, said: Callable[[], object], words: str) -> None:
        stderr = self.process.stderr
        assert stderr is not None
        async with asyncio.timeout(240):
            while not said():
                read = await stderr.read(65536)
                assert read, f"the server has ended, and not said {words!r}: {self.said[-3000:]}"
                self.said += read.decode()

    async def end(self) -> int | None:
        async with asyncio.timeout(240):
            _, said = await self.process.communicate()
        self.said += said.decode()
        return self.process.returncode

    async def stop(self) -> int | None:
        self.process.send_signal(signal.SIGTERM)
        return await self.end()


async def place(url: str, *steps: ScenarioStep, **options: Any) -> CallReport:
    """Call the server at a URL, by its webhook."""
    return await place_call(
        url + "/twilio/voice",
        caller(*(steps or (GREET, ASK, GREET, HANG_UP))),
        clock=LoopClock(asyncio.get_running_loop()),
        auth_token=TOKEN,
        account_sid=ACCOUNT,
        from_="+12025550142",
        to="+12025550100",
        **options,
    )


@asynccontextmanager
async def serving(
    folder: Path,
    *arguments: str,
    script: Script = QUICK,
    command: list[str] = COMMAND,
    descriptors: Sequence[int] = (),
) -> AsyncIterator[Serving]:
    """Run `offhook serve` in a folder, and leave no process behind.

    Its database is there, as at every start but the first.
    """
    migrated.put(folder / "offhook-data" / "offhook.db")
    clock = LoopClock(asyncio.get_running_loop())
    standin = await standin_server.serve("127.0.0.1", 0, script, clock)
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--port", "0", "--deepgram-url", standin.url, *OPERATOR, *arguments),
        env=CLEAN | SECRETS,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,  # on a terminal, SIGHUP is no reload
        stderr=asyncio.subprocess.PIPE,
        pass_fds=descriptors,
    )
    made = Serving(process, folder, "", "")
    try:
        await made.until_said("twice ends them.")
        found = re.search(r"answers at (http://127\.0\.0\.1:\d+)", made.said)
        assert found is not None
        made.url = found[1]
        yield made
    finally:
        await ended(process)
        await standin.close()


def killed(process: asyncio.subprocess.Process) -> None:
    """Kill a server with its processes, at once."""
    with suppress(psutil.Error):
        children = psutil.Process(process.pid).children()
        if process.returncode is None:
            process.kill()
        for child in children:
            with suppress(psutil.Error):
                child.kill()


async def operator_url(folder: Path) -> str:
    """Wait until the operator's listener of a data folder answers; return its URL."""
    path = folder / "operator.json"
    found: dict[str, Any] = {}

    def is_announced() -> bool:
        with suppress(FileNotFoundError):
            found.update(json.loads(path.read_text()))
        return bool(found) and psutil.pid_exists(found["pid"])  # one that was killed leaves its own

    await until(is_announced)
    url: str = found["url"]
    return url


async def ended(process: asyncio.subprocess.Process) -> None:
    """Kill a server and its processes, in whatever state they are, and wait for all of them.

    They share the pipes, whose end comes when the last of them has ended.
    """
    killed(process)
    async with asyncio.timeout(240):
        await process.communicate()


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `offhook serve` to its end, which is soon."""
    return run_command([*COMMAND, *OPERATOR, *arguments], folder, environ)


def run_command(
    command: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=CLEAN | dict(environ),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
