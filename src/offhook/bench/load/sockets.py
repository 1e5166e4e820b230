"""WebSockets of the load: the least that speaks the protocol, on sockets of the kernel.

A load that costs as much as a bridge ends the search for the most calls before the bridge does. So
an end reads its socket when it is its turn, without waiting for it: no wake-up, for the load or
from the bridge. The kernel notes when the bytes came (SO_TIMESTAMPNS), so no delay is the reader's.
Masks are of zeros, which RFC 6455 allows and which the bridge cannot know.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

from offhook.net import frames

TEXT: Final = 0x81
BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A

_NO_MASK: Final = bytes(4)
_READ: Final = 16 * 1024
_HEAD_MAX: Final = 16 * 1024
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_SO_TIMESTAMPNS: Final = 35
"""Linux (asm-generic/socket.h); Python has no name for it."""
_STAMP: Final = struct.Struct("@qq")
_STAMP_SPACE: Final = 64


class RefusedError(Exception):
    """Raised when a bridge accepts no connection or no upgrade."""


class LoadReceiver(Protocol):
    """Receiver of the messages of a LoadSocket."""

    def on_text(self, text: bytes) -> None:
        """Take a text message."""

    def on_binary(self, data: bytes) -> None:
        """Take a binary message."""

    def on_close(self) -> None:
        """Take note that the other end is gone. Called once."""


def frame(opcode: int, size: int, *, masks: bool) -> bytes:
    """Return the head of a frame: a client's with a mask of zeros."""
    return frames.head(opcode, size, _NO_MASK if masks else b"")


def unmask(mask: bytes, payload: bytes) -> bytes:
    """Return the payload of a client's frame."""
    return payload if mask == _NO_MASK else frames.masked(payload, mask)


class TlsPipe:
    """TLS of a socket's bytes. A client's must not check the other end's name."""

    def __init__(self, context: ssl.SSLContext, *, is_server: bool) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)

    def shake(self, data: bytes) -> tuple[bytes, bool]:
        """Take a part of the handshake. Return what to send, and whether it is complete."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read(), False
        return self._outgoing.read(), True

    def encrypt(self, data: bytes) -> bytes:
        """Return what to send for `data`."""
        self._tls.write(data)
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """Return what was received with `data`."""
        self._incoming.write(data)
        parts = []
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := self._tls.read(_READ):
                parts.append(part)
        return b"".join(parts)


class LoadSocket:
    """A WebSocket of the load. `read` tells its receiver what has come. A client masks."""

    def __init__(self, sock: socket.socket, *, masks: bool, tls: TlsPipe | None = None) -> None:
        self.is_open = True
        self.is_plain = tls is None
        self.unsent = b""
        self.rest = b""
        """Beginning of a message that is not complete."""
        self._sock = sock
        self._receive = sock.recvmsg
        self._masks = masks
        self._tls = tls
        self._receiver: LoadReceiver
        self._stamps: list[tuple[int, int, bytes]] = []
        self._closing = False
        self._watched = False

    @property
    def arrived_ns(self) -> int:
        """Time when the last bytes came of what is being told, in ns since 1970."""
        for level, kind, stamp in self._stamps:
            if kind == _SO_TIMESTAMPNS and level == socket.SOL_SOCKET:
                seconds, ns = _STAMP.unpack(stamp)
                return int(seconds) * 1_000_000_000 + int(ns)
        return time.time_ns()

    def begin(self, receiver: LoadReceiver, rest: bytes = b"") -> None:
        """Tell the receiver what comes from now on, as it comes. `rest` came already."""
        self._receiver = receiver
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.watch()
        if rest:
            self._take(rest)

    def watch(self) -> None:
        """Read whenever something comes."""
        if self.is_open and not self._watched:
            self._watched = True
            asyncio.get_running_loop().add_reader(self._sock.fileno(), self.read)

    def unwatch(self) -> None:
        """Read only when `read` is called."""
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_reader(self._sock.fileno())

    def send_text(self, text: bytes) -> None:
        """Send a text message."""
        self.send(frame(TEXT, len(text), masks=self._masks) + text)

    def send(self, data: bytes) -> None:
        """Send frames that are ready. What the bridge does not take waits."""
        if not self.is_open:
            return
        if self._tls is not None:
            data = self._tls.encrypt(data)
        if self.unsent:
            data = self.unsent + data
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose()
            return
        self.unsent = data[sent:]

    def close(self) -> None:
        """Send a close frame. The receiver is told when the other end has closed."""
        if not self._closing:
            self._closing = True
            self.send(frame(_CLOSE, 2, masks=self._masks) + b"\x03\xe8")
            self.watch()

    def discard(self) -> None:
        """Close a socket that was never begun."""
        self.is_open = False
        self._sock.close()

    def read(self) -> None:
        """Tell what has come until now."""
        while self.is_open and (data := self.receive()) is not None:
            self.take(data)
            if len(data) < _READ:
                return

    def receive(self) -> bytes | None:
        """Return what has come, as it came; None when nothing has. Then call `take` with it."""
        if self.unsent:
            self.send(b"")
        try:
            data, self._stamps, _, _ = self._receive(_READ, _STAMP_SPACE)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        return data

    def take(self, data: bytes) -> None:
        """Tell the messages of what was received."""
        if not data:
            self._lose()
            return
        self._take(data if self._tls is None else self._tls.decrypt(data))

    def _take(self, data: bytes) -> None:
        """Tell each message of `data`, and keep what is not complete."""
        if self.rest:
            data = self.rest + data
            self.rest = b""
        at, size = 0, len(data)
        while size - at >= 2:
            second = data[at + 1]
            begin, length = at + 2, second & 0x7F
            if length == 126:
                begin, length = at + 4, data[at + 2] << 8 | data[at + 3] if size > at + 3 else size
            elif length == 127:
                begin, length = at + 10, int.from_bytes(data[at + 2 : at + 10], "big")
            if second & 0x80:
                begin += 4
            end = begin + length
            if end > size:
                break
            payload = data[begin:end]
            if second & 0x80:
                payload = unmask(data[begin - 4 : begin], payload)
            opcode = data[at]
            if opcode == TEXT:
                self._receiver.on_text(payload)
            elif opcode == BINARY:
                self._receiver.on_binary(payload)
            else:
                self._control(opcode, payload)
            at = end
        if at < size:
            self.rest = data[at:]

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.send(frame(_PONG, len(payload), masks=self._masks) + payload)
        elif opcode == _CLOSE:
            self.close()
            self._lose()

    def _lose(self) -> None:
        if self.is_open:
            self.unwatch()
            self.is_open = False
            self._sock.close()
            self._receiver.on_close()


# --- Opening ------------------------------------------------------------------------------------


async def ask(
    port: int, head: str, body: bytes = b"", tls: TlsPipe | None = None
) -> tuple[str, bytes, socket.socket]:
    """Send an HTTP request to this machine. Return the head of the answer, the rest, the socket.

    Raises RefusedError when no answer comes. `tls` is a client's, for a port that has TLS.
    """
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
        request = head.encode() + b"\r\n\r\n" + body
        if tls is not None:
            await _shake(sock, tls)
            request = tls.encrypt(request)
        await loop.sock_sendall(sock, request)
        received = b""
        while b"\r\n\r\n" not in received:
            part = await loop.sock_recv(sock, _READ)
            if not part:
                raise RefusedError("the connection was closed")
            received += part if tls is None else tls.decrypt(part)
    except OSError as error:
        sock.close()
        raise RefusedError(str(error)) from None
    except BaseException:
        sock.close()
        raise
    answer, _, rest = received.partition(b"\r\n\r\n")
    return answer.decode("latin-1"), rest, sock


def unchecked() -> ssl.SSLContext:
    """Return the context of a client that takes any certificate: the peer is this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def client_hello() -> bytes:
    """Return the first message of a TLS client."""
    written = ssl.MemoryBIO()
    client = unchecked().wrap_bio(ssl.MemoryBIO(), written)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return written.read()


