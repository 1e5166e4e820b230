"""HTTP and WebSocket on one port, over real sockets, wired as the server wires it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.net.test_websocket import HANDSHAKE, Recorder, accepting, frame, raw
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from offhook.net import first_request, websocket
from offhook.net.first_request import HttpServer
from offhook.net.request_head import HEAD_MAX


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def echo(request: Request) -> Response:
    return Response(await request.body())


@asynccontextmanager
async def serving(decide: websocket.Decide, max_size: int = 65536) -> AsyncIterator[int]:
    """A server like server.py's, with a small application; yields its port."""
    app = Starlette(routes=[Route("/", hello), Route("/echo", echo, methods=["POST"])])
    started = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = HttpServer(
            uvicorn.Config(
                app,
                http=HttpToolsProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
            ),
            sock,
            decide=decide,
            max_size=max_size,
            started=started,
        )
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve())
            await started.wait()
            try:
                yield sock.getsockname()[1]
            finally:
                server.should_exit = True
                await serving


def nobody(upgrade: websocket.Upgrade) -> websocket.Refusal:
    raise AssertionError("this was no WebSocket upgrade")


HELLO = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
HELLO_TO_YOU = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain; charset=utf-8\r\n\r\nhello"
)
POST = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nCallSid=1"


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """One byte at a time, each on its way before the next."""
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(0)


# --- HTTP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dripped", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (HELLO, b"200 OK", b"hello"),
        (POST, b"200 OK", b"CallSid=1"),
        (HELLO.replace(b"/", b"/nowhere", 1), b"404 Not Found", b"Not Found"),
        (HELLO.replace(b"GET", b"PUT"), b"405 Method Not Allowed", b"Method Not Allowed"),
        (HELLO.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\n\r\n"), b"200 OK", b"hello"),
        (b"\r\n\r\n" + HELLO, b"200 OK", b"hello"),
    ],
    ids=["GET", "POST", "404", "405", "another upgrade", "blank lines first"],
)
async def test_a_request_is_answered(
    request_: bytes, status: bytes, body: bytes, dripped: bool
) -> None:
    closing = request_.replace(b"Host: h", b"Host: h\r\nConnection: close")
    async with serving(nobody) as port, raw(port) as (reader, writer):
        if dripped:
            await drip(writer, closing)
        else:
            writer.write(closing)
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert answer.endswith(b"\r\n\r\n" + body)


async def test_a_refusal_ends_the_connection_and_says_so() -> None:
    """Else one connection could have any number of refusals worked out for it."""
    async with serving(nobody) as port, raw(port) as (reader, writer):
        writer.write(POST.replace(b"/echo", b"/nowhere") + HELLO)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"\r\nconnection: close" in head
    assert body == b"Not Found"


async def test_a_connection_is_kept_for_more_requests() -> None:
    async with serving(nobody) as port, raw(port) as (reader, writer):
        for _ in range(3):
            writer.write(HELLO)
            assert await reader.readexactly(len(HELLO_TO_YOU)) == HELLO_TO_YOU
        writer.write(POST)
        assert (await reader.readuntil(b"CallSid=1")).startswith(b"HTTP/1.1 200 OK")


async def test_requests_in_one_packet_are_all_answered() -> None:
    async with serving(nobody) as port, raw(port) as (reader, writer):
        writer.write(HELLO * 3)
        assert await reader.readexactly(3 * len(HELLO_TO_YOU)) == HELLO_TO_YOU * 3


async def test_a_large_body_passes() -> None:
    body = b"x" * 200_000
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"
    async with serving(nobody) as port, raw(port) as (reader, writer):
        writer.write(head + body)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(body)) == body


# --- WebSocket -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "handshake",
    [
        HANDSHAKE,
        HANDSHAKE.replace(b"Upgrade: websocket", b"uPGRADE:\t WebSocket  "),
        HANDSHAKE.replace(b"Host: h\r\n", b"").replace(b"\r\n\r\n", b"\r\nhost: h\r\n\r\n"),
    ],
    ids=["usual", "odd case", "another order"],
)
@pytest.mark.parametrize("dripped", [False, True], ids=["whole", "byte by byte"])
async def test_an_upgrade_is_accepted(handshake: bytes, dripped: bool) -> None:
    far = Recorder()
    async with serving(accepting(far)) as port:
        async with raw(port) as (reader, writer):
            if dripped:
                await drip(writer, handshake + frame(1, b"hello"))
            else:
                writer.write(handshake + frame(1, b"hello"))
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 ")
            await far.until(1)
            assert far.messages == ["hello"]
            assert far.socket is not None
            far.socket.send_text(b"hi")
            assert await reader.readexactly(4) == b"\x81\x02hi"
        await far.closed


async def test_frames_in_the_packet_of_the_upgrade_arrive() -> None:
    far = Recorder()
    async with serving(accepting(far)) as port:
        async with raw(port) as (_, writer):
            writer.write(HANDSHAKE + b"".join(frame(2, bytes([n]) * 100) for n in range(100)))
            await far.until(100)
        await far.closed
    assert far.messages == [bytes([n]) * 100 for n in range(100)]


async def test_a_refused_upgrade_gets_its_status_and_the_port_serves_on() -> None:
    asked: list[str] = []

    def decide(upgrade: websocket.Upgrade) -> websocket.Refusal:
        asked.append(upgrade.path)
        return websocket.Refusal(403, "No.\n")

    async with serving(decide) as port:
        async with raw(port) as (reader, writer):
            writer.write(HANDSHAKE)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert answer.endswith(b"No.\n")
        async with raw(port) as (reader, writer):
            writer.write(HELLO)
            assert await reader.readexactly(len(HELLO_TO_YOU)) == HELLO_TO_YOU
    assert asked == ["/twilio"]


