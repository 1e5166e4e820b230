"""Turns of TLS handshakes: at most a quarter of the event loop is spent on them.

Whoever sends a ClientHello has the server sign with its private key, for 0.3 ms with ECDSA P-256
and 1 ms with RSA of 2048 bits, on the loop that carries all audio. Hundreds of connections could
send theirs in one moment. So the bytes are left in the kernel until a whole hello is there, and its
connection has a turn. A second hello, for which TLS 1.3 may ask (RFC 8446 §4.1.4), is answered if a
turn is free when it comes, and refused else.
"""

import asyncio
import contextlib
import socket
import ssl
import time
import weakref
from collections import deque
from typing import Final

from offhook.clock import Clock
from offhook.concurrency.deadline_timer import DeadlineTimer

SHARE: Final = 0.25
"""Share of the loop's time that handshakes may take."""

TURN_S: Final = 0.001
"""Seconds between two turns at least."""

LOOK_S: Final = 0.02
"""Seconds between two looks at a hello of which a part has come."""

_HEAD: Final = 5
_RECORD_MAX: Final = 2**14
_HANDSHAKE: Final = 22
"""Type of a record (RFC 8446 §5.1); a hello is a handshake message of type 1 (RFC 8446 §4)."""


class SplitHelloError(ssl.SSLError):
    """Raised for a ClientHello in several records: the last could come outside of its turn."""


def is_whole(peeked: bytes) -> bool:
    """Return whether a connection has sent a whole ClientHello, or what is surely none.

    Raises SplitHelloError.
    """
    if peeked[:1] != bytes([_HANDSHAKE]):
        return bool(peeked)  # Refused without a signature.
    if len(peeked) < _HEAD + 4:
        return False
    size = int.from_bytes(peeked[3:_HEAD], "big")
    message = int.from_bytes(peeked[_HEAD + 1 : _HEAD + 4], "big") + 4
    if message > size or size > _RECORD_MAX:
        raise SplitHelloError("a ClientHello that is not in one record")
    return len(peeked) >= _HEAD + size


def cost_s(context: ssl.SSLContext) -> float:
    """Return the seconds of CPU that the answer to a ClientHello takes, with this certificate."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE

    def once() -> float:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        asking = client.wrap_bio(to_client, to_server)
        answering = context.wrap_bio(to_server, to_client, server_side=True)
        with contextlib.suppress(ssl.SSLWantReadError):
            asking.do_handshake()
        began = time.thread_time()
        with contextlib.suppress(ssl.SSLError):  # whatever it is, it has taken that long
            answering.do_handshake()
        return time.thread_time() - began

    return min(once() for _ in range(3))  # the first one prepares more


class Handshakes:
    """Turns of the handshakes of one listening socket."""

    def __init__(self, context: ssl.SSLContext, clock: Clock) -> None:
        self.turn_s: Final = max(TURN_S, cost_s(context) / SHARE)
        """Seconds between two turns."""
        self._said_hello = weakref.WeakSet[object]()
        context.sni_callback = self._take_hello
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._free_at = clock.now()
        self._timer: Final = DeadlineTimer(clock, self._next, goes_on=True)

    async def turn(self, sock: socket.socket) -> None:
        """Return when a socket's ClientHello is there, and it is its turn to be answered.

        Raises ConnectionError for a socket that is gone, SplitHelloError for a hello in parts.
        """
        await self._hello(sock)
        turn = self._loop.create_future()
        self._waiting.append(turn)
        self._timer.arm(max(self._free_at, self._clock.now()))
        await turn

    def _take_hello(self, tls: object, _name: str | None, _context: ssl.SSLContext) -> int | None:
        """Take a hello that OpenSSL has read and not answered; return the alert that refuses it."""
        if tls not in self._said_hello:
            self._said_hello.add(tls)
            return None
        now = self._clock.now()
        if now < self._free_at:
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE
        self._free_at = now + self.turn_s
        return None

    async def _hello(self, sock: socket.socket) -> None:
        while True:
            await self._readable(sock)
            peeked = sock.recv(_HEAD + _RECORD_MAX, socket.MSG_PEEK)
            if not peeked:
                raise ConnectionResetError("closed before a handshake")
            if is_whole(peeked):
                return
            await asyncio.sleep(LOOK_S)

    async def _readable(self, sock: socket.socket) -> None:
        readable = self._loop.create_future()
        self._loop.add_reader(sock, _settle, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(sock)

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else its connection was cut meanwhile
                self._free_at = self._clock.now() + self.turn_s
                turn.set_result(None)
                break
        if self._waiting:
            self._timer.arm(self._free_at)


def _settle(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)
