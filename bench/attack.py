"""make soak: hostile traffic beside live calls. A real `offhook serve`, 50 calls, and a stranger.

    python -m bench.attack [--calls 50] [--seconds 8] [--rate 1000000] [--kind NAME ...] [--tls]

For each kind of traffic another process sends so many bytes a second to the server, unsigned, as
fast as it is let. Meanwhile the calls' frames are timed, caller to agent and back, as
`offhook bench` times them, and once a second a signed webhook asks how long Twilio would wait.
Exits with 1 when a bar is missed: added delay at p99 under 5 ms, memory under +50 MB, log under
10 kB a second, a webhook answered within the 15 s that Twilio waits (twilio.md §4.1), and no call
broken. With --tls the agent speaks TLS, as Deepgram does. Requests to the operator's paths go to
the operator's port, any other to the public one. With --own-tls the server ends TLS itself, with
a key of that kind, the calls come over it, and the traffic is that of TLS_KINDS.

Memory is what the attacked process has at most during the traffic, against what it had before; it
is judged for each kind, and for the growth of the process with the calls over all of them. A kind
of which less than nine tenths of the rate came is not judged, unless the server itself held it
back: it takes 256 bad connections a second (docs/security.md). Of those that hold connections,
which are slow on purpose, nine tenths of the connections must have been opened.

The load, the stranger and the server need a core each for figures that mean something. On fewer,
the stranger takes time from the load, too, which is late then. A kind of traffic is judged by the
absolute delay: met under the bar, missed above it if the load was in time (its lateness at p99 is
under 1 ms). One above the bar under a late load is tried again, at most twice more, and is not
judged if the load stays late; the last lines say so. With --untimed no delay is judged, and nothing
is tried again.

Of the half-open sockets 10,000 are open at the stranger's end at once. The server keeps as many as
it has places for and cuts the others; those are opened again every half a second. Fewer than 10,000
open at once, for example where this system allows too few files, are not judged.
"""

import argparse
import asyncio
import contextlib
import errno
import functools
import math
import os
import resource
import secrets
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlencode

import msgspec
import psutil
import trustme
from bench.trial_server import DATABASES, TOKEN, TrialServer, certificate, database_of
from bench.until_stopped import until_stopped
from rich.console import Console
from rich.table import Table

from offhook.bench import figures
from offhook.bench.child import HOST
from offhook.bench.load import sockets
from offhook.bench.load.messages import Begin, EndCalls, Finish, Measured, PlaceCalls, Spec
from offhook.bench.serve import ServeSetup
from offhook.net.listener import CONNECTIONS_MAX
from offhook.twilio.signature import HEADER, sign

P99_MS = 5.0
LATE_MS = 1.0
"""Lateness of a load at p99 above which a delay is the load's as much as the server's."""
GROWTH_MB = 50.0
LOG_BYTES_S = 10_000
LOOK_S = 0.1
"""Seconds between two looks at the memory of the attacked process."""
RATE_SHARE = 0.9
"""Share of the rate that must have come, or of the bad connections that the server takes."""
CONNECTIONS = 64
"""Of the stranger at once, but for silent ones."""
SILENT = "silent connections"
ENDING = "connections that end at once"
RECORDED = "upgrades, recorded signature"
NONSENSE = "nonsense"
SLOW = "upgrades byte by byte, one a second"
HALF_OPEN = "half-open sockets"
OPERATORS = frozenset({"odd paths", "wrong tokens"})
"""Kinds that go to the operator's port: at the public one these paths are not there."""
HELLO_SILENT = "TLS: a hello, then silence"
HELLO_ENDING = "TLS: hellos, ended at the answer"
SHAKING = "TLS: whole handshakes, then ended"
VOLLEYS = "TLS: hellos in the same moment"
HELD = frozenset(
    {
        *(SILENT, SLOW, RECORDED, HALF_OPEN, HELLO_SILENT, VOLLEYS),
        *("headers byte by byte", "half a form, shaped signature"),
    }
)
"""Kinds that hold connections, by saying nothing more or a byte at a time: they send little."""
AT_ONCE = {
    **dict.fromkeys((SILENT, SLOW, RECORDED, NONSENSE, HELLO_SILENT), 1000),
    HALF_OPEN: 10_000,
    VOLLEYS: 256,
}
"""Connections of some kinds at once: the server takes its time to end those."""
SPARE = 20
"""A twentieth more half-open sockets are opened, as some are connecting and some are cut."""
TRIES = 3
"""Times that a kind of traffic is tried while the load is too late to judge it."""
SLOW_S = 1.0
VOLLEY_S = 0.5
"""Seconds for which silent connections wait, and then all say hello."""
ROUND_S = 0.5
"""Seconds between two rounds over the half-open sockets, in which those that were cut are opened
again."""
FILES_ELSEWHERE = 200
WAIT_S = 15.0
PIECE = 16 * 1024
ANSWER_S = 60.0
STOP_S = 120.0
"""Seconds that a server may take to end its processes; on a busy machine it takes more than ten."""