@pytest.mark.parametrize(
    "broken",
    [
        b"GET /twilio HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
        HANDSHAKE.replace(b"GET", b"POST"),
        HANDSHAKE.replace(b"Version: 13", b"Version: 8"),
        b"nonsense\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=["no key", "POST", "an old version", "no request line"],
)
async def test_a_broken_upgrade_is_refused_without_asking(broken: bytes) -> None:
    async with serving(nobody) as port:
        async with raw(port) as (reader, writer):
            writer.write(broken)
            assert b" 101 " not in await reader.read()
        async with raw(port) as (reader, writer):
            writer.write(HELLO)
            assert await reader.readexactly(len(HELLO_TO_YOU)) == HELLO_TO_YOU


async def test_a_connection_that_spoke_http_can_become_a_stream() -> None:
    far = Recorder()
    async with serving(accepting(far)) as port:
        async with raw(port) as (reader, writer):
            writer.write(HELLO + HANDSHAKE + frame(1, b"hello"))
            await reader.readexactly(len(HELLO_TO_YOU))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            await far.until(1)
        await far.closed


# --- Neither -------------------------------------------------------------------------------------


async def cut(reader: asyncio.StreamReader) -> bytes:
    """What still comes before the connection ends, however it ends."""
    async with asyncio.timeout(240):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def cut_while_trickling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a head that never ends, byte by byte, until the server cuts; return what it answered."""
    ended = asyncio.Event()

    async def trickle() -> None:
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while not ended.is_set():
            writer.write(b"x")
            await asyncio.sleep(0.01)  # the trickle's pace

    async with asyncio.TaskGroup() as group:
        group.create_task(trickle())
        answer = await cut(reader)
        ended.set()
    return answer


@pytest.mark.parametrize(
    "begun",
    [b"", b"G", HELLO[:-1], HANDSHAKE[:-2], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ids=["silence", "a letter", "half a request", "half an upgrade", "TLS"],
)
async def test_who_does_not_ask_for_anything_is_cut(
    monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(first_request, "REQUEST_S", 0.05)
    async with serving(nobody) as port, raw(port) as (reader, writer):
        writer.write(begun)
        assert await cut(reader) == b""


async def test_a_trickle_of_bytes_gains_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_request, "REQUEST_S", 0.2)
    async with serving(nobody) as port, raw(port) as (reader, writer):
        assert await cut_while_trickling(reader, writer) == b""


async def test_who_has_asked_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_request, "REQUEST_S", 0.05)
    far = Recorder()
    async with (
        serving(accepting(far)) as port,
        raw(port) as (http, http_writer),
        raw(port) as (_, ws_writer),
    ):
        http_writer.write(HELLO)
        ws_writer.write(HANDSHAKE + frame(1, b"early"))
        assert await http.readexactly(len(HELLO_TO_YOU)) == HELLO_TO_YOU
        await far.until(1)
        async with raw(port) as (silent, _):  # whose time begins later than theirs
            assert await cut(silent) == b""
        http_writer.write(HELLO)
        ws_writer.write(frame(1, b"late"))
        assert await http.readexactly(len(HELLO_TO_YOU)) == HELLO_TO_YOU
        await far.until(2)
        ws_writer.close()
        await far.closed


def padded(request: bytes, head_size: int) -> bytes:
    """The request with one header more, so that its head has that many bytes."""
    head = request.removesuffix(b"\r\n\r\n") + b"\r\nX: "
    return head + b"x" * (head_size - len(head)) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "large", "status"),
    [
        (HELLO, HEAD_MAX, b"200"),
        (HANDSHAKE, HEAD_MAX // 2, b"101"),  # picows has a limit of its own
    ],
    ids=["HTTP", "upgrade"],
)
async def test_a_head_may_be_large_but_not_huge(request_: bytes, large: int, status: bytes) -> None:
    far = Recorder()
    async with serving(accepting(far)) as port:
        async with raw(port) as (reader, writer):
            writer.write(padded(request_, large))
            assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == status
        for huge in (
            padded(request_, HEAD_MAX + 1),
            padded(request_, HEAD_MAX + 5)[: HEAD_MAX + 1],
        ):
            async with raw(port) as (reader, writer):
                writer.write(huge)
                assert (await cut(reader)).startswith(b"HTTP/1.1 431 ")


async def test_an_endless_head_is_cut_long_before_its_time_is_up() -> None:
    async with serving(nobody) as port, raw(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1_000_000)
        await cut(reader)


@pytest.mark.parametrize(
    "garbage",
    [b"SSH-2.0-nonsense\r\n\r\n", bytes(range(256)) + b"\r\n\r\n", b"\0" * 64 + b"\r\n\r\n"],
)
async def test_what_is_not_http_is_refused_and_the_port_serves_on(garbage: bytes) -> None:
    async with serving(nobody) as port:
        async with raw(port) as (reader, writer):
            writer.write(garbage)
            assert (await cut(reader)).startswith(b"HTTP/1.1 400 ")
        async with raw(port) as (reader, writer):
            writer.write(HELLO)
            assert await reader.readexactly(len(HELLO_TO_YOU)) == HELLO_TO_YOU
