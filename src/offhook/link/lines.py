"""One end of the local socket: lines of bounded length, in both directions."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final, cast

from offhook.link.messages import LINE_MAX

UNSENT_MAX: Final = 16 * 1024 * 1024
"""Bytes that may wait for a peer that does not read; then the connection is closed."""


class LineConnection(asyncio.Protocol):
    """A connection. `on_line` gets every line, and `on_lost` is called once at the end.

    A line of more than LINE_MAX bytes ends the connection, as what follows cannot be understood.

    Attributes:
        received: Number of reads, by which the owner notices that the peer lives.
    """

    def __init__(self, on_line: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        self.received = 0
        self.is_open = False
        self._on_line = on_line
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._partial = bytearray()

    def send(self, line: bytes) -> None:
        """Send a line, which has no newline. Ignored when the connection is closed."""
        if not self.is_open or self._transport is None:
            return
        self._transport.write(line + b"\n")
        if self._transport.get_write_buffer_size() > UNSENT_MAX:
            self.abort()

    def abort(self) -> None:
        """Close the connection now; `on_lost` follows."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of it
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Pass on every line that is complete."""
        self.received += 1
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = bytes(self._partial) + line
            self._partial.clear()
            if len(whole) > LINE_MAX:
                self.abort()
            if not self.is_open:
                return
            self._on_line(whole)
        self._partial += rest
        if len(self._partial) > LINE_MAX:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end."""
        self.is_open = False
        self._partial.clear()
        self._on_lost()


async def adopt(sock: socket.socket, connection: LineConnection) -> None:
    """Have the event loop serve a socket that is connected already. Raises OSError if it was."""
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, "the socket was closed")
    await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