HEAD = "POST /twilio/voice HTTP/1.1\r\nHost: voice.example.com\r\n"
SHAPED = "X-Twilio-Signature: " + "A" * 27 + "=\r\n"
GOOD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(form: bytes, signature: str = "") -> bytes:
    return f"{HEAD}{signature}Content-Length: {len(form)}\r\n\r\n".encode() + form


def once(request: bytes) -> Callable[[], Iterator[bytes]]:
    """One request for each connection."""
    return lambda: iter((request,))


def endless(begin: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    """A request that never ends."""

    def pieces() -> Iterator[bytes]:
        yield begin
        while True:
            yield piece

    return pieces


_MANY = b"&".join(b"Field%d=%s" % (number, b"x" * 70) for number in range(199))
_UPGRADE = (
    b"GET /twilio HTTP/1.1\r\nHost: voice.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + SHAPED.encode() + b"\r\n"
)

_REPLAYED = (
    b"GET /twilio HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    + f"{HEADER}: {sign(TOKEN, 'wss://127.0.0.1/twilio')}\r\n\r\n".encode()
)


KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "forms without a signature": once(post(b"CallSid=CA1&From=%2B1")),
    "forms of 64 KB": once(post(b"a=b&" * 16_000)),
    "forms of 64 KB, shaped signature": once(post(b"a=b&" * 16_000, SHAPED)),
    "forms of 16 KB, shaped signature": once(post(_MANY, SHAPED)),
    "small forms, shaped signature": once(post(b"CallSid=CA1&From=%2B1", SHAPED)),
    "half a form, shaped signature": once(post(_MANY, SHAPED)[:-1]),
    "small headers without end": endless(b"GET / HTTP/1.1\r\nHost: h\r\n", b"X: y\r\n" * 2000),
    "the same behind blank lines": endless(
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n", b"X: y\r\n" * 2000
    ),
    "the same behind a good request": endless(
        GOOD + b"GET / HTTP/1.1\r\nHost: h\r\n", b"X: y\r\n" * 2000
    ),
    "one header without end": endless(b"GET / HTTP/1.1\r\nX: ", b"x" * PIECE),
    "headers byte by byte": endless(b"GET / HTTP/1.1\r\nX: ", b"x"),
    "chunks of one byte": endless(
        f"{HEAD}{SHAPED}Transfer-Encoding: chunked\r\n\r\n".encode(), b"1\r\nx\r\n" * 100
    ),
    "good requests without end": endless(GOOD, GOOD * 100),
    "odd paths": once(b"GET /metrics%0A HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "wrong tokens": once(
        b"GET /api/v1/calls HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n"
    ),
    "upgrades, shaped signature": once(_UPGRADE),
    # Handshakes: of TCP alone, of a WebSocket, of one whose signature was recorded, and slow ones.
    ENDING: lambda: iter(()),
    RECORDED: once(_REPLAYED),
    SLOW: lambda: (_UPGRADE[at : at + 1] for at in range(len(_UPGRADE))),
    HALF_OPEN: once(b"GET /twilio HTTP/1.1\r\nHost: h\r\n"),
    NONSENSE: once(b"\x16\x03\x01" + bytes(range(256)) * 3 + b"\r\n\r\n"),
    SILENT: once(b""),
}


@functools.cache
def hello() -> bytes:
    """Return the hello that every connection sends: making one for each would take its time."""
    return sockets.client_hello()


