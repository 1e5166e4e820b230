"""HTTP and WebSocket on one port: a connection's first request decides who serves it.

Uvicorn makes one Front for each connection. A WebSocket upgrade goes to wire.accept, all else to
Uvicorn's own HTTP protocol; either way the Front is gone after the first request, so that an audio
frame passes through nothing of it.
"""

import asyncio
from typing import Any, Final, Protocol, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from offhook import wire

REQUEST_MAX: Final = 16 * 1024
"""Bytes of that head; Uvicorn itself sets no limit."""

REQUEST_S: Final = 5.0
"""Seconds that a connection has to send the head of its first request."""


_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)


class _Timer(Protocol):
    def cancel(self) -> None: ...


class Front(asyncio.Protocol):
    """The first 5 seconds of a connection. `decide` is asked about every WebSocket upgrade."""

    def __init__(
        self,
        decide: wire.Decide,
        max_size: int,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._decide = decide
        self._max_size = max_size
        self._http = (config, server_state, app_state, _loop)
        self._received = b""
        self._transport: asyncio.Transport
        self._timer: _Timer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection came in."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._timer = asyncio.get_running_loop().call_later(REQUEST_S, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone before it asked for anything."""
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """A part of the first request."""
        self._received += data
        head, end, _ = self._received.partition(b"\r\n\r\n")
        if len(head) > REQUEST_MAX:
            self._transport.write(_TOO_LARGE)
            self._transport.close()
            return
        if not end:
            return
        self._timer.cancel()
        if _is_upgrade(head):
            wire.accept(self._transport, self._received, self._decide, max_size=self._max_size)
        else:
            protocol = HttpToolsProtocol(*self._http)
            protocol.connection_made(self._transport)
            self._transport.set_protocol(protocol)
            protocol.data_received(self._received)


def _is_upgrade(head: bytes) -> bool:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"upgrade":
            return value.strip().lower() == b"websocket"
    return False
