"""What strangers may send, and how many of them there may be: every request of every connection."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn
from starlette.types import Receive, Scope, Send
from tests.net.test_first_request import HELLO, POST, cut, cut_while_trickling, drip, nobody
from tests.net.test_websocket import HANDSHAKE, Recorder, accepting, raw
from tests.waiting import until
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from offhook.bench.load import sockets
from offhook.net import first_request, handshakes, listener, websocket
from offhook.net.first_request import HttpServer
from offhook.net.listener import Listener
from offhook.net.request_head import CHUNKED_MAX, CHUNKS_MAX, HEAD_MAX, HEADERS_MAX
from offhook.testing.virtual_clock import VirtualClock

OK = b"HTTP/1.1 200 OK"


class App:
    """Answers with the body that came, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.bodies: list[bytes] = []
        self.hold: asyncio.Event | None = None
        self.refuse = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["raw_path"])
        body = b""
        status = 403 if self.refuse else 200
        while not self.refuse:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        if self.hold is not None:
            await self.hold.wait()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Served:
    def __init__(self, port: int, app: App, server: HttpServer) -> None:
        self.port = port
        self.app = app
        self.listener = server.listener


@asynccontextmanager
async def serving(
    decide: websocket.Decide = nobody, certificate: str | None = None
) -> AsyncIterator[Served]:
    app, started = App(), asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        config = uvicorn.Config(
            app,
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            ssl_certfile=certificate,
        )
        server = HttpServer(config, sock, decide=decide, max_size=65536, started=started)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(server.serve())
            await started.wait()
            try:
                yield Served(sock.getsockname()[1], app, server)
            finally:
                if app.hold is not None:
                    app.hold.set()
                server.should_exit = True
                await running


@pytest.fixture
def few_places(monkeypatch: pytest.MonkeyPatch) -> int:
    """A process that may open so few files that eight connections are its share."""
    monkeypatch.setattr(listener, "file_limit", lambda: 32)
    return 8


async def answer(port: int, request: bytes) -> bytes:
    async with raw(port) as (reader, writer):
        writer.write(request)
        return await cut(reader)


# --- Heads: every one of a connection -------------------------------------------------------------

BEFORE = pytest.mark.parametrize(
    "before", [b"", b"\r\n\r\n", HELLO, HELLO * 3, b"\r\n" + POST], ids=repr
)