TLS_KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    HELLO_SILENT: lambda: iter((hello(),)),
    HELLO_ENDING: lambda: iter((hello(),)),
    SHAKING: lambda: iter(()),
    VOLLEYS: lambda: iter((hello(),)),
    "TLS: half a hello, then silence": lambda: iter((hello()[:-1],)),
    "TLS: a hello byte by byte": lambda: (hello()[at : at + 1] for at in range(len(hello()))),
}
"""Kinds of traffic at a port that has TLS: each whole hello has the server sign with its key."""


# --- The stranger ---------------------------------------------------------------------------------


class Stranger:
    """Sends one kind of traffic, no faster than `rate` bytes a second in all."""

    def __init__(self, port: int, kind: str, rate: int, seconds: float) -> None:
        self.sent = 0
        self.connections = 0
        self.at_once = 0
        """Half-open sockets that were open at this end at once, at most."""
        self.uncut = 0
        """Of half-open sockets, those at once that the server had not cut, at most."""
        self._port = port
        self._kind = kind
        self._rate = rate
        self._began = time.monotonic()
        self._ends = self._began + seconds

    async def attack(self) -> None:
        if self._kind == HALF_OPEN:
            await self._hold(AT_ONCE[HALF_OPEN] + AT_ONCE[HALF_OPEN] // SPARE)
            return
        count = AT_ONCE.get(self._kind, CONNECTIONS)
        raise_file_limit(count + FILES_ELSEWHERE)
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._again_and_again())

    async def _again_and_again(self) -> None:
        while time.monotonic() < self._ends:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout_at(
                    asyncio.get_running_loop().time() + self._ends - time.monotonic()
                ):
                    await self._once()
            await asyncio.sleep(0)

    async def _once(self) -> None:
        context = sockets.unchecked() if self._kind == SHAKING else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=context)
        self.connections += 1
        try:
            if self._kind == VOLLEYS:
                await asyncio.sleep(VOLLEY_S - (time.monotonic() - self._began) % VOLLEY_S)
            for piece in (KINDS | TLS_KINDS)[self._kind]():
                for at in range(0, len(piece), PIECE):
                    part = piece[at : at + PIECE]
                    self.sent += len(part)
                    due = self._began + self.sent / self._rate
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    writer.write(part)
                    await writer.drain()
                    if self._kind == SLOW:
                        await asyncio.sleep(SLOW_S)
            if self._kind == HELLO_ENDING:
                await reader.read(1)
            elif self._kind not in (ENDING, SHAKING):
                await reader.read()
        finally:
            writer.transport.abort()

    async def _hold(self, count: int) -> None:
        """Hold sockets on which half a head is sent, and nothing else, ever."""
        count = min(count, raise_file_limit(count + FILES_ELSEWHERE) - FILES_ELSEWHERE)
        (half,) = KINDS[HALF_OPEN]()
        asked: dict[socket.socket, bool] = {}
        try:
            while time.monotonic() < self._ends:
                for sock, was_asked in asked.items():
                    if not was_asked:
                        asked[sock] = self._ask_half(sock, half)
                self.at_once = max(self.at_once, sum(asked.values()))
                for sock in [one for one, was_asked in asked.items() if was_asked and is_cut(one)]:
                    del asked[sock]
                    sock.close()
                self.uncut = max(self.uncut, sum(asked.values()))
                while len(asked) < count and time.monotonic() < self._ends:
                    sock = socket.socket()
                    sock.setblocking(False)
                    sock.connect_ex(("127.0.0.1", self._port))
                    asked[sock] = False
                    self.connections += 1
                await asyncio.sleep(ROUND_S)
        finally:
            for sock in asked:
                sock.close()

    def _ask_half(self, sock: socket.socket, half: bytes) -> bool:
        try:
            self.sent += sock.send(half)
        except OSError as error:
            return error.errno not in (errno.EAGAIN, errno.ENOTCONN)
        return True