async def _shake(sock: socket.socket, tls: TlsPipe) -> None:
    """Make a client's handshake. Raises OSError, RefusedError."""
    loop = asyncio.get_running_loop()
    answer, done = tls.shake(b"")
    while True:
        await loop.sock_sendall(sock, answer)
        if done:
            return
        part = await loop.sock_recv(sock, _READ)
        if not part:
            raise RefusedError("the handshake was cut")
        answer, done = tls.shake(part)


async def upgrade(
    port: int, headers: str, context: ssl.SSLContext | None = None
) -> tuple[LoadSocket, bytes]:
    """Open a client's socket to /twilio on this machine. Return it, and what came already.

    Raises RefusedError. `context` is for a port that has TLS.
    """
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET /twilio HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}".rstrip()
    )
    tls = None if context is None else TlsPipe(context, is_server=False)
    answer, rest, sock = await ask(port, head, tls=tls)
    if " 101 " not in answer.split("\r\n", 1)[0]:
        sock.close()
        raise RefusedError(answer.split("\r\n", 1)[0])
    return LoadSocket(sock, masks=True, tls=tls), rest


async def request(port: int, head: str, body: bytes) -> str:
    """Send a form; return the answer's body. Raises RefusedError for any status but 200."""
    answer, rest, sock = await ask(port, head, body)
    with sock:
        length = re.search(r"(?im)^content-length: (\d+)", answer)
        if " 200 " not in answer.split("\r\n", 1)[0] or length is None:
            raise RefusedError(answer.split("\r\n", 1)[0])
        while len(rest) < int(length[1]):
            part = await asyncio.get_running_loop().sock_recv(sock, _READ)
            if not part:
                raise RefusedError("the answer is not complete")
            rest += part
    return rest.decode()


async def serve(
    listener: socket.socket,
    receive: Callable[[LoadSocket], LoadReceiver],
    tls: ssl.SSLContext | None = None,
) -> None:
    """Accept WebSockets of a listening socket until cancelled. `receive` makes their receivers."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    async with asyncio.TaskGroup() as group:
        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setblocking(False)
            group.create_task(_accept(sock, receive, tls))


async def _accept(
    sock: socket.socket,
    receive: Callable[[LoadSocket], LoadReceiver],
    context: ssl.SSLContext | None,
) -> None:
    loop = asyncio.get_running_loop()
    tls = None if context is None else TlsPipe(context, is_server=True)
    try:
        if tls is not None:
            done = False
            while not done:
                answer, done = tls.shake(await _some(sock))
                await loop.sock_sendall(sock, answer)
        received = b"" if tls is None else tls.decrypt(b"")
        while b"\r\n\r\n" not in received:
            part = await _some(sock)
            received += part if tls is None else tls.decrypt(part)
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", received)
        digest = hashlib.sha1((key[1] if key else b"") + _GUID, usedforsecurity=False).digest()
        accept = base64.b64encode(digest)
        answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        await loop.sock_sendall(sock, answer if tls is None else tls.encrypt(answer))
    except (OSError, RefusedError):  # a bridge that hangs up is found at the caller's end
        sock.close()
        return
    opened = LoadSocket(sock, masks=False, tls=tls)
    opened.begin(receive(opened), received.partition(b"\r\n\r\n")[2])


async def _some(sock: socket.socket) -> bytes:
    data = await asyncio.get_running_loop().sock_recv(sock, _READ)
    if not data or len(data) > _HEAD_MAX:
        raise RefusedError("the connection was closed")
    return data