@BEFORE
async def test_no_requests_head_may_be_too_long(before: bytes) -> None:
    one = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * HEAD_MAX
    many = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * (HEAD_MAX // 6)
    async with serving() as s:
        for huge in (one, one + b"\r\n\r\n", many, many + b"\r\n"):
            served = len(s.app.asked)
            got = await answer(s.port, before + huge)
            assert got.count(b"HTTP/1.1 431 ") == 1
            assert got.count(OK) == len(s.app.asked) - served == before.count(b"HTTP")


@BEFORE
async def test_no_requests_head_may_have_too_many_headers(before: bytes) -> None:
    async with serving() as s:
        for count, status in ((HEADERS_MAX - 2, OK), (HEADERS_MAX, b"HTTP/1.1 431 ")):
            head = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + b"X: y\r\n" * count
            got = await answer(s.port, before + head + b"\r\n")
            assert got.removeprefix(b"\r\n").count(status) >= 1, got
            assert (b" 431 " in got) == (status != OK)


@pytest.mark.parametrize("first", [b"", HELLO, b"\r\n\r\n"], ids=["first", "second", "blank"])
async def test_no_requests_head_may_come_too_slowly(
    monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(first_request, "IDLE_S" if first == HELLO else "REQUEST_S", 0.2)
    async with serving() as s, raw(s.port) as (reader, writer):
        writer.write(first)
        if first == HELLO:
            await reader.readuntil(b"\r\n\r\n")
        assert await cut_while_trickling(reader, writer) == b""


@BEFORE
async def test_an_endless_head_is_not_kept(before: bytes) -> None:
    """Megabytes of it: what is held stays small, whatever the client goes on sending."""
    async with serving() as s, raw(s.port) as (reader, writer):
        writer.write(before + b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 500_000)
        await cut(reader)
        await until(lambda: s.listener.connections == 0)
        assert (
            await answer(s.port, HELLO.replace(b"h\r", b"h\r\nConnection: close\r"))
        ).startswith(OK)


async def test_endless_blank_lines_are_no_request() -> None:
    async with serving() as s, raw(s.port) as (reader, writer):
        writer.write(b"\r\n" * 1_000_000)
        await cut(reader)
        await until(lambda: s.listener.connections == 0)
        assert s.app.asked == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a\r\nHost: h",
        b"GET  /a HTTP/1.1\r\nHost: h",
        b"GET /a HTTP/1.1 \r\nHost: h",
        b"GET /a HTTP/2.0\r\nHost: h",
        b"get /a HTTP/1.1\r\nHost: h",
        b"GET http://h/a HTTP/1.1\r\nHost: h",
        b"GET * HTTP/1.1\r\nHost: h",
        b"CONNECT /a HTTP/1.1\r\nHost: h",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h",
        b"GET /a\x7f HTTP/1.1\r\nHost: h",
        b"GET /a HTTP/1.1",
        b"GET /a HTTP/1.1\r\nHost: h\r\nHost: i",
        b"GET /a HTTP/1.1\r\nHost : h",
        b"GET /a HTTP/1.1\r\n Host: h",
        b"GET /a HTTP/1.1\r\nHost: h\r\n folded",
        b"GET /a HTTP/1.1\r\nHost: h\r\nX\x00: y",
        b"GET /a HTTP/1.1\r\nHost: h\r\nX\xff: y",
        b"GET /a HTTP/1.1\r\nHost: h\r\n: y",
        b"GET /a HTTP/1.1\r\nHost: h\r\nX",
        b"GET /a HTTP/1.1\r\nHost: h\r\nX: a\x00b",
        b"GET /a HTTP/1.1\r\nHost: h\r\nX: a\rb",
        b"GET /a HTTP/1.1\r\nHost: h\r\nX: a\nY: b",
        b"GET /a HTTP/1.1\nHost: h",
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3",
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3",
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: +3",
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3",
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: ",
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity",
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked",
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked",
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked",
        HANDSHAKE[:-4] + b"\r\nContent-Length: 3",
        HANDSHAKE[:-4] + b"\r\nUpgrade: h2c",
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(head: bytes) -> None:
    """What hides in the body of one reading would be a request in the other."""
    async with serving() as s:
        got = await answer(s.port, head + b"\r\n\r\n" + HELLO)
        assert got.startswith(b"HTTP/1.1 400 ")
        assert got.count(b"HTTP/1.1") == 1
        assert s.app.asked == []


# --- Bodies ---------------------------------------------------------------------------------------


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%X\r\n%s\r\n" % (len(part), part) for part in parts) + end


@pytest.mark.parametrize("dripped", [False, True], ids=["whole", "byte by byte"])
async def test_a_body_in_chunks_is_put_together(dripped: bool) -> None:
    both = chunked(b"CallSid", b"=", b"CA1" * 100) + HELLO.replace(
        b"h\r", b"h\r\nConnection: close\r"
    )
    async with serving() as s, raw(s.port) as (reader, writer):
        if dripped:
            await drip(writer, both)
        else:
            writer.write(both)
        assert (await reader.read()).count(OK) == 2
        assert s.app.bodies == [b"CallSid=" + b"CA1" * 100, b""]


@pytest.mark.parametrize(
    "request_",
    [
        chunked(b"abc").replace(b"3\r\n", b"3;x=y\r\n"),
        chunked(b"abc").replace(b"3\r\n", b" 3\r\n"),
        chunked(b"abc").replace(b"3\r\n", b"-3\r\n"),
        chunked(b"abc").replace(b"3\r\n", b"4\r\n"),
        chunked(b"abc").replace(b"3\r\n", b"3\n"),
        chunked(b"abc", end=b"0\r\nTrailer: x\r\n\r\n"),
        chunked(b"abc", end=b"FFFFFFFFF\r\n"),
        chunked(*[b"x"] * (CHUNKS_MAX + 1)),
        chunked(b"x" * CHUNKED_MAX),
        chunked(b"abc", end=b"FFFFFFFF\r\n"),
    ],
)
async def test_chunks_that_are_malformed_or_too_many_are_refused(request_: bytes) -> None:
    async with serving() as s:
        got = await answer(s.port, request_ + HELLO)
        assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))
        assert got.count(b"HTTP/1.1") == 1
        assert s.app.asked == []