def is_cut(sock: socket.socket) -> bool:
    try:
        return not sock.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def raise_file_limit(files: int) -> int:
    """Have this process open so many files at least, or as many as is allowed; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = max(soft, files if hard == resource.RLIM_INFINITY else min(files, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


# --- Live calls -----------------------------------------------------------------------------------


class Load:
    """The simulated callers and agents of `offhook bench`, in a process of their own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.port = 0

    async def ask(self, message: msgspec.Struct) -> bytes:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")
        return await self.heard()

    def say(self, message: msgspec.Struct) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")

    async def heard(self) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWER_S):
            return await self._process.stdout.readline()

    async def measure(self, during: asyncio.Task[None] | None, seconds: float) -> Measured:
        self.say(Begin())
        if during is None:
            await asyncio.sleep(seconds)
        else:
            await during
        return msgspec.json.decode(await self.ask(Finish()), type=Measured)


@contextlib.asynccontextmanager
async def process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends when its block does."""
    made = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
        start_new_session=True,
    )
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            made.kill()
        await made.wait()


def p99_ms(measured: Measured, *, of_callers: bool = False) -> float:
    """Return the delay of all frames at p99, in ms; infinite if none came in one direction.

    `of_callers`: of frames to callers alone, whose agents another process has.
    """
    ways = [measured.down] if of_callers else [measured.up, measured.down]
    if not all(ways):
        return math.inf
    delays = sorted(delay for way in ways for delay in way)
    return delays[min(len(delays) - 1, int(len(delays) * 0.99))] / 1e6


def late_ms(measured: Measured) -> float:
    """Return by how much a load was late at p99, in ms."""
    found = figures.spread(measured.late)
    return float("inf") if found is None else found.p99


def spec(folder: Path, *, tls: bool) -> str:
    """Return the arguments of a process of the load; with TLS, it gets a certificate."""
    path = certificate(folder, tls=tls)
    return msgspec.json.encode(
        Spec(port=0, certificate=None if path is None else str(path))
    ).decode()


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_of(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


async def peak_mb(pid: int, during: asyncio.Task[None]) -> float:
    """Return the most memory that a process has until a task is done."""
    most = rss_mb(pid)
    while not during.done():
        await asyncio.wait([during], timeout=LOOK_S)
        most = max(most, rss_mb(pid))
    return most


def was_enough(kind: str, sent: int, connections: int, given: argparse.Namespace) -> bool:
    """Return whether so much came that the server is judged by it, or as much as it lets come.

    Of kinds that hold connections those count, and not what is sent on them.
    """
    if kind in HELD:
        return connections >= RATE_SHARE * AT_ONCE.get(kind, CONNECTIONS)
    seconds: float = RATE_SHARE * given.seconds
    return sent >= given.rate * seconds or connections >= CONNECTIONS_MAX * seconds


async def ask_webhook(port: int, until: float, context: ssl.SSLContext | None) -> list[float]:
    """Ask a webhook once a second; return how long each answer took, in seconds."""
    form = {
        "CallSid": "CA" + "9" * 32,
        "AccountSid": "AC" + "0" * 32,
        "CallStatus": "completed",
        "CallDuration": "1",
    }
    body = urlencode(form).encode()
    signature = sign(TOKEN, f"https://{HOST}/twilio/status", form.items())
    head = (
        f"POST /twilio/status HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        f"{HEADER}: {signature}"
    )
    took = []
    while (began := time.monotonic()) < until:
        try:
            async with asyncio.timeout(WAIT_S):
                tls = None if context is None else sockets.TlsPipe(context, is_server=False)
                answer, _, sock = await sockets.ask(port, head, body, tls)
                sock.close()
            took.append(time.monotonic() - began if " 204 " in answer else float("inf"))
        except (sockets.RefusedError, TimeoutError):
            took.append(float("inf"))
        await asyncio.sleep(1.0)
    return took


async def stranger(port: int, kind: str, given: argparse.Namespace, told: list[str]) -> None:
    asked = (f"--stranger={port}", f"--kind={kind}", f"--rate={given.rate}")
    async with process("-m", "bench.attack", *asked, f"--seconds={given.seconds}") as made:
        assert made.stdout is not None
        async with asyncio.timeout(given.seconds + ANSWER_S):
            told.append((await made.stdout.readline()).decode().strip())


def is_excused(p99: float, load_late: float) -> bool:
    """Return whether a delay above the bar may be the load's own: none explains no frame at all."""
    return load_late >= LATE_MS and math.isfinite(p99)


