"""The fleet files of deploy/ in the real HAProxy and nginx, before nodes that only count."""

import asyncio
import ctypes
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
import pytest
from bench.fleet_proxies import NODES, PROXIES, fleet_proxy
from bench.proxies import free_port
from tests.waiting import until, until_it

HOST = "voice.example.com"
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
PIDFD_GETFD = 438
"""Number of the system call that copies a descriptor of another process, on all machines."""


@dataclass
class CountingNode:
    """Something at a node's address that says its name, and remembers what it was asked."""

    name: str
    port: int
    asked: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    is_ready: bool = True
    dies_when_asked: bool = False
    server: asyncio.Server | None = None
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
            for writer in [*self.open]:
                writer.transport.abort()
            await until(lambda: not self.open)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:-2])
            await reader.readexactly(int(headers.get("content-length", "0")))
            method, path, _ = lines[0].split(" ")
            if path in ("/healthz", "/readyz"):
                good = path == "/healthz" or self.is_ready
                writer.write(answer("200 OK" if good else "503 Full", ""))
            else:
                self.asked.append(f"{method} {path}")
                self.hosts.add(headers["host"])
                if "upgrade" in headers:
                    await self._stream(reader, writer)
                elif not self.dies_when_asked:
                    writer.write(answer("200 OK", self.name))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the proxy has gone
        finally:
            writer.close()
            self.open.discard(writer)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = f"Connection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}"
        head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{accepted}\r\n\r\n"
        writer.write(head.encode() + self.name.encode())
        while data := await reader.read(100):
            writer.write(data)


