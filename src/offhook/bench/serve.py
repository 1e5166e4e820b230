"""`offhook serve` under test, as users run it: its processes, its record, its configuration."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from offhook import yamlfile
from offhook.bench.child import HOST
from offhook.bench.load import sockets
from offhook.twilio.signature import HEADER, sign

START_S: Final = 60.0
"""Seconds in which a server must answer its first upgrade."""

DATABASE: Final = "offhook.db"
_RECORDS: Final = "offhook-data"
_OURS: Final = ("OFFHOOK_", "DEEPGRAM_", "TWILIO_")
"""Beginnings of the names of variables that say which accounts and which record are used."""

RECORDED_AGENT: Final = """
recording: true
announcement: This call is recorded.
settings:
  listen: {provider: {type: deepgram, model: nova-3}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
"""


class Roles(NamedTuple):
    """The processes of a bridge: the one that carries calls, and those beside it."""

    call: int
    beside: tuple[int, ...] = ()


@dataclass(frozen=True)
class ServeSetup:
    """A server's configuration, written to a folder of its own."""

    folder: Path
    token: str = field(repr=False)
    port: int

    @property
    def records(self) -> Path:
        """The folder of its record."""
        return self.folder / _RECORDS

    @property
    def config(self) -> Path:
        """Path of the server's offhook.yaml."""
        return self.folder / "offhook.yaml"

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the server: no accounts and no record but those of the run."""
        kept = {name: value for name, value in base.items() if not name.startswith(_OURS)}
        keys = {"DEEPGRAM_API_KEY": "loopback", "TWILIO_AUTH_TOKEN": self.token}
        return kept | keys | {"OFFHOOK_API_TOKEN": self.token}

    def roles(self, supervisor: int) -> Roles:
        """Return the processes of the server, which tell of themselves in files of the record."""
        told = [_told(path) for path in self.records.glob("journal/*/process.json")]
        living = [one for one in told if _lives(int(one.get("pid", 0)))]
        newest = max(living, key=lambda one: int(one.get("started_ms", 0)), default={})
        call = int(newest.get("pid", supervisor))
        operator = int(_told(self.records / "operator.json").get("pid", supervisor))
        return Roles(call, tuple(sorted({supervisor, operator} - {call})))

    def operator_port(self) -> int | None:
        """Return the port of the operator's listener; None before it listens."""
        url = _told(self.records / "operator.json").get("url")
        return None if url is None else urlsplit(url).port

    async def until_answered(self, is_over: Callable[[], bool]) -> float:
        """Return the moment (perf_counter) when a signed upgrade was answered. Raises TimeoutError.

        Raises RefusedError when the process is over before.
        """
        signature = f"{HEADER}: {sign(self.token, f'wss://{HOST}/twilio')}"
        async with asyncio.timeout(START_S):
            while not is_over():
                try:
                    opened, _ = await sockets.upgrade(self.port, signature)
                except sockets.RefusedError:
                    await asyncio.sleep(0.005)
                    continue
                answered = time.perf_counter()
                opened.discard()
                return answered
        raise sockets.RefusedError("the server ended")

    async def until_complete(self, supervisor: int) -> None:
        """Wait until the operator process listens, if there is one. Raises TimeoutError."""
        async with asyncio.timeout(START_S):
            while self.roles(supervisor).call != supervisor and self.operator_port() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # it writes a file


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def set_up(
    folder: Path,
    config: Path | None,
    capacity: int,
    *,
    recorded: bool,
    database_url: str | None = None,
) -> ServeSetup:
    """Write the configuration of a server: the user's own, with the addresses of the run.

    With `recorded` an agent of ours answers, whose calls are recorded. Without `database_url` the
    record is in SQLite, in the folder.
    """
    setup = ServeSetup(folder, secrets.token_hex(16), free_port())
    document = {} if config is None else dict(_plain(yamlfile.read(config).value) or {})
    home = Path() if config is None else config.resolve().parent
    document["server"] = {"capacity": capacity, "operator_listen": f"{HOST}:0"}
    document.pop("twilio", None)
    kept = {k: v for k, v in document.get("records", {}).items() if k in ("prices", "redact")}
    where = {} if database_url is None else {"database": database_url}
    document["records"] = kept | where | {"folder": _RECORDS}
    if "lines" in document:
        document["lines"] = {k: str(home / v) for k, v in document["lines"].items()}
    if "agents" in document.get("outbound", {}):
        document["outbound"]["agents"] = [str(home / v) for v in document["outbound"]["agents"]]
    if recorded:
        (folder / "recorded.yaml").write_text(RECORDED_AGENT)
        document["lines"] = {"default": "recorded.yaml"}
    setup.records.mkdir(mode=0o700, exist_ok=True)
    setup.config.write_text(json.dumps(document))
    return setup


def command(setup: ServeSetup, executable: str, agent_url: str) -> list[str]:
    """Return the command that starts the server."""
    options = ["--config", str(setup.config), "--deepgram-url", agent_url]
    return [executable, "-m", "offhook", "serve", *options, "--host", HOST, f"--port={setup.port}"]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _told(path: Path) -> dict[str, Any]:
    """Return what a process says of itself; nothing when it has said nothing yet."""
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(path.read_text())
        if isinstance(told, dict):
            return told
    return {}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return pid > 0
