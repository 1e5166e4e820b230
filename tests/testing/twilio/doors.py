"""A voice-agent server reduced to its doors: TwiML by path, and an agent on each stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl

from offhook.net import websocket
from offhook.twilio.messages import MediaWriter

TOKEN = "12345"
ACCOUNT = "AC" + "1" * 32
SPEED = 20.0
"""So that a Say of some words is over in milliseconds."""
LOUD = b"\x10" * 1600


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    form: dict[str, str]


class Agent:
    """Speaks for 200 ms once the stream has started, and closes when that was played."""

    def __init__(self, *, patient: bool = False) -> None:
        self.patient = patient
        self.messages: list[dict[str, Any]] = []
        self.closed: asyncio.Future[websocket.Closed] = asyncio.get_running_loop().create_future()
        self.spoke = asyncio.Event()
        self.socket: websocket.Channel

    def on_open(self, socket: websocket.Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        message = json.loads(text)
        self.messages.append(message)
        if message["event"] == "start":
            writer = MediaWriter(message["streamSid"])
            self.socket.send_text(writer.play(LOUD))
            self.socket.send_text(writer.mark("done"))
            self.spoke.set()
        elif message["event"] == "mark" and not self.patient:
            self.socket.close(1000, "bye")

    def on_binary(self, data: bytes) -> None: ...

    def on_writable(self, writable: bool) -> None: ...

    def on_close(self, closed: websocket.Closed) -> None:
        self.closed.set_result(closed)


CUT = -1
"""Status of an answer that never comes: the connection is cut."""

Answer = tuple[int, str, str]
Page = Callable[[Request], Answer]


def xml(document: str) -> Answer:
    return (200, "text/xml", f"<Response>{document}</Response>")


class Server:
    """A voice-agent server reduced to its doors."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.upgrades: list[websocket.Upgrade] = []
        self.agents: list[Agent] = []
        self.pages: dict[str, Page] = {}
        self.refuse: int | None = None
        self.patient = False
        self.mute = False
        self.asked = asyncio.Event()
        self.port = 0
        self.connections = 0
        self.idle = asyncio.Event()
        self.answered = asyncio.Event()

    def page(self, path: str, document: str) -> None:
        self.pages[path] = lambda request: xml(document)

    def at(self, path: str) -> list[Request]:
        return [one for one in self.requests if one.target.partition("?")[0] == path]

    def answer(self, request: Request) -> bytes | None:
        """Return an answer; None to cut the connection."""
        self.requests.append(request)
        page = self.pages.get(request.target.partition("?")[0])
        status, kind, body = page(request) if page else (404, "text/plain", "nothing here")
        if status == CUT:
            return None
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n"
        if kind:
            head += f"Content-Type: {kind}\r\n"
        return f"{head}\r\n{body}".encode()

    def upgrade(self, upgrade: websocket.Upgrade) -> websocket.Acceptance | websocket.Refusal:
        self.upgrades.append(upgrade)
        if self.refuse is not None:
            return websocket.Refusal(self.refuse, "no")
        self.agents.append(Agent(patient=self.patient))
        self.answered.set()
        return websocket.Acceptance(self.agents[-1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/voice"


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server
        self.received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self.count(1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.count(-1)

    def count(self, change: int) -> None:
        """Of the connections that are no sockets, how many are open."""
        self.server.connections += change
        if self.server.connections:
            self.server.idle.clear()
        else:
            self.server.idle.set()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        if headers.get("upgrade") == "websocket":
            self.count(-1)
            websocket.accept(self.transport, self.received, self.server.upgrade, max_size=65536)
        elif len(body) >= int(headers.get("content-length", "0")):
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
            answer = self.server.answer(Request(method, target, headers, form))
            self.server.asked.set()
            if answer is None:
                self.transport.abort()
            elif not self.server.mute:
                self.transport.write(answer)
            self.received = b""


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server
        # Nothing of a call may be left: the test hangs, and fails, if there is.
        async with asyncio.timeout(240):
            for agent in server.agents:
                await agent.closed
            if server.connections:
                await server.idle.wait()
