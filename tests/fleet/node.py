"""One node of a fleet: a real `offhook serve` in a folder of its own."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx2
import psutil
from tests.cli.served import CLEAN
from tests.waiting import GIVEN_UP_AFTER_S, until, until_it

PORT: Final = 5000
OPERATOR_PORT: Final = 5001
NODE_PORT: Final = 5002
COMMAND: Final = (sys.executable, "-m", "offhook", "serve")


class FleetNode:
    """A node, its processes, and what can be done to them. It is started by `start`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        address: str,
        environ: Mapping[str, str],
        prefix: Sequence[str] = (),
    ) -> None:
        self.name: Final = name
        self.folder: Final = folder
        self.address: Final = address
        self.process: asyncio.subprocess.Process | None = None
        self._environ = dict(environ)
        self._prefix = prefix
        self._paused: list[psutil.Process] = []

    # --- where it is ---

    @property
    def netloc(self) -> str:
        """Host and port of its public listener."""
        return f"{self.address}:{PORT}"

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"

    @property
    def operator_url(self) -> str:
        return f"http://{self.address}:{OPERATOR_PORT}"

    @property
    def data(self) -> Path:
        return self.folder / "offhook-data"

    @property
    def log(self) -> str:
        """What it said on its stderr, in all of its runs."""
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    # --- its processes ---

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def processes(self) -> list[psutil.Process]:
        """Return the supervisor and all of its processes."""
        if self.process is None:
            return []
        with contextlib.suppress(psutil.Error):
            supervisor = psutil.Process(self.process.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        return []

    def pids(self, kind: str) -> list[int]:
        """Return the ids of its `call` or `operator` processes, the oldest first."""
        found = []
        for one in self.processes()[1:]:
            with contextlib.suppress(psutil.Error):
                if f"offhook.serving.{kind}_process" in one.cmdline():
                    found.append((one.create_time(), one.pid))
        return [pid for _, pid in sorted(found)]

    async def start(self) -> None:
        """Start it, and wait until it takes calls."""
        await self.launch()
        await self.until_ready()

    async def launch(self) -> None:
        """Start it, without waiting."""
        assert not self.is_running
        (self.data / "operator.json").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._prefix, *COMMAND, cwd=self.folder, env=CLEAN | self._environ, stderr=log
            )

    async def ask(self, path: str) -> httpx2.Response | None:
        """Return the answer to `/readyz` or `/healthz`; None if nothing answers."""
        async with httpx2.AsyncClient(
            trust_env=False,
            verify=False,
            timeout=GIVEN_UP_AFTER_S,  # it speaks plain HTTP
        ) as http:
            try:
                return await http.get(self.url + path, headers={"Host": "localhost"})
            except httpx2.TransportError:
                return None

    async def until_ready(self) -> None:
        """Wait until it takes calls, and its operator's listener answers."""
        told = self.data / "operator.json"

        async def is_ready() -> bool:
            assert self.is_running, f"node {self.name} has ended: {self.log[-3000:]}"
            answer = await self.ask("/readyz")
            if answer is None or answer.status_code != 200 or not told.exists():
                return False
            return str(answer.json()["records"]).startswith("ok")

        await until_it(is_ready)

    def kill(self) -> None:
        """Kill all of its processes at once, without a chance to say anything."""
        for one in self.processes():
            with contextlib.suppress(psutil.Error):
                one.kill()

    async def killed(self) -> None:
        """Kill all of its processes, and wait until they are gone."""
        self.kill()
        if self.process is not None:
            await self.process.wait()

    def pause(self) -> None:
        """Stop the time of all of its processes (SIGSTOP)."""
        self._paused = self.processes()
        for one in self._paused:
            one.suspend()

    def wake(self) -> None:
        """Let its processes go on (SIGCONT)."""
        for one in self._paused:
            with contextlib.suppress(psutil.Error):
                one.resume()
        self._paused = []

    def terminate(self) -> None:
        """Ask it to drain and end (SIGTERM)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def reload(self) -> None:
        """Ask it for a new call process beside the present one (SIGHUP)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    async def ended(self) -> int:
        """Wait until it has ended, and return its exit code."""
        assert self.process is not None
        async with asyncio.timeout(GIVEN_UP_AFTER_S):
            return await self.process.wait()

    async def stop(self) -> int:
        """Have it drain and end; return its exit code."""
        self.terminate()
        return await self.ended()

    async def until_logged(self, words: str, times: int = 1) -> None:
        """Wait until it has said something."""
        await until(lambda: self.log.count(words) >= times)


def bytecode() -> dict[str, str]:
    """Return an environment in which not each start compiles all that it imports."""
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{sys.prefix}/bytecode"}