class Judged(NamedTuple):
    """The delays of live calls before one kind of traffic and during it, p99 in ms."""

    kind: str
    before: float
    during: float
    load_late: float
    """By how much the load was late meanwhile, at p99."""

    at_once: int = 0
    """Half-open sockets that were open at once, of the kind that has them."""
    uncut: int = 0
    """Those at once that the server had not cut."""
    has_come: bool = True
    """False if too little was sent for a judgement, and not because the server held it back."""

    @property
    def verdict(self) -> bool | None:
        """Whether the bar is met; None if a late load missed it, or too little was sent or open."""
        if self.during >= P99_MS:
            return None if self.is_worth_a_repeat else False
        return None if self.has_too_few or not self.has_come else True

    @property
    def is_worth_a_repeat(self) -> bool:
        """True if a late load missed the bar; that too little was sent, no repeat mends."""
        return self.during >= P99_MS and is_excused(self.during, self.load_late)

    @property
    def why_not(self) -> str:
        """Why it is not judged."""
        if self.is_worth_a_repeat:
            return "the load was late"
        return "too few at once" if self.has_too_few else "too little was sent"

    @property
    def has_too_few(self) -> bool:
        """True if fewer half-open sockets were open at once than the row says."""
        return self.kind == HALF_OPEN and self.at_once < AT_ONCE[HALF_OPEN]


async def run(given: argparse.Namespace, folder: Path) -> list[str]:
    with database_of(given.database) as url:
        return await run_on(given, folder, url)


async def run_on(given: argparse.Namespace, folder: Path, database_url: str | None) -> list[str]:
    faults, slowed, tries = list[str](), list[Judged](), 0
    table = Table(
        "traffic",
        "MB/s",
        "conn./s",
        "p99 before",
        "p99 during",
        "load late",
        "CPU",
        "webhook",
        "memory",
        "log",
    )
    async with process("-m", "offhook.bench.load", spec(folder, tls=given.tls)) as made:
        load = Load(made)
        agent_port = msgspec.json.decode(await load.heard())["port"]
        own_tls = given.own_tls and trustme.KeyType[given.own_tls]
        server = TrialServer(folder, agent_port, database_url, tls=given.tls, own_tls=own_tls)
        running = await server.start()
        try:
            calls = PlaceCalls(server.port, given.calls, 0, TOKEN, tls=bool(own_tls))
            await load.ask(calls)
            await load.measure(None, 2.0)  # the first seconds of a process are like no others
            calls_pid = ServeSetup(server.folder, TOKEN, server.port).roles(running.pid).call
            began_mb = rss_mb(calls_pid)
            for kind in given.kind or (TLS_KINDS if own_tls else KINDS):
                left = 1 if given.untimed else TRIES
                while True:
                    judged, found = await tried(kind, given, load, server, running, table)
                    faults += found
                    tries, left = tries + 1, left - 1
                    await asyncio.sleep(2)  # its connections end
                    if not left or not judged.is_worth_a_repeat:
                        break
                slowed.append(judged)
            grown_mb = rss_mb(calls_pid) - began_mb
            if grown_mb >= GROWTH_MB:
                faults.append(f"all kinds together: {grown_mb:+.1f} MB")
            load.say(EndCalls())
            await load.heard()
        finally:
            await stopped(running)
    Console(width=140).print(table)
    worst = max(slowed, key=lambda one: one.during)
    half_open = "".join(
        f"; {one.at_once} half-open sockets at once, {one.uncut} of them not cut by the server"
        for one in slowed
        if one.kind == HALF_OPEN
    )
    print(
        f"in short: p99 of live calls under {P99_MS:g} ms in"
        f" {sum(one.during < P99_MS for one in slowed)} of {len(slowed)} kinds of traffic"
        f" ({tries - len(slowed)} tried again, as the load was late);"
        f" at worst {worst.during:.1f} ms, {worst.before:.1f} ms before it ({worst.kind}),"
        f" with a load that was {worst.load_late:.1f} ms late{half_open}"
    )
    unjudged = [f"{one.kind} ({one.why_not})" for one in slowed if one.verdict is None]
    if given.untimed:
        print("not judged: delays (--untimed)")
    elif unjudged:
        print(f"not judged: {len(unjudged)} kinds of traffic: {', '.join(unjudged)}")
    return faults


