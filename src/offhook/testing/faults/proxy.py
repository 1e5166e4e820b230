"""Proxy on loopback between the server and Deepgram, Twilio and the server, or the server and REST.

It passes bytes on as they come, whole WebSocket messages at a time, and commits faults between
them. One listening socket takes both of Twilio's kinds of connection: requests, and media streams.
"""

import asyncio
import enum
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

from offhook.clock import Clock
from offhook.net import tls
from offhook.testing.faults.armed import ArmedFaults
from offhook.testing.faults.fault import Fault, FaultyEnd
from offhook.testing.faults.link import Link, reset

MAX_LINKS: Final = 2000
"""Connections at a time. Beyond, a connection is closed at once."""

MAX_HEAD: Final = 64 * 1024
MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of an HTTP request's or answer's head and of its body."""

OPEN_S: Final = 20.0
"""Seconds that opening a connection and one HTTP request may take."""

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Peer(enum.Enum):
    """Peer of the server, at the other side of a proxy."""

    DEEPGRAM = enum.auto()
    """Deepgram, or what stands for it: the server calls it."""
    TWILIO = enum.auto()
    """Twilio, which calls the server with requests and media streams."""
    REST_API = enum.auto()
    """Twilio's REST API: the server asks it."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Address to which a proxy connects."""

    host: str
    port: int
    tls: bool = False
    path: str = ""

    @classmethod
    def of(cls, url: str) -> "Upstream":
        """Return the address of an http, https, ws or wss URL."""
        parts = urlsplit(url)
        tls = parts.scheme in ("https", "wss")
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), tls, parts.path)

    async def open(self) -> Streams:
        """Open a connection. Raises OSError."""
        return await asyncio.open_connection(
            self.host,
            self.port,
            ssl=await tls.loading() if self.tls else None,
            limit=MAX_HEAD,
        )


