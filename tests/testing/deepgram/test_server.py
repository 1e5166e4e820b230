"""The stand-in's door, over real sockets."""

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from offhook.clock import LoopClock
from offhook.deepgram import messages
from offhook.net import websocket
from offhook.testing.simulator.deepgram.script import Script, Stage
from offhook.testing.simulator.deepgram.server import MAX_MESSAGE, PATH, StandInServer, serve
from offhook.testing.simulator.deepgram.standin import StandIn

QUICK = Script(welcome=Stage(after_ms=0))


@asynccontextmanager
async def standing_in(script: Script = QUICK) -> AsyncIterator[tuple[StandInServer, list[StandIn]]]:
    sessions: list[StandIn] = []
    clock = LoopClock(asyncio.get_running_loop())
    server = await serve("127.0.0.1", 0, script, clock, sessions.append)
    try:
        yield server, sessions
    finally:
        async with asyncio.timeout(240):
            await server.close()


class Client:
    """A receiver that waits for its first text and for the end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[bytes] = loop.create_future()
        self.closed: asyncio.Future[websocket.Closed] = loop.create_future()

    def on_open(self, socket: websocket.Channel) -> None:
        pass

    def on_text(self, text: bytes) -> None:
        if not self.first.done():
            self.first.set_result(text)

    def on_binary(self, data: bytes) -> None:
        pass

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: websocket.Closed) -> None:
        self.closed.set_result(closed)


async def dial(
    server: StandInServer, headers: dict[str, str], path: str = PATH
) -> websocket.UpgradeRefusedError:
    """The refusal of an upgrade."""
    url = f"ws://127.0.0.1:{server.port}{path}"
    with pytest.raises(websocket.UpgradeRefusedError) as refused:
        await websocket.connect(url, Client(), headers=headers, timeout=5, max_size=MAX_MESSAGE)
    return refused.value


async def opened(server: StandInServer) -> tuple[websocket.Socket, Client]:
    client = Client()
    headers = {"Authorization": "Token k"}
    socket = await websocket.connect(
        server.url, client, headers=headers, timeout=5, max_size=2 * MAX_MESSAGE
    )
    async with asyncio.timeout(240):
        await client.first
    return socket, client


def handshake(*headers: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {PATH} HTTP/1.1", "Host: h", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *headers, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


async def answer(server: StandInServer, *headers: str) -> dict[str, str]:
    """The head of the answer to an upgrade, names in small letters; "" is the status line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    request = handshake(*headers)
    writer.write(request[:40])
    await writer.drain()
    writer.write(request[40:])
    async with asyncio.timeout(240):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    writer.close()
    await writer.wait_closed()
    fields = (line.partition(":") for line in head[1:] if line)
    return {"": head[0], **{name.lower(): value.strip() for name, _, value in fields}}


@pytest.mark.parametrize(
    ("header", "selected"),
    [
        ("Authorization: Token 0123", None),
        ("Authorization: token 0123", None),
        ("Authorization: Bearer aa.bb.cc", None),
        ("Sec-WebSocket-Protocol: token, 0123", "token"),
        ("Sec-WebSocket-Protocol: token,0123,x-deepgram-session-id,77", "token"),
        ("Sec-WebSocket-Protocol: bearer, aa.bb.cc", "bearer"),
    ],
)
async def test_every_way_to_show_a_key_is_let_in(header: str, selected: str | None) -> None:
    async with standing_in() as (server, sessions):
        head = await answer(server, header)
        assert " 101 " in head[""]
        assert head.get("sec-websocket-protocol") == selected
        assert head["dg-request-id"] == sessions[0].request_id


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Token"},
        {"Authorization": "Token "},
        {"Authorization": "0123"},
        {"Authorization": "Basic 0123"},
        {"Authorization": "Bearer 0123"},
        {"Authorization": "Token aa.bb.cc"},
        {"Sec-WebSocket-Protocol": "token"},
        {"Sec-WebSocket-Protocol": "0123, token"},
        {"Sec-WebSocket-Protocol": "bearer, 0123"},
    ],
)
async def test_no_key_or_a_wrong_scheme_is_401_as_deepgram_says_it(headers: dict[str, str]) -> None:
    async with standing_in() as (server, sessions):
        refused = await dial(server, headers)
        assert refused.status == 401
        told = json.loads(refused.body)
        assert told["err_code"] == "INVALID_AUTH"
        assert told["request_id"] == refused.headers["dg-request-id"]
        assert refused.headers["content-type"] == "application/json"
        assert sessions == []


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://elsewhere.example", 403),
        ("http://127.0.0.1.example", 403),
        ("http://[", 403),
        ("null", 403),
        ("http://localhost:3000", 101),
        ("http://127.0.0.1:5173", 101),
        ("http://[::1]:8000", 101),
    ],
)
async def test_pages_of_this_machine_alone_may_use_it(origin: str, status: int) -> None:
    """Any page in a browser here reaches its port, and could have it ask other ports."""
    async with standing_in() as (server, sessions):
        head = await answer(server, "Sec-WebSocket-Protocol: token, 0123", f"Origin: {origin}")
        assert f" {status} " in head[""]
        assert len(sessions) == (status == 101)


async def test_another_path_is_404() -> None:
    async with standing_in() as (server, _):
        assert (await dial(server, {"Authorization": "Token k"}, "/agent")).status == 404


async def test_a_script_may_refuse_the_upgrade() -> None:
    async with standing_in(Script(upgrade_status=429)) as (server, sessions):
        refused = await dial(server, {"Authorization": "Token k"})
        assert refused.status == 429
        assert json.loads(refused.body)["err_code"] == "TOO_MANY_REQUESTS"
        assert sessions == []


async def test_sessions_are_open_until_they_are_closed() -> None:
    async with standing_in() as (server, sessions):
        socket, client = await opened(server)
        assert messages.read(await client.first) == messages.Welcome(sessions[0].request_id)
        other, _ = await opened(server)
        assert server.sessions == set(sessions)
        assert sessions[0].request_id != sessions[1].request_id
        socket.close()
        await client.closed
        assert server.sessions == {sessions[1]}
        other.abort()


async def test_an_oversized_message_ends_that_session() -> None:
    async with standing_in() as (server, _):
        socket, client = await opened(server)
        socket.send_text(b"x" * (MAX_MESSAGE + 1))
        assert (await client.closed).received == websocket.MESSAGE_TOO_BIG


async def test_close_closes_sessions_and_cuts_who_sent_no_request() -> None:
    async with standing_in() as (server, _):
        _, client = await opened(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /v1/agent")
        await opened(server)
        port = server.port
        await server.close()
        assert (await client.closed).received == 1000
        assert server.sessions == set()
        await ended(reader)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def ended(reader: asyncio.StreamReader) -> None:
    """The connection is cut, without a byte."""
    async with asyncio.timeout(240):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_close_does_not_wait_for_a_client_that_never_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_WAIT_S", 0.05)
    async with standing_in() as (server, sessions):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(handshake("Authorization: Token k"))
        await reader.readuntil(b"\r\n\r\n")
        await server.close()
        assert sessions[0].closed == websocket.Closed(None, "", 1000)
        writer.close()


async def test_a_request_without_end_is_cut() -> None:
    async with standing_in() as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n" + b"x" * 70_000)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        writer.close()


async def test_a_port_in_use_is_an_os_error() -> None:
    async with standing_in() as (server, _):
        clock = LoopClock(asyncio.get_running_loop())
        with pytest.raises(OSError, match="in use"):
            await serve("127.0.0.1", server.port, QUICK, clock)