async def tried(
    kind: str,
    given: argparse.Namespace,
    load: Load,
    server: TrialServer,
    running: asyncio.subprocess.Process,
    table: Table,
) -> tuple[Judged, list[str]]:
    """Measure live calls before and during a kind of traffic; return what was wrong, too."""
    before = await load.measure(None, given.seconds / 2)
    serving = ServeSetup(server.folder, TOKEN, server.port)
    port = server.port
    pid = serving.roles(running.pid).call  # The process that carries calls.
    attacked = pid
    if kind in OPERATORS:
        port = serving.operator_port() or port
        attacked = await server.pid(running, "operator")
    memory, log, cpu_s = rss_mb(attacked), server.log.stat().st_size, cpu_of(pid)
    told: list[str] = []
    async with asyncio.TaskGroup() as group:
        attack = group.create_task(stranger(port, kind, given, told))
        peak = group.create_task(peak_mb(attacked, attack))
        until, context = time.monotonic() + given.seconds, given.own_tls and sockets.unchecked()
        asking = group.create_task(ask_webhook(server.port, until, context))
        during = await load.measure(attack, given.seconds)
    cpu = (cpu_of(pid) - cpu_s) / given.seconds
    slowest = max(asking.result())
    grown = peak.result() - memory
    written = (server.log.stat().st_size - log) / given.seconds
    sent, connections, at_once, uncut = map(int, told[0].split())
    has_come = was_enough(kind, sent, connections, given)
    judged = Judged(kind, p99_ms(before), p99_ms(during), late_ms(during), at_once, uncut, has_come)
    table.add_row(
        kind,
        f"{sent / given.seconds / 1e6:.2f}",
        f"{connections / given.seconds:.0f}",
        f"{judged.before:.2f} ms",
        f"{judged.during:.2f} ms",
        f"{judged.load_late:.2f} ms",
        f"{cpu:.0%}",
        f"{slowest:.2f} s",
        f"{grown:+.1f} MB",
        f"{written:.0f} B/s",
    )
    late = f"{judged.during:.2f} ms of added delay at p99, {judged.before:.2f} before"
    wrong = (
        (judged.verdict is False and not given.untimed, late),
        (slowest >= WAIT_S, f"a webhook took {slowest:.1f} s"),
        (grown >= GROWTH_MB, f"{grown:+.1f} MB"),
        (written >= LOG_BYTES_S, f"{written:.0f} bytes of log a second"),
        (during.broken_calls > 0, f"{during.broken_calls} calls broke"),
        (during.lost > 0, f"{during.lost} frames were lost"),
    )
    return judged, [f"{kind}: {what}" for is_so, what in wrong if is_so]


async def stopped(server: asyncio.subprocess.Process) -> None:
    """End a server, and wait for that."""
    with contextlib.suppress(ProcessLookupError):
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await server.wait()
    except TimeoutError:
        server.kill()
        await server.wait()


def exit_after(name: str, work: Callable[[Path], Coroutine[Any, Any, list[str]]]) -> NoReturn:
    """Do the work in a folder of its own; print what was wrong, and exit with 1 if anything was."""
    with tempfile.TemporaryDirectory(prefix=f"offhook-{name}-{secrets.token_hex(2)}-") as folder:
        faults = asyncio.run(until_stopped(work(Path(folder))))
    for fault in faults:
        print(f"fault: {fault}")
    sys.exit(bool(faults))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each kind of traffic")
    parser.add_argument("--rate", type=int, default=1_000_000, help="bytes a second")
    parser.add_argument(
        "--kind", action="append", choices=list(KINDS | TLS_KINDS), help="default: all"
    )
    parser.add_argument("--tls", action="store_true", help="the agent speaks TLS")
    parser.add_argument("--own-tls", choices=["ECDSA", "RSA"], help="the server ends TLS itself")
    parser.add_argument("--database", choices=DATABASES, help="of the record; default: sqlite")
    parser.add_argument("--untimed", action="store_true")
    parser.add_argument("--stranger", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stranger:
        one = Stranger(given.stranger, given.kind[0], given.rate, given.seconds)
        asyncio.run(one.attack())
        print(one.sent, one.connections, one.at_once, one.uncut, flush=True)
        return
    exit_after("attack", lambda folder: run(given, folder))


if __name__ == "__main__":
    main()