def answer(status: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()


class Fleet:
    """Three nodes behind a proxy."""

    def __init__(self, nodes: Sequence[CountingNode], url: str, http: httpx2.AsyncClient) -> None:
        self.a, self.b, self.c = self.nodes = nodes
        self.url = url
        self.http = http

    async def post(self, path: str) -> httpx2.Response:
        body = b"CallSid=CA1"
        return await self.http.post(self.url + path, content=body, headers={"Host": HOST})

    async def answering(self, path: str, times: int = 6) -> set[str]:
        """Return who answers when a path is asked several times."""
        answers = [await self.post(path) for _ in range(times)]
        return {answer.text for answer in answers if answer.status_code == 200}

    async def until_answering(self, path: str, names: set[str]) -> None:
        """Wait until these answer a path, and no others."""

        async def is_so() -> bool:
            return await self.answering(path) == names

        await until_it(is_so)

    def count(self) -> int:
        return sum(len(node.asked) for node in self.nodes)


@asynccontextmanager
async def fleet(proxy: str, folder: Path) -> AsyncIterator[Fleet]:
    if shutil.which(proxy) is None:
        pytest.skip(f"{proxy} is not installed")
    async with AsyncExitStack() as stack:
        nodes = [CountingNode(name, free_port()) for name in NODES]
        for node in nodes:
            await node.start()
            stack.push_async_callback(node.stop)
        port = free_port()
        addresses = {node.name: f"127.0.0.1:{node.port}" for node in nodes}
        await stack.enter_async_context(fleet_proxy(proxy, folder, port, addresses))
        http = await stack.enter_async_context(
            httpx2.AsyncClient(trust_env=False, verify=False, timeout=60)
        )
        yield Fleet(nodes, f"http://127.0.0.1:{port}", http)


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_nodes_paths_lead_to_that_node(proxy: str, tmp_path: Path) -> None:
    async with fleet(proxy, tmp_path) as f:
        for node in f.nodes:
            for path in ("voice", "after?stream=1", "status"):
                path = f"/twilio/n/{node.name}/{path}"
                assert (await f.post(path)).text == node.name
                assert node.asked[-1] == f"POST {path}"
        assert {host for node in f.nodes for host in node.hosts} == {HOST}, "what Twilio signed"
        assert await f.answering("/twilio/after") == {"a", "b", "c"}
        assert await f.answering("/twilio/n/gone/after") <= {"a", "b", "c"}


async def stream(f: Fleet) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream to node b."""
    reader, writer = await asyncio.open_connection(*f.url.removeprefix("http://").split(":"))
    head = f"GET /twilio/n/b HTTP/1.1\r\nHost: {HOST}\r\n"
    keys = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(f"{head}{keys}Sec-WebSocket-Key: {KEY}\r\n\r\n".encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(1) == b"b"
    return reader, writer


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_stream_leads_to_its_node_both_ways(proxy: str, tmp_path: Path) -> None:
    async with fleet(proxy, tmp_path) as f:
        reader, writer = await stream(f)
        writer.write(b"audio")
        assert await reader.readexactly(5) == b"audio"
        await f.b.stop()
        assert await reader.read() == b"", "the stream ends with its node"
        writer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="a socket of another process is read")
async def test_a_machine_without_power_loses_its_streams_after_5_s(tmp_path: Path) -> None:
    async with fleet("haproxy", tmp_path) as f:
        _, writer = await stream(f)
        try:
            # A check of the node's health may have a connection, too.
            assert set(user_timeouts_ms(f.b.port)) == {5000}
        finally:
            writer.close()


def user_timeouts_ms(port: int) -> list[int]:
    """Return TCP's user timeout of each connection that our HAProxy has to a port."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    for process in psutil.Process().children(recursive=True):
        if process.name() != "haproxy":
            continue
        for one in process.net_connections("tcp"):
            if one.status == psutil.CONN_ESTABLISHED and one.raddr.port == port:
                pidfd = os.pidfd_open(process.pid)
                try:
                    fd = libc.syscall(PIDFD_GETFD, pidfd, one.fd, 0)
                finally:
                    os.close(pidfd)
                assert fd >= 0, os.strerror(ctypes.get_errno())
                with socket.socket(fileno=fd) as sock:
                    level, option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
                    found.append(sock.getsockopt(level, option))
    return found


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_node_that_is_down_is_replaced_by_another(proxy: str, tmp_path: Path) -> None:
    async with fleet(proxy, tmp_path) as f:
        await f.b.stop()
        for asked in range(1, 7):  # from the first on: nothing has told the proxy yet
            answer = await f.post("/twilio/n/b/after")
            assert (answer.status_code, answer.text in ("a", "c")) == (200, True)
            assert f.count() == asked, "delivered once"
        assert (await f.post("/twilio/voice")).text in ("a", "c")
        await f.b.start()
        await f.until_answering("/twilio/n/b/after", {"b"})


@pytest.mark.parametrize("proxy", PROXIES)
async def test_what_was_delivered_is_not_repeated(proxy: str, tmp_path: Path) -> None:
    async with fleet(proxy, tmp_path) as f:
        f.b.dies_when_asked = True
        assert (await f.post("/twilio/n/b/voice")).status_code == 502
        assert f.b.asked == ["POST /twilio/n/b/voice"]
        assert f.count() == 1, "Twilio repeats it, by the connection override of its address"


async def test_a_node_that_drains_gets_what_is_its_own_and_no_new_call(tmp_path: Path) -> None:
    async with fleet("haproxy", tmp_path) as f:
        assert await f.answering("/twilio/voice") == {"a", "b", "c"}
        f.b.is_ready = False
        await f.until_answering("/twilio/voice", {"a", "c"})
        assert await f.answering("/twilio") == {"a", "c"}, "streams of TwiML Bins are new calls"
        assert await f.answering("/twilio/n/b/after") == {"b"}
        assert await f.answering("/twilio/status") == {"a", "b", "c"}
        f.a.is_ready = f.c.is_ready = False
        await f.until_answering("/twilio/voice", {"a", "b", "c"})  # each answers with `busy`


@pytest.mark.parametrize("proxy", PROXIES)
async def test_what_is_not_twilios_stays_inside(proxy: str, tmp_path: Path) -> None:
    async with fleet(proxy, tmp_path) as f:
        for path in (
            "/healthz",
            "/readyz",
            "/metrics",
            "/api/v1/load",
            "/twiliox",
            "/node/v1/orders",
        ):
            assert (await f.post(path)).status_code == 404, path
        assert f.count() == 0
