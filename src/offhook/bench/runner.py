"""Processes of a run: a bridge on one core, the load on the others, and messages to them."""

import asyncio
import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from offhook.bench import figures
from offhook.bench.child import Usage
from offhook.bench.load import Begin, Churn, EndCalls, Finish, Measured, PlaceCalls, Spec
from offhook.errors import UserError

WARM_UP_S: Final = 1.5
ANSWER_S: Final = 60.0
"""Seconds that an answer may take; opening thousands of calls takes longest."""
LEAVE_S: Final = 5.0
LOADS_MAX: Final = 4
AGENT_PATH: Final = "/v1/agent/converse"


@dataclass(frozen=True)
class Bridge:
    """A program under test, with the arguments of child.arguments."""

    name: str
    command: tuple[str, ...]


def offhook(config: Path | None) -> Bridge:
    """Return the bridge of the installation that runs this."""
    chosen = ("--config", str(config)) if config is not None else ()
    return Bridge("offhook", (sys.executable, "-m", "offhook.bench.bridge", *chosen))


def baselines(folder: Path) -> list[Bridge]:
    """Return every program in a folder. Raises UserError E-BENCH-02 when there is none."""
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
        self.pins: Final = hasattr(os, "sched_setaffinity")
        mine = sorted(os.sched_getaffinity(0)) if self.pins else [0]
        self.bridge = mine[-1]
        self.loads = mine[:-1][:LOADS_MAX] or mine
        self.shared = len(mine) == 1

    def pin(self, pid: int, core: int) -> None:
        """Keep a process on a core."""
        if self.pins:
            os.sched_setaffinity(pid, {core})


class Child:
    """A process of a run. It ends when its input does, at the latest when it is killed."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, errors: Path) -> None:
        self._process = process
        self._name = name
        self._errors = errors

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
            said = self._errors.read_text(errors="replace").strip().splitlines()
            raise UserError(
                "E-BENCH-01",
                f"{self._name} did not answer: {said[-1] if said else 'it said nothing'}.",
                "Look at what it needs: offhook/bench/README.md says how a bridge is started.",
            )
        return line

    async def leave(self) -> None:
        """End the process: by itself, or killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def started(
    command: Sequence[str], name: str, core: int, cores: Cores, environ: Mapping[str, str]
) -> AsyncIterator[Child]:
    """Run a process on a core, until the end of the block, however that ends."""
    with tempfile.TemporaryDirectory(prefix="offhook-bench-") as folder:
        errors = Path(folder) / "stderr"
        with errors.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                env=dict(environ),
                limit=256 * 1024 * 1024,  # a process of the load sends all its samples in a line
                start_new_session=True,  # Ctrl-C is the runner's: it ends its children
            )
        child = Child(process, name, errors)
        try:
            cores.pin(process.pid, core)
            yield child
        finally:
            await child.leave()


@dataclass
class BridgeRun:
    """A bridge and its load, both started, no call placed yet."""

    bridge: Child
    loads: list[Child]
    port: int
    token: str = field(repr=False)
    _placed: int = field(default=0, init=False)

    async def usage(self) -> Usage:
        """Return the bridge's usage of resources."""
        return msgspec.json.decode(await self.bridge.ask(Begin()), type=Usage)

    async def open(self, calls: int) -> None:
        """Place `calls` more calls."""
        share = [calls // len(self.loads)] * len(self.loads)
        for index in range(calls % len(self.loads)):
            share[index] += 1
        for load, part in zip(self.loads, share, strict=True):
            load.say(PlaceCalls(self.port, part, self._placed, self.token))
            self._placed += part
        for load in self.loads:
            await load.hear()

    async def hang_up(self) -> None:
        """End every call."""
        for load in self.loads:
            await load.ask(EndCalls())

    async def measure(self, seconds: float) -> tuple[Usage, Usage, list[Measured]]:
        """Measure for `seconds`."""
        for load in self.loads:
            load.say(Begin())
        begun = await self.usage()
        await asyncio.sleep(seconds)
        done = await self.usage()
        told = [await load.ask(Finish()) for load in self.loads]
        return begun, done, [msgspec.json.decode(line, type=Measured) for line in told]

    async def churn(self, calls: int, at_once: int, frames: int) -> AsyncIterator[int]:
        """Place short calls, by the first process of the load. Yield how many were placed."""
        self.loads[0].say(Churn(self.port, calls, at_once, frames, self.token))
        while "placed" in (told := msgspec.json.decode(await self.loads[0].hear())):
            yield told["placed"]


@dataclass(frozen=True)
class Bench:
    """A runner of bridges, with its cores and environment."""

    cores: Cores
    environ: Mapping[str, str]
    warm_up_s: float = WARM_UP_S

    @contextlib.asynccontextmanager
    async def running(
        self, bridge: Bridge, *, capacity: int, tls: bool = False, load: Spec | None = None
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
                    started(command, "the load", core, self.cores, environ)
                )
                port = _port(await child.hear())
                loads.append(child)
            token = secrets.token_hex(16)
            url = f"{'wss' if tls else 'ws'}://localhost:{port}{AGENT_PATH}"
            options = ["--agent-url", url, "--capacity", str(capacity), "--token", token]
            command = [*bridge.command, *options]
            child = await stack.enter_async_context(
                started(command, bridge.name, self.cores.bridge, self.cores, environ)
            )
            yield BridgeRun(child, loads, _port(await child.hear()), token)

    async def level(
        self, bridge: Bridge, calls: int, seconds: float, *, tls: bool = False
    ) -> figures.Level:
        """Return the figures of a run, in processes of its own."""
        async with self.running(bridge, capacity=2 * calls, tls=tls) as run:
            before = await run.usage()
            await run.open(calls)
            await asyncio.sleep(self.warm_up_s)
            begun, done, measured = await run.measure(seconds)
        return figures.level(
            bridge.name, calls, tls=tls, usage=(before, begun, done), measured=measured
        )


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
