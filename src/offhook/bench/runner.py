"""Processes of a run: a bridge on one core, the load on the others, and messages to them."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from offhook.bench import serve, usage
from offhook.bench.child import Usage
from offhook.bench.load.messages import (
    Arrive,
    Begin,
    Churn,
    EndCalls,
    Finish,
    Measured,
    PlaceCalls,
    Road,
    Spec,
)
from offhook.bench.load.sockets import RefusedError
from offhook.bench.serve import Roles, ServeSetup
from offhook.bench.usage import ProcessUsage
from offhook.errors import UserError

WARM_UP_S: Final = 1.5
ANSWER_S: Final = 60.0
"""Seconds that an answer may take; opening thousands of calls takes longest."""
LEAVE_S: Final = 5.0
SERVER_LEAVE_S: Final = 40.0
"""Seconds in which a process ends by itself: a server applies its journal before."""
LOADS_MAX: Final = 4
ARRIVALS_MAX: Final = 1_000_000
"""Calls of one Arrive, at most, which their names are kept apart by."""
OFFHOOK: Final = "offhook"
AGENT_PATH: Final = "/v1/agent/converse"


@dataclass(frozen=True)
class Bridge:
    """A program under test, with the arguments of child.arguments."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class ServeBridge:
    """`offhook serve` of the installation that runs this, as users run it.

    With `recorded` both sides of every call are recorded; such calls come by the voice webhook.
    `database` is a SQLite database that the server begins with, `database_url` one of another kind
    in which it keeps its record.
    """

    config: Path | None = None
    recorded: bool = False
    database: Path | None = None
    name: str = OFFHOOK
    database_url: str | None = field(default=None, repr=False)

    @property
    def road(self) -> Road:
        """Return how its calls come."""
        return "webhook" if self.recorded else "bin"


def baselines(folder: Path) -> list[Bridge]:
    """Return every program in a folder. Raises UserError E-BENCH-02 for a folder without one."""
    found = [Bridge(path.stem, (sys.executable, str(path))) for path in sorted(folder.glob("*.py"))]
    if not found:
        raise UserError(
            "E-BENCH-02",
            f"There is no bridge to compare with in {folder}.",
            "Give the folder bench/baselines of a checkout with --baselines, or leave it out.",
        )
    return found


class Cores:
    """Cores of the bridge and of the load; all cores where a process cannot be pinned."""

    def __init__(self) -> None:
        mine = sorted(os.sched_getaffinity(0)) if usage.PINS else [0]
        self.bridge = mine[-1]
        self.others = mine[:-1] or mine
        self.loads = self.others[:LOADS_MAX]
        self.shared = len(mine) == 1

    def pin(self, roles: Roles) -> None:
        """Keep the process that carries calls on the bridge's core, and the rest off it."""
        usage.pin(roles.call, {self.bridge})
        for pid in roles.beside:
            usage.pin(pid, self.others)


