"""A real `offhook serve` in a folder of its own, for benches that do something to it."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import psutil
import trustme
from sqlalchemy import Engine, select

from offhook.bench.runner import make_certificate
from offhook.bench.serve import RECORDED_AGENT
from offhook.journal.folders import is_alive, process_folders
from offhook.journal.progress import last_lines, waiting_lines
from offhook.records import database, tables

TOKEN = "0123456789abcdef0123456789abcdef"
PATIENCE_S = 240.0
"""How long anything may take: a bound for what hangs."""

CATCHES_UP_S = 900.0
"""How long the operator process may take for what waits in the journals."""

ENDED_S = 90.0
"""A call that did not come back has its end after a minute, and some time to be written."""

DATABASES = ("sqlite", "postgresql")


class TrialServer:
    """A folder with its configuration, and the server that runs on it.

    Args:
        folder: An empty folder.
        agent_port: The port of the agent on this machine.
        database_url: A database; None is SQLite in the folder.
        tls: Whether the agent speaks TLS, as Deepgram does. Its certificate and key are
            `certificate`.
        own_tls: The kind of the key with which the server itself ends TLS; None: it does not.
    """

    def __init__(
        self,
        folder: Path,
        agent_port: int,
        database_url: str | None,
        *,
        tls: bool = False,
        own_tls: trustme.KeyType | None = None,
    ) -> None:
        self.port = _free_port()
        self.folder = folder
        self.url = database_url or f"sqlite:///{folder}/offhook-data/offhook.db"
        self._tls = tls
        self.origin = f"{'https' if own_tls else 'http'}://127.0.0.1:{self.port}"
        own = ""
        if own_tls is not None:
            chain = folder / "server.pem"
            issued = trustme.CA().issue_cert("127.0.0.1", key_type=own_tls)
            issued.private_key_and_cert_chain_pem.write_to_path(str(chain))
            own = f", tls_cert: '{chain}', tls_key: '{chain}'"
        (folder / "agent.yaml").write_text(RECORDED_AGENT)
        records = f"records: {{database: '{database_url}'}}\n" if database_url else ""
        (folder / "offhook.yaml").write_text(
            f"server: {{port: {self.port}, capacity: 200, operator_listen: '127.0.0.1:0'{own}}}\n"
            f"deepgram: {{url: '{'wss' if tls else 'ws'}://127.0.0.1:{agent_port}'}}\n"
            f"lines: {{default: agent.yaml}}\n{records}"
        )
        self.log = folder / "log"
        self.environ: dict[str, str] = {}
        """Further variables of the server's environment."""
        self._started: list[psutil.Process] = []

    async def start(self) -> asyncio.subprocess.Process:
        """Start the server, and return its process once it answers."""
        offhook = Path(sys.executable).with_name("offhook")
        # With bytecode, as users run it: without, a start takes twice as long.
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environ.setdefault("PYTHONPYCACHEPREFIX", str(self.folder / "bytecode"))
        environ |= {"DEEPGRAM_API_KEY": "any", "TWILIO_AUTH_TOKEN": TOKEN}
        environ |= self.environ
        if self._tls:
            environ["SSL_CERT_FILE"] = str(self.folder / "authority.pem")
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                str(offhook), "serve", cwd=self.folder, env=environ, stderr=log
            )
        self._started.append(psutil.Process(process.pid))
        await self._answers(process)
        return process

    def kill(self) -> None:
        """Kill all processes of the server that are left, as after a trial that has raised."""
        for supervisor in self._started:
            with contextlib.suppress(psutil.Error):
                left = [*supervisor.children(recursive=True), supervisor]
                for process in left if supervisor.is_running() else ():
                    process.kill()

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        end = time.monotonic() + PATIENCE_S
        async with _client() as http:
            while process.returncode is None and time.monotonic() < end:
                try:
                    await http.get(f"{self.origin}/healthz")
                    return
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
        raise SystemExit(f"the server did not start:\n{self.log.read_text()}")

    async def pid(
        self, process: asyncio.subprocess.Process, name: str, other_than: int | None = None
    ) -> int:
        """Return the id of the `call` or the `operator` process, once it is another one."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(psutil.Error):
                    for child in psutil.Process(process.pid).children():
                        module = f"offhook.serving.{name}_process"
                        if child.pid != other_than and module in child.cmdline():
                            return child.pid
                await asyncio.sleep(0.05)  # a look takes milliseconds

    async def until(self, state: str) -> None:
        """Wait until readiness says so of the record, or something that begins so."""
        async with asyncio.timeout(CATCHES_UP_S), _client() as http:
            while True:
                answer = await http.get(f"{self.origin}/readyz")
                if str(answer.json()["records"]).startswith(state):
                    return
                await asyncio.sleep(0.1)

    async def until_troubled(self) -> None:
        """Wait until readiness says of the record that something is wrong."""
        async with asyncio.timeout(CATCHES_UP_S), _client() as http:
            while True:
                answer = await http.get(f"{self.origin}/readyz")
                if answer.json()["records"] != "ok":
                    return
                await asyncio.sleep(0.1)

    async def stored(self) -> None:
        """Wait until the database has what the journals have now, and dead processes are gone."""
        last = last_lines(self.journal)
        dead = [folder for folder in process_folders(self.journal) if not is_alive(folder)]
        async with asyncio.timeout(CATCHES_UP_S):
            while True:
                left = any(folder.exists() for folder in dead)
                if not left and not waiting_lines(self.journal, last):
                    return
                await asyncio.sleep(0.1)

    async def until_ended(self, engine: Engine) -> None:
        """Wait until the database has an end for every call, or as long as an end may take."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDED_S):
                while live_calls(engine):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

    @property
    def journal(self) -> Path:
        return self.folder / "offhook-data" / "journal"

    def engine(self) -> Engine:
        return database.open_engine(database.url_of(self.url))

    def recordings(self) -> list[Path]:
        return sorted((self.folder / "offhook-data" / "recordings").rglob("*.wav"))


@asynccontextmanager
async def _client() -> AsyncIterator[httpx2.AsyncClient]:
    """A client for plain HTTP: without `verify` it need not load the authorities, for 30 ms."""
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=PATIENCE_S) as http:
        yield http


def certificate(folder: Path, *, tls: bool) -> Path | None:
    """Return a new certificate with its key for the agent of a server in a folder, for TLS.

    Raises UserError E-BENCH-03 where what makes certificates is not installed.
    """
    if not tls:
        return None
    make_certificate(folder)
    return folder / "sink.pem"


def live_calls(engine: Engine) -> list[str]:
    """Return the calls that have no end in the database."""
    with engine.connect() as connection:
        live = select(tables.calls.c.sid).where(tables.calls.c.duration_ms.is_(None))
        return list(connection.scalars(live))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def database_of(kind: str | None) -> Iterator[str | None]:
    """A PostgreSQL of its own, or None: the server's SQLite."""
    if kind != "postgresql":
        yield None
        return
    from tests.postgres import Postgres

    server = Postgres()
    try:
        with server.database() as url:
            yield url.render_as_string(hide_password=False)
    finally:
        server.stop()