async def test_a_body_that_is_too_long_is_refused_at_its_head() -> None:
    async with serving() as s:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (
            first_request.BODY_MAX + 1
        )
        assert (await answer(s.port, head)).startswith(b"HTTP/1.1 413 ")
        assert (await answer(s.port, head + b"x" * first_request.BODY_MAX)).startswith(
            b"HTTP/1.1 413 "
        )
        assert s.app.asked == []


@pytest.mark.parametrize("request_", [POST[:-1], chunked(b"abc", end=b"")])
async def test_a_body_that_does_not_come_is_given_up(
    monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    monkeypatch.setattr(first_request, "BODY_S", 0.1)
    async with serving() as s:
        assert (await answer(s.port, request_)).startswith(b"HTTP/1.1 408 ")
        assert s.app.bodies == []


async def test_continue_is_said_to_a_body_that_is_wanted_and_to_no_other() -> None:
    expecting = POST.replace(b"Host: h", b"Host: h\r\nExpect: 100-continue")
    head, _, body = expecting.partition(b"\r\n\r\n")
    async with serving() as s:
        async with raw(s.port) as (reader, writer):
            writer.write(head + b"\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await reader.readuntil(body)).startswith(OK)
        s.app.refuse = True
        got = await answer(s.port, head + b"\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 403 ")
        assert b" 100 " not in got


async def test_who_is_refused_before_the_body_can_read_why_and_gets_no_second_answer() -> None:
    long = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"
    async with serving() as s:
        s.app.refuse = True
        async with raw(s.port) as (reader, writer):
            writer.write(long + b"x" * 60_000)
            got = await cut(reader)
        assert got.startswith(b"HTTP/1.1 403 ")
        assert got.count(b"HTTP/1.1") == 1
        assert s.app.bodies == [b""]


# --- How many -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("at", ["head", "body"])
async def test_a_request_byte_by_byte_is_read_at_a_pace(
    monkeypatch: pytest.MonkeyPatch, certificate: str, at: str, tls: bool
) -> None:
    """Each read costs as much as an audio frame: many thousands a second would be in their way."""
    reads = list[int]()
    take = first_request.FirstRequestRouter.data_received

    def counted(router: first_request.FirstRequestRouter, data: bytes) -> None:
        reads.append(len(data))
        take(router, data)

    monkeypatch.setattr(first_request.FirstRequestRouter, "data_received", counted)
    slow = b"X: " + b"y" * 300 + b"\r\n\r\n" if at == "head" else b"b" * 300
    head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    before = head if at == "head" else head + b"Content-Length: 300\r\n\r\n"
    async with serving(certificate=certificate if tls else None) as s:
        context = sockets.unchecked() if tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", s.port, ssl=context)
        began = asyncio.get_running_loop().time()
        writer.write(before)
        await drip(writer, slow)
        assert (await cut(reader)).startswith(OK)
        took_s = asyncio.get_running_loop().time() - began
        assert sum(reads) == len(before) + len(slow)
        assert len(reads) <= 2 * first_request.READS_FREE + took_s / first_request.PACE_S + 2
        writer.close()


async def test_who_is_refused_while_its_request_gathers_reads_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_request, "PACE_S", 60.0)
    monkeypatch.setattr(first_request, "BODY_S", 0.3)
    async with serving() as s, raw(s.port) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\n")
        await drip(writer, b"b" * 3 * first_request.READS_FREE)
        assert (await cut(reader)).startswith(b"HTTP/1.1 408 ")
    async with serving() as s, raw(s.port) as (_, writer):
        await drip(writer, HELLO[: 2 * first_request.READS_FREE])
        s.listener.cut()  # while it gathers: nothing is read on a connection that is gone


async def test_who_has_sent_nothing_goes_first_then_half_requests_then_idle_ones(
    few_places: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_request, "REQUEST_S", 60.0)
    monkeypatch.setattr(first_request, "IDLE_S", 60.0)
    monkeypatch.setattr(listener, "FRESH_S", 0.0)
    monkeypatch.setattr(listener, "FRESH_TURNS", 0)
    async with serving() as s, AsyncExitStack() as stack:
        made = []
        for begun in (HELLO, b"GET / HT", b"", HELLO, b"GET / HT", b"", HELLO, HELLO):
            reader, writer = await stack.enter_async_context(raw(s.port))
            writer.write(begun)
            if begun == HELLO:
                await reader.readuntil(b"\r\n\r\n")
            made.append(reader)
            await until(lambda: s.listener.connections == len(made))
        await until(lambda: len(s.app.asked) == 4)
        for victim in (2, 5, 1, 4, 0, 3, 6, 7):
            reader, writer = await stack.enter_async_context(raw(s.port))
            writer.write(HELLO)
            await reader.readuntil(b"\r\n\r\n")
            assert await cut(made[victim]) == b""
            assert s.listener.connections <= few_places
        assert s.listener.dropped == 8
    assert "dropped a connection (silent) for a new one: 8 are open" in caplog.text


async def test_who_is_being_answered_is_never_dropped_and_whoever_comes_then_waits(
    few_places: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as s, AsyncExitStack() as stack:
        s.app.hold = asyncio.Event()
        made = [await stack.enter_async_context(raw(s.port)) for _ in range(few_places)]
        for _, writer in made:
            writer.write(HELLO)
        await until(lambda: len(s.app.asked) == few_places)
        made += [await stack.enter_async_context(raw(s.port)) for _ in range(few_places)]
        for _, writer in made[few_places:]:
            writer.write(HELLO)
        await until(lambda: "8 connections are being answered: others wait" in caplog.text)
        assert len(s.app.asked) == few_places
        s.app.hold.set()
        for reader, _ in made:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(OK)


async def test_connections_that_come_together_do_not_push_each_other_out(few_places: int) -> None:
    """They go before half requests only once there was time to read what they have sent."""
    async with serving() as s, AsyncExitStack() as stack:
        for _ in range(few_places):
            _, writer = await stack.enter_async_context(raw(s.port))
            writer.write(b"GET / HT")
        asking = s.listener._by_state[listener.ConnectionState.ASKING]
        await until(lambda: len(asking) == few_places)
        # Without a pause, so that the server finds all of them, and their requests, at once.
        come = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(few_places)]
        for each in come:
            each.sendall(HELLO)
            each.setblocking(False)
        loop = asyncio.get_running_loop()
        answers = [await loop.sock_recv(each, 1000) for each in come]
        for each in come:
            each.close()
        assert all(answer.startswith(OK) for answer in answers)
        assert s.listener.dropped == few_places


async def test_a_connection_that_is_cut_before_it_is_opened_is_closed() -> None:
    async with serving() as s:
        come = socket.create_connection(("127.0.0.1", s.port))
        s.listener._accept()
        (connection,) = s.listener._opening
        s.listener._cut(connection)
        come.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(come, 1) == b""
        assert s.listener._opening == {}
        come.close()


async def test_streams_leave_room_for_everything_else(few_places: int) -> None:
    far = Recorder()
    async with serving(accepting(far)) as s:
        assert s.listener.streams_max == 1
        async with raw(s.port) as (reader, writer):
            writer.write(HANDSHAKE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert (s.listener.connections, s.listener.streams) == (0, 1)
            assert (await answer(s.port, HANDSHAKE)).startswith(b"HTTP/1.1 503 ")
        await far.closed
        await until(lambda: s.listener.streams == 0)


async def test_refusals_without_end_are_all_answered_in_the_end(few_places: int) -> None:
    """They are slowed down, not lost, and whoever asks for something good is served among them."""
    async with serving() as s:
        for _ in range(3 * few_places):
            assert (await answer(s.port, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        good = HELLO.replace(b"h\r", b"h\r\nConnection: close\r")
        assert (await answer(s.port, good)).startswith(OK)


async def test_as_many_bad_connections_as_there_are_places_are_taken_in_a_second(
    few_places: int,
) -> None:
    async with serving() as s:
        waits = s.listener
        clock = waits._clock = VirtualClock(waits._clock.now())
        began = clock.now()
        for _ in range(3 * few_places):
            while (wait_s := waits._wait_s()) > 0:  # for which no connection is accepted
                clock.run(wait_s + 1e-6)
            waits.charge()
        while (wait_s := waits._wait_s()) > 0:
            clock.run(wait_s + 1e-6)
        assert 2 <= clock.now() - began < 2.5, "the places themselves at once"


async def test_streams_are_taken_as_fast_as_bad_connections() -> None:
    """Whoever saw an upgrade can repeat it without end."""
    async with serving(accepting(Recorder())) as s:
        s.listener._clock = VirtualClock(s.listener._clock.now())  # no second passes
        async with raw(s.port) as (reader, writer):
            writer.write(HANDSHAKE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert s.listener._credit == s.listener.places - 1


async def test_a_lack_of_files_is_told_and_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "PAUSE_S", 0.01)
    async with serving() as s:
        real = s.listener._sock

        class Scarce:
            calls = 0

            def accept(self) -> tuple[socket.socket, Any]:
                self.calls += 1
                if self.calls == 1:
                    raise OSError(errno.EMFILE, "Too many open files")
                if self.calls == 2:
                    raise ConnectionAbortedError
                return real.accept()

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        monkeypatch.setattr(s.listener, "_sock", Scarce())
        good = HELLO.replace(b"h\r", b"h\r\nConnection: close\r")
        assert (await answer(s.port, good)).startswith(OK)
    assert "no connection can be accepted: Too many open files" in caplog.text


async def test_a_request_that_is_answered_by_a_fault_ends_its_own_connection_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = HELLO.replace(b"h\r", b"h\r\nConnection: close\r")
    async with serving() as s:
        with monkeypatch.context() as broken:

            def fault(raw: bytes) -> None:
                raise RuntimeError

            broken.setattr(first_request, "read", fault)
            assert await answer(s.port, good) == b""
        assert (await answer(s.port, good)).startswith(OK)
    assert "a fault in answering a connection" in caplog.text


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    file = tmp_path / "chain.pem"
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(file)
    return str(file)


def server_context(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01", HELLO])
async def test_a_tls_handshake_that_is_not_completed_is_cut(
    certificate: str, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_S", 0.1)
    async with serving(certificate=certificate) as s:
        async with raw(s.port) as (reader, writer):
            writer.write(sent)
            await cut(reader)
        await until(lambda: s.listener.connections == 0)


async def test_hellos_that_come_together_are_answered_in_turns(certificate: str) -> None:
    """Each answer is a signature on the loop: all at once would stop the audio."""
    clock = VirtualClock()
    turns = handshakes.Handshakes(server_context(certificate), clock)
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(4)]
        for client, server in pairs:
            stack.enter_context(client)
            stack.enter_context(server).setblocking(False)
            client.sendall(sockets.client_hello())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(turns.turn(server)) for _, server in pairs]

            def has_had(count: int) -> bool:
                clock.run(0)
                return sum(task.done() for task in tasks) >= count

            await until(lambda: has_had(1))
            tasks[1].cancel()  # Its connection was cut: it takes no turn.
            for count in (3, 4):
                for _ in range(20):
                    await asyncio.sleep(0)
                clock.run(turns.turn_s * 0.9)
                assert not has_had(count)
                clock.run(turns.turn_s * 0.1)
                await until(lambda count=count: has_had(count))  # type: ignore[misc]


async def test_a_hello_that_comes_byte_by_byte_is_answered(certificate: str) -> None:
    async with serving(certificate=certificate) as s, raw(s.port) as (reader, writer):
        await drip(writer, sockets.client_hello())
        assert await reader.readexactly(1) == b"\x16"


async def test_a_hello_in_several_records_is_cut(certificate: str) -> None:
    """The last record could come outside of its turn."""
    hello = sockets.client_hello()
    parts = [hello[5:100], hello[100:]]
    split = b"".join(hello[:3] + len(part).to_bytes(2, "big") + part for part in parts)
    async with serving(certificate=certificate) as s, raw(s.port) as (reader, writer):
        writer.write(split)
        assert await cut(reader) == b""


@pytest.mark.parametrize("is_free", [True, False])
async def test_a_second_hello_is_answered_only_if_a_turn_is_free(
    certificate: str, is_free: bool
) -> None:
    """A server may ask for one (RFC 8446 §4.1.4): here it has no curve that the client tries."""
    context = server_context(certificate)
    context.set_ecdh_curve("secp521r1")
    clock = VirtualClock()
    turns = handshakes.Handshakes(context, clock)
    first, second = socket.socketpair()
    with first, second:
        first.sendall(sockets.client_hello())
        second.setblocking(False)
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(turns.turn(second))

            def has_come() -> bool:
                clock.run(0)
                return turn.done()

            await until(has_come)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = sockets.unchecked().wrap_bio(incoming, outgoing)
    server = context.wrap_bio(outgoing, incoming, server_side=True)
    for each in (client, server, client):
        with pytest.raises(ssl.SSLWantReadError):
            each.do_handshake()
    assert outgoing.pending, "a second hello was asked for"
    if is_free:
        clock.run(turns.turn_s)
    with pytest.raises(ssl.SSLWantReadError if is_free else ssl.SSLError) as refused:
        server.do_handshake()
    assert (refused.type is ssl.SSLWantReadError) is is_free


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Listener, "_next"), (Listener, "_go_on"), (handshakes.Handshakes, "_next")],
)
async def test_after_a_fault_in_place_of_a_turn_the_port_serves_on(
    certificate: str, monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str
) -> None:
    work = getattr(owner, name)
    faults: list[str] = []

    def once_broken(self: Any) -> None:
        if not faults:
            faults.append(name)
            raise ZeroDivisionError
        work(self)

    monkeypatch.setattr(owner, name, once_broken)
    async with serving(certificate=certificate) as s, asyncio.timeout(240):
        s.listener._pause(0.0)
        for _ in range(2):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", s.port, ssl=sockets.unchecked()
            )
            writer.write(HELLO)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(OK)
            writer.close()
    assert faults


async def test_tls_handshakes_count_among_the_connections(
    certificate: str, few_places: int
) -> None:
    """And are the first to go, so that whoever shakes hands gets in."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with serving(certificate=certificate) as s, AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(raw(s.port)) for _ in range(few_places)]
        for _, writer in silent:
            writer.write(b"\x16\x03\x01\x02\x00\x01")
        await until(lambda: s.listener.connections == few_places)
        reader, writer = await asyncio.open_connection("127.0.0.1", s.port, ssl=trusting)
        writer.write(HELLO)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(OK)
        assert await cut(silent[0][0]) == b""
        writer.close()
        for _, each in silent:
            each.transport.abort()
        await until(lambda: s.listener.connections == 0)