class Child:
    """A process of a run. It ends when its input does, or at `stop`; at the latest it is killed."""

    def __init__(
        self, process: asyncio.subprocess.Process, name: str, errors: Path, *, is_server: bool
    ) -> None:
        self.pid: Final = process.pid
        self._process = process
        self._name = name
        self._errors = errors
        self._is_server = is_server
        self.others: Sequence[int] = ()
        """Processes that the process has started, and that end with it unless it is killed."""

    def is_over(self) -> bool:
        """Return whether the process has ended."""
        return self._process.returncode is not None

    async def ask(self, message: msgspec.Struct) -> bytes:
        """Send a message and return the answer."""
        self.say(message)
        return await self.hear()

    def say(self, message: msgspec.Struct) -> None:
        """Send a message that has no answer."""
        assert self._process.stdin is not None  # it was started with a pipe
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")

    async def hear(self, seconds: float = ANSWER_S) -> bytes:
        """Return a line of the process. Raises UserError E-BENCH-01 when none comes."""
        assert self._process.stdout is not None  # it was started with a pipe
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        if not line:
            raise self.silent()
        return line

    def silent(self) -> UserError:
        """Return the error of a process that does not answer."""
        said = self._errors.read_text(errors="replace").strip().splitlines()
        return UserError(
            "E-BENCH-01",
            f"{self._name} did not answer: {said[-1] if said else 'it said nothing'}.",
            "Look at what it needs: offhook/bench/README.md says how a bridge is started.",
        )

    async def leave(self) -> None:
        """End the process: by itself, or killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        for _ in range(2 if self._is_server else 0):  # the second ends the calls
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(SERVER_LEAVE_S if self._is_server else LEAVE_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            _kill(self.others)
            await self._process.wait()


@contextlib.asynccontextmanager
async def started(
    command: Sequence[str],
    name: str,
    cores: Collection[int],
    environ: Mapping[str, str],
    *,
    is_server: bool = False,
) -> AsyncIterator[Child]:
    """Run a process on some cores, until the end of the block, however that ends.

    A server has no input and tells nothing: it is ended by signals.
    """
    with tempfile.TemporaryDirectory(prefix="offhook-bench-") as folder:
        errors = Path(folder) / "stderr"
        pipe = asyncio.subprocess.DEVNULL if is_server else asyncio.subprocess.PIPE
        with errors.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe,
                stdout=pipe,
                stderr=file,
                cwd=folder if is_server else None,  # no .env of the user's
                env=dict(environ),
                limit=256 * 1024 * 1024,  # a process of the load sends all its samples in a line
                start_new_session=True,  # Ctrl-C is the runner's: it ends its children
            )
        child = Child(process, name, errors, is_server=is_server)
        try:
            usage.pin(process.pid, cores)
            yield child
        finally:
            await child.leave()


@dataclass
class BridgeRun:
    """A bridge and its load, both started, no call placed yet."""

    cores: Cores
    bridge: Child
    loads: list[Child]
    port: int
    token: str = field(repr=False)
    road: Road = "bin"
    start_s: float | None = None
    """Seconds from the start of a server to its first answered upgrade."""
    setup: ServeSetup | None = None
    _placed: int = field(default=0, init=False)

    def usage(self) -> ProcessUsage:
        """Return what the bridge has used."""
        return usage.usage_of(*self._roles())

    async def told(self) -> Usage:
        """Return what the bridge itself tells of its resources: a program, not a server."""
        return msgspec.json.decode(await self.bridge.ask(Begin()), type=Usage)

    async def open(self, calls: int) -> None:
        """Place `calls` more calls."""
        share = [calls // len(self.loads)] * len(self.loads)
        for index in range(calls % len(self.loads)):
            share[index] += 1
        for load, part in zip(self.loads, share, strict=True):
            load.say(PlaceCalls(self.port, part, self._placed, self.token, self.road))
            self._placed += part
        for load in self.loads:
            await load.hear()

    async def hang_up(self) -> None:
        """End every call."""
        for load in self.loads:
            await load.ask(EndCalls())

    async def measure(self, seconds: float) -> tuple[ProcessUsage, ProcessUsage, list[Measured]]:
        """Measure for `seconds`."""
        self.cores.pin(self._roles())  # threads that came since
        for load in self.loads:
            load.say(Begin())
        begun = self.usage()
        await asyncio.sleep(seconds)
        done = self.usage()
        told = [await load.ask(Finish()) for load in self.loads]
        return begun, done, [msgspec.json.decode(line, type=Measured) for line in told]

    async def churn(self, calls: int, at_once: int, frames: int) -> AsyncIterator[int]:
        """Place short calls, by the first process of the load. Yield how many were placed."""
        first, self._placed = self._placed, self._placed + calls
        message = Churn(self.port, calls, at_once, frames, first, self.token, self.road)
        self.loads[0].say(message)
        while "placed" in (told := msgspec.json.decode(await self.loads[0].hear())):
            yield told["placed"]

    def arrive(self, per_second: float, hold_s: float) -> None:
        """Begin calls at a rate from now on, each of `hold_s` seconds."""
        rate = per_second / len(self.loads)
        for index, load in enumerate(self.loads):
            first = self._placed + index * ARRIVALS_MAX
            load.say(Arrive(self.port, rate, hold_s, first, self.token, self.road))
        self._placed += len(self.loads) * ARRIVALS_MAX

    def _roles(self) -> Roles:
        if self.setup is None:
            return Roles(self.bridge.pid)
        return self.setup.roles(self.bridge.pid)


@dataclass(frozen=True)
class Bench:
    """A runner of bridges, with its cores and environment."""

    cores: Cores
    environ: Mapping[str, str]
    warm_up_s: float = WARM_UP_S

    @contextlib.asynccontextmanager
    async def running(
        self,
        bridge: Bridge | ServeBridge,
        *,
        capacity: int,
        tls: bool = False,
        load: Spec | None = None,
    ) -> AsyncIterator[BridgeRun]:
        """Run a bridge and its load, until the end of the block."""
        async with contextlib.AsyncExitStack() as stack:
            spec = load or Spec(port=0)
            environ = dict(self.environ)
            if tls:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                environ["SSL_CERT_FILE"] = str(folder / "authority.pem")
                make_certificate(folder)
                spec = msgspec.structs.replace(spec, certificate=str(folder / "sink.pem"))
            loads, port = [], 0
            for core in self.cores.loads:
                spec = msgspec.structs.replace(spec, port=port)
                command = [sys.executable, "-m", "offhook.bench.load"]
                command.append(msgspec.json.encode(spec).decode())
                child = await stack.enter_async_context(
                    started(command, "the load", {core}, environ)
                )
                port = _port(await child.hear())
                loads.append(child)
            url = f"{'wss' if tls else 'ws'}://localhost:{port}{AGENT_PATH}"
            start = self._serve if isinstance(bridge, ServeBridge) else self._start
            yield await start(bridge, url, capacity, environ, loads, stack)  # type: ignore[arg-type]

    async def _start(
        self,
        bridge: Bridge,
        url: str,
        capacity: int,
        environ: Mapping[str, str],
        loads: list[Child],
        stack: contextlib.AsyncExitStack,
    ) -> BridgeRun:
        token = secrets.token_hex(16)
        options = ["--agent-url", url, "--capacity", str(capacity), "--token", token]
        child = await stack.enter_async_context(
            started([*bridge.command, *options], bridge.name, {self.cores.bridge}, environ)
        )
        return BridgeRun(self.cores, child, loads, _port(await child.hear()), token)

    async def _serve(
        self,
        bridge: ServeBridge,
        url: str,
        capacity: int,
        environ: Mapping[str, str],
        loads: list[Child],
        stack: contextlib.AsyncExitStack,
    ) -> BridgeRun:
        """Start a server on all cores, as users do; keep its processes apart once it answers."""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="offhook-bench-")))
        setup = serve.set_up(
            folder,
            bridge.config,
            capacity,
            recorded=bridge.recorded,
            database_url=bridge.database_url,
        )
        if bridge.database is not None:
            shutil.copyfile(bridge.database, setup.records / serve.DATABASE)
        command = serve.command(setup, sys.executable, url)
        everywhere = {self.cores.bridge, *self.cores.others}
        began = time.perf_counter()
        child = await stack.enter_async_context(
            started(command, bridge.name, everywhere, setup.environ(environ), is_server=True)
        )
        try:
            answered = await setup.until_answered(child.is_over)
            await setup.until_complete(child.pid)
        except (RefusedError, TimeoutError):
            raise child.silent() from None
        roles = setup.roles(child.pid)
        child.others = [pid for pid in (roles.call, *roles.beside) if pid != child.pid]
        self.cores.pin(roles)
        run = BridgeRun(self.cores, child, loads, setup.port, setup.token, bridge.road)
        run.start_s, run.setup = answered - began, setup
        return run


def _kill(pids: Sequence[int]) -> None:
    """End the processes of a server that did not end by itself, and so left them."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def can_make_certificates() -> bool:
    """Return whether TLS can be measured here."""
    try:
        import trustme  # noqa: F401
    except ImportError:
        return False
    return True


def make_certificate(folder: Path) -> None:
    """Make an authority for this run, authority.pem, and the sink's key and certificate, sink.pem.

    Raises UserError E-BENCH-03 where trustme is not installed.
    """
    try:
        import trustme
    except ImportError:
        raise UserError(
            "E-BENCH-03",
            "TLS needs a certificate made for the run, and trustme, which makes it, is missing.",
            "Install trustme beside Offhook, or run `make setup` in a checkout.",
        ) from None
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "sink.pem"))


def _port(line: bytes) -> int:
    told: dict[str, Any] = msgspec.json.decode(line)
    return int(told["port"])
