"""The one module that knows the WebSocket engine, over real sockets."""

import asyncio
import base64
import gc
import inspect
import os
import socket
import ssl
import struct
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast

import picows
import pytest
import trustme
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from tests.waiting import settled, until

from offhook.net import websocket


class Recorder:
    """A receiver that keeps what it is told."""

    def __init__(self) -> None:
        self.socket: websocket.Channel | None = None
        self.messages: list[bytes | str] = []
        self.writable: list[bool] = []
        self.closed: asyncio.Future[websocket.Closed] = asyncio.get_running_loop().create_future()
        self.got = asyncio.Event()

    def on_open(self, socket: websocket.Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        self.messages.append(text.decode())
        self.got.set()

    def on_binary(self, data: bytes) -> None:
        self.messages.append(data)
        self.got.set()

    def on_writable(self, writable: bool) -> None:
        self.writable.append(writable)

    def on_close(self, closed: websocket.Closed) -> None:
        self.closed.set_result(closed)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(240):
            while len(self.messages) < count:
                self.got.clear()
                await self.got.wait()


class Front(asyncio.Protocol):
    """The least that a server does before `accept`: gather the request."""

    def __init__(self, decide: websocket.Decide, max_size: int) -> None:
        self.decide = decide
        self.max_size = max_size
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if b"\r\n\r\n" in self.received:
            websocket.accept(self.transport, self.received, self.decide, max_size=self.max_size)


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection without a WebSocket library."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def serving(decide: websocket.Decide, max_size: int = 65536) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(decide, max_size), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await settled()


def accepting(receiver: websocket.Receiver) -> Callable[[websocket.Upgrade], websocket.Acceptance]:
    return lambda _: websocket.Acceptance(receiver)


async def dial(port: int, receiver: websocket.Receiver, max_size: int = 65536) -> websocket.Socket:
    return await websocket.connect(
        f"ws://127.0.0.1:{port}/twilio",
        receiver,
        headers={"X-Test": "yes"},
        timeout=2,
        max_size=max_size,
    )


HANDSHAKE = (
    b"GET /twilio HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    + base64.b64encode(os.urandom(16))
    + b"\r\n\r\n"
)


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame, masked with zeros."""
    assert len(payload) < 126
    return struct.pack("!BBI", (0x80 if fin else 0) | opcode, 0x80 | len(payload), 0) + payload


async def test_messages_travel_both_ways_in_order() -> None:
    near, far = Recorder(), Recorder()
    async with serving(accepting(far)) as port:
        socket = await dial(port, near)
        socket.send_text(b"one")
        socket.send_binary(b"\x02")
        socket.send_text(b"three")
        await far.until(3)
        assert far.messages == ["one", b"\x02", "three"]
        assert far.socket is not None
        far.socket.send_binary(b"back" * 5000)
        await near.until(1)
        assert near.messages == [b"back" * 5000]
        socket.close(1000, "done")
        assert await far.closed == websocket.Closed(1000, "done", None)
        assert await near.closed == websocket.Closed(1000, "", 1000)


async def test_the_upgrade_shows_its_raw_path_and_headers() -> None:
    seen: list[websocket.Upgrade] = []

    def decide(upgrade: websocket.Upgrade) -> websocket.Refusal:
        seen.append(upgrade)
        return websocket.Refusal(403, "no")

    async with serving(decide) as port:
        with pytest.raises(websocket.UpgradeRefusedError) as refused:
            await dial(port, Recorder())
    assert refused.value.status == 403
    assert refused.value.body == "no"
    assert seen[0].path == "/twilio"
    assert seen[0].headers["x-test"] == "yes"
    assert seen[0].peer == "127.0.0.1"


async def test_frames_sent_with_the_request_are_not_lost() -> None:
    far = Recorder()
    async with serving(accepting(far)) as port:
        async with raw(port) as (_, writer):
            writer.write(HANDSHAKE + frame(1, b"early") + frame(1, b"bird"))
            await far.until(2)
            assert far.messages == ["early", "bird"]
        assert (await far.closed).received is None


def test_a_peer_that_dialled_us_is_given_up_within_15_s_of_its_last_frame() -> None:
    assert 2 * websocket.ACCEPTED_IDLE_S + websocket.CLOSE_WAIT_S < 15


@pytest.mark.parametrize(
    ("answer", "is_lost"),
    [(b"", True), (frame(10, b""), False), (frame(1, b"audio, and no pong"), False)],
)
async def test_a_peer_that_went_away_without_a_close_is_given_up(
    answer: bytes, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-open: the connection stands, and nothing comes any more. Any frame shows life."""
    monkeypatch.setattr(websocket, "ACCEPTED_IDLE_S", 0.05)
    server = Recorder()
    async with serving(accepting(server)) as port, raw(port) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(3):
            assert (await reader.readexactly(2)) == b"\x89\x00"  # a ping
            if is_lost:
                assert (await server.closed) == websocket.Closed(None, "", websocket.GOING_AWAY)
                return
            writer.write(answer)
            await writer.drain()
        assert not server.closed.done()


async def test_fragments_are_joined_and_a_ping_between_them_is_answered() -> None:
    far = Recorder()
    async with serving(accepting(far)) as port:
        async with raw(port) as (reader, writer):
            writer.write(HANDSHAKE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(frame(1, b"on", fin=False) + frame(9, b"hi") + frame(0, b"e"))
            await far.until(1)
            assert await reader.readexactly(4) == b"\x8a\x02hi"
            assert far.messages == ["one"]
        await far.closed


@pytest.mark.parametrize("stray", [frame(0, b"x"), frame(1, b"a", fin=False) + frame(1, b"b")])
async def test_a_broken_sequence_of_fragments_closes(stray: bytes) -> None:
    far = Recorder()
    async with serving(accepting(far)) as port, raw(port) as (reader, writer):
        writer.write(HANDSHAKE + stray)
        assert (await far.closed).sent == 1002
        assert far.messages == []
        await reader.read()


async def test_an_oversized_message_closes_whole_or_in_parts() -> None:
    for pieces in (1, 40):
        near, far = Recorder(), Recorder()
        async with serving(accepting(far), max_size=1000) as port, raw(port) as (_, writer):
            if pieces == 1:
                (await dial(port, near)).send_text(b"x" * 1001)
            else:
                writer.write(HANDSHAKE + frame(1, b"x" * 100, fin=False))
                writer.write(frame(0, b"x" * 100, fin=False) * pieces)
            assert (await far.closed).sent == websocket.MESSAGE_TOO_BIG
            assert far.messages == []


async def test_an_exception_in_a_receiver_is_logged_and_closes_that_socket_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Recorder):
        def on_text(self, text: bytes) -> None:
            raise RuntimeError("boom")

    broken, well = Broken(), Recorder()
    receivers: list[websocket.Receiver] = [broken, well]
    async with serving(lambda _: websocket.Acceptance(receivers.pop(0))) as port:
        first = await dial(port, Recorder())
        second = await dial(port, Recorder())
        first.send_text(b"x")
        assert (await broken.closed).sent == websocket.INTERNAL_ERROR
        second.send_text(b"y")
        await well.until(1)
        second.close()
        await well.closed
    assert "boom" in caplog.text


async def test_a_slow_reader_is_noticed_and_so_is_its_catching_up() -> None:
    far = Recorder()
    async with serving(accepting(far)) as port:
        async with raw(port) as (reader, writer):
            writer.write(HANDSHAKE)
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            assert far.socket is not None
            seconds = 0
            while not far.writable and seconds < 2000:
                far.socket.send_binary(b"x" * 8000)  # a second of speech
                seconds += 1
            assert far.writable == [False]
            if sys.platform == "linux":
                assert seconds < 120, "the kernel holds minutes of speech"
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(240):
                while far.writable == [False]:
                    await reader.read(2**20)
            assert far.writable == [False, True]
        await far.closed


async def test_a_peer_that_never_answers_the_close_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_WAIT_S", 0.05)
    far = Recorder()
    async with serving(accepting(far)) as port, raw(port) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        assert far.socket is not None
        far.socket.close(1000, "bye")
        far.socket.close(1000, "twice is harmless")
        async with asyncio.timeout(240):
            assert await far.closed == websocket.Closed(None, "", 1000)
        far.socket.send_text(b"nobody is there")


@asynccontextmanager
async def closing(near: Recorder, *, hears_out: bool) -> AsyncIterator[asyncio.StreamWriter]:
    """A connection whose near end has sent its close frame: what the peer may still write."""
    async with serving(accepting(near)) as port, raw(port) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        assert near.socket is not None
        near.socket.close(1000, "bye", hears_out=hears_out)
        yield writer


@pytest.mark.parametrize("hears_out", [True, False])
async def test_what_a_peer_sent_before_it_answers_a_close_is_received_on_request(
    hears_out: bool,
) -> None:
    near = Recorder()
    async with closing(near, hears_out=hears_out) as writer:
        writer.write(frame(1, b"Wait!") + frame(1, b"Hel", fin=False) + frame(0, b"lo?"))
        writer.write(frame(2, b"sound") + frame(8, struct.pack("!H", 1000)))
        async with asyncio.timeout(240):
            assert await near.closed == websocket.Closed(1000, "", 1000)
    assert near.messages == (["Wait!", "Hello?", b"sound"] if hears_out else [])


async def test_what_breaks_the_protocol_after_a_close_is_received_no_more() -> None:
    near = Recorder()
    async with closing(near, hears_out=True) as writer:
        writer.write(frame(1, b"Wait!") + frame(0, b"a stray end") + frame(1, b"Hello?"))
        writer.write(frame(8, struct.pack("!H", 1000)))
        async with asyncio.timeout(240):
            await near.closed
    assert near.messages == ["Wait!"]


async def test_nobody_there_is_unreachable() -> None:
    async with serving(accepting(Recorder())) as port:
        pass
    with pytest.raises(websocket.UnreachableError):
        await dial(port, Recorder())


async def test_silence_is_unreachable_and_a_cancelled_dial_leaves_nothing() -> None:
    gone = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(websocket.UnreachableError, match="no answer within"):
            await websocket.connect(url, Recorder(), headers={}, timeout=0.1, max_size=1000)
        async with asyncio.timeout(240):
            await gone.wait()
        server.close()
    await settled()


async def test_a_reset_before_the_answer_is_unreachable() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        at = writer.get_extra_info("socket")
        at.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    recorder = Recorder()
    with pytest.raises(websocket.UnreachableError, match="reset before the upgrade"):
        await websocket.connect(
            f"ws://127.0.0.1:{port}", recorder, headers={}, timeout=60, max_size=1000
        )
    assert recorder.socket is None
    server.close()


async def test_something_that_is_not_a_websocket_is_unreachable_or_refused() -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-nonsense\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    async with server:
        with pytest.raises(websocket.UnreachableError):
            await dial(server.sockets[0].getsockname()[1], Recorder())


def test_the_parts_of_picows_that_are_not_public_are_as_we_use_them() -> None:
    """If this fails after an upgrade, read wire.accept beside the new picows.pyx first."""
    from importlib.metadata import version

    assert version("picows") == "2.3.1"
    for name in ("connection_made", "get_buffer", "buffer_updated", "connection_lost"):
        assert callable(getattr(WSProtocol, name))
    assert not issubclass(WSProtocol, asyncio.Protocol)
    assert issubclass(WSProtocol, asyncio.BufferedProtocol)
    # What ws_create_server itself passes: the order of the constructor's arguments.
    source = inspect.getsource(picows.ws_create_server)
    call = source[source.index("return WSProtocol(") : source.index("server = await")]
    order = [line.split("#")[0].strip().rstrip(",") for line in call.splitlines()[1:]]
    assert [part for part in order if part not in ("", ")")] == [
        "None",
        "None",
        "False",
        "ws_listener_factory",
        '_resolve_logger(logger_name, "server")',
        "disconnect_on_exception",
        "websocket_handshake_timeout",
        "enable_auto_ping, auto_ping_idle_timeout, auto_ping_reply_timeout",
        "auto_ping_strategy",
        "enable_auto_pong",
        "max_frame_size",
        "None",
        "read_buffer_init_size",
    ]


@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_closed_socket_leaves_no_cycle_of_references(with_tls: bool) -> None:
    """Else each dead connection waits for a full garbage collection, and the heap grows."""
    authority = trustme.CA()
    client, server = (
        ssl.create_default_context(),
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
    )
    authority.configure_trust(client)
    authority.issue_cert("localhost").configure_cert(server)
    gone: list[weakref.ref[object]] = []

    async def once(port: int) -> None:
        near = Recorder()
        scheme = "wss" if with_tls else "ws"
        socket = await websocket.connect(
            f"{scheme}://localhost:{port}/",
            near,
            headers={},
            timeout=5,
            max_size=1000,
            tls=client if with_tls else None,
        )
        gone.extend((weakref.ref(near), weakref.ref(socket)))
        socket.close()
        await near.closed

    def decide(_: websocket.Upgrade) -> websocket.Acceptance:
        far = Recorder()
        gone.append(weakref.ref(far))
        return websocket.Acceptance(far)

    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: Front(decide, 1000), "localhost", 0, ssl=server if with_tls else None
    )
    gc.collect()
    gc.disable()
    try:
        async with listener:
            await once(listener.sockets[0].getsockname()[1])
            await until(lambda: all(reference() is None for reference in gone))
    finally:
        gc.enable()