class FaultProxy:
    """A listening proxy. `fault_proxy` makes one."""

    def __init__(self, upstream: Upstream, clock: Clock, armed: ArmedFaults, peer: Peer) -> None:
        self.links: Final[list[Link]] = []
        """WebSockets that are open, the oldest first."""
        self.port = 0
        self.upstream: Final = upstream
        self._clock = clock
        self._armed = armed
        self._peer = peer
        self._connections = 0

    async def serve(self, client: Streams) -> None:
        """Serve one connection to its end. No error of the network leaves it."""
        if self._connections >= MAX_LINKS:
            client[1].transport.abort()
            return
        self._connections += 1
        opened: list[asyncio.StreamWriter] = [client[1]]
        try:
            async with asyncio.timeout(OPEN_S) as limit:
                head = await client[0].readuntil(b"\r\n\r\n")
                if re.search(rb"(?im)^upgrade: *websocket", head):
                    await self._upgrade(client, head, opened, limit)
                else:
                    await self._request(client, head, opened)
        except (
            ConnectionError,
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ):
            pass
        except asyncio.CancelledError:
            for writer in opened:
                writer.transport.abort()  # what it has not read is of no use
            raise
        finally:
            self._connections -= 1
            for writer in opened:
                writer.close()

    # --- WebSockets ---

    async def _upgrade(
        self,
        client: Streams,
        head: bytes,
        opened: list[asyncio.StreamWriter],
        limit: asyncio.Timeout,
    ) -> None:
        is_agent = self._peer is Peer.DEEPGRAM
        end = FaultyEnd.AGENT if is_agent else FaultyEnd.STREAM
        if is_agent and not await self._opens(client[1], self._armed.due(end, "dial")):
            return
        upstream = await self.upstream.open()
        opened.append(upstream[1])
        upstream[1].write(self._addressed(head))
        answer = await upstream[0].readuntil(b"\r\n\r\n")
        client[1].write(answer)
        if not answer.startswith(b"HTTP/1.1 101"):
            client[1].write(await upstream[0].read(MAX_BODY))
            return
        limit.reschedule(None)
        link = Link(end, self._clock, self._armed)
        self.links.append(link)
        try:
            server, peer = (client, upstream) if is_agent else (upstream, client)
            await link.run(server, peer)
        finally:
            self.links.remove(link)

    async def _opens(self, writer: asyncio.StreamWriter, faults: list[Fault]) -> bool:
        """Commit the faults of an opening. Return True if it may go on."""
        for fault in faults:
            self._armed.note(fault)
            if fault.kind == "late":
                await asyncio.sleep(fault.number)
            elif fault.kind == "refuse":
                reset(writer)
                return False
            elif fault.kind == "status":
                writer.write(_answer(fault.value))
                return False
        return True

    def _addressed(self, head: bytes) -> bytes:
        """Return a request's head with the Host of an upstream that is not on loopback."""
        if not self.upstream.tls:
            return head
        return re.sub(rb"(?im)^host:.*$", b"Host: " + self.upstream.host.encode() + b"\r", head)

    # --- HTTP ---

    async def _request(
        self, client: Streams, head: bytes, opened: list[asyncio.StreamWriter]
    ) -> None:
        """Pass one request on, and its answer back."""
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        size = int(length[1]) if length else 0
        if size > MAX_BODY:
            return
        body = await client[0].readexactly(size)
        method, target, _ = head.decode("latin-1").split(" ", 2)
        if self._peer is Peer.REST_API:
            end, named = FaultyEnd.REST, moments_of_rest(method, target)
        else:
            end, named = FaultyEnd.WEBHOOK, moments(target, body.decode("latin-1"))
        faults = [fault for moment in (*named, "") for fault in self._armed.due(end, moment)]
        for fault in faults:
            self._armed.note(fault)
            if fault.kind == "late":
                await asyncio.sleep(fault.number)
            elif fault.kind == "refuse":
                reset(client[1])
                return
        kinds = {fault.kind: fault for fault in faults}
        if end is FaultyEnd.REST and "status" in kinds:  # Twilio has refused it, and done nothing.
            client[1].write(_answer(kinds["status"].value))
            return
        request = re.sub(rb"(?im)^connection:.*\r\n", b"", head)
        request = request[:-2] + b"Connection: close\r\n\r\n" + body
        count = 2 if "doubled" in kinds else 1
        async with asyncio.TaskGroup() as group:
            sent = [group.create_task(self._answer_to(request, opened)) for _ in range(count)]
        answer = sent[0].result()
        if "lost" in kinds:
            reset(client[1])
            return
        if "status" in kinds:
            answer = _answer(kinds["status"].value)
        client[1].write(answer)
        await client[1].drain()

    async def _answer_to(self, request: bytes, opened: list[asyncio.StreamWriter]) -> bytes:
        try:
            reader, writer = await self.upstream.open()
            opened.append(writer)
            writer.write(request)
            answer = bytearray()
            while len(answer) <= MAX_BODY and (data := await reader.read(MAX_HEAD)):
                answer += data
        except OSError:
            return b""
        return bytes(answer)


def moments(target: str, body: str) -> list[str]:
    """Return the named moments of a request of Twilio's: of its path, then of its fields."""
    parts = urlsplit(target)
    form = parse_qs(body, keep_blank_values=True)
    found = [parts.path.rpartition("/")[2]]
    if "Digits" in form:
        found.append("keys")
    if "RecordingSid" in form or "RecordingUrl" in form:
        found.append("recording")
    if "person" in parse_qs(parts.query, keep_blank_values=True):
        found.append("person")
    return found


def moments_of_rest(method: str, target: str) -> list[str]:
    """Return the named moments of a request of the server's to Twilio's REST API."""
    resource = urlsplit(target).path.rpartition("/Accounts/")[2].split("/")[1:]
    match method, resource:
        case "POST", ["Calls.json"]:
            return ["place"]
        case "POST", ["Calls", _]:
            return ["change"]
        case "GET", ["Calls", _] | ["Calls.json"]:
            return ["read"]
    return []


@asynccontextmanager
async def fault_proxy(
    upstream: Upstream, clock: Clock, armed: ArmedFaults, peer: Peer
) -> AsyncIterator[FaultProxy]:
    """Listen on a free port of loopback. The upstream is the peer, or the server that it calls.

    `armed` are the faults to commit. Afterwards no task and no socket is left.
    """
    proxy = FaultProxy(upstream, clock, armed, peer)
    tasks = set[asyncio.Task[None]]()
    async with asyncio.TaskGroup() as group:

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = group.create_task(proxy.serve((reader, writer)), name="fault proxy")
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=MAX_HEAD)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()


def _answer(status: str) -> bytes:
    body = b"The fault rig says so."
    head = f"HTTP/1.1 {status} Fault\r\nContent-Type: text/plain\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
