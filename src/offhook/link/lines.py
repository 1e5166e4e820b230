"""One end of a connection between processes: lines of bounded length, in both directions."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar, cast

from offhook.link.messages import LINE_MAX

UNSENT_MAX: Final = 16 * 1024 * 1024
"""Bytes that may wait for a peer that does not read; then the connection is closed."""

OnLine: TypeAlias = Callable[[bytes], None]
OnLost: TypeAlias = Callable[[], None]


class Lines:
    """One end of a connection: a local socket's here, another node's in node_lines.py.

    A line of more than `line_max` bytes ends the connection, as what follows cannot be understood.
    Each attribute may be replaced at any time.

    Attributes:
        on_line: Takes every line, without its newline.
        on_lost: Called once, at the end.
        on_writable: Told when the peer reads too slowly (False), and when it has caught up.
        line_max: Bytes that a line may have.
        unsent_max: Bytes that may wait for the peer; beyond, the connection is closed.
        received: Number of reads, by which the owner notices that the peer lives.
        is_open: True between connection and end.
    """

    def __init__(self, on_line: OnLine, on_lost: OnLost) -> None:
        self.on_line = on_line
        self.on_lost = on_lost
        self.on_writable: Callable[[bool], None] = _ignore
        self.line_max = LINE_MAX
        self.unsent_max = UNSENT_MAX
        self.received = 0
        self.is_open = False

    def send(self, line: bytes) -> None:
        """Send a line, which has no newline. Ignored when the connection is closed."""
        raise NotImplementedError

    def limit_writing(self, high: int, low: int) -> None:
        """Have `on_writable` called at these numbers of unsent bytes."""
        raise NotImplementedError

    def read(self, is_reading: bool) -> None:
        """Stop or resume reading, so that a peer that writes too fast is slowed down."""
        raise NotImplementedError

    def end(self) -> None:
        """Close the connection once everything is sent; `on_lost` follows."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close the connection now; `on_lost` follows."""
        raise NotImplementedError


class LineConnection(Lines, asyncio.Protocol):
    """One end of a local socket."""

    def __init__(self, on_line: OnLine, on_lost: OnLost) -> None:
        super().__init__(on_line, on_lost)
        self._transport: asyncio.Transport | None = None
        self._partial = bytearray()

    def send(self, line: bytes) -> None:
        """Send a line, which has no newline. Ignored when the connection is closed."""
        if not self.is_open or self._transport is None:
            return
        self._transport.write(line + b"\n")
        if self._transport.get_write_buffer_size() > self.unsent_max:
            self.abort()

    def limit_writing(self, high: int, low: int) -> None:
        """Have `on_writable` called at these numbers of unsent bytes."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=high, low=low)

    def read(self, is_reading: bool) -> None:
        """Stop or resume reading, so that a peer that writes too fast is slowed down."""
        if self._transport is None or not self.is_open:
            return
        if is_reading and not self._transport.is_reading():
            self._transport.resume_reading()
        elif not is_reading and self._transport.is_reading():
            self._transport.pause_reading()

    def end(self) -> None:
        """Close the connection once everything is sent; `on_lost` follows."""
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

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
            whole = line
            if self._partial:
                whole = bytes(self._partial) + line
                self._partial.clear()
            if len(whole) > self.line_max:
                self.abort()
            if not self.is_open:
                return
            self.on_line(whole)
        self._partial += rest
        if len(self._partial) > self.line_max:
            self.abort()

    def pause_writing(self) -> None:
        """Report that the peer reads too slowly."""
        self.on_writable(False)

    def resume_writing(self) -> None:
        """Report that the peer has caught up."""
        self.on_writable(True)

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end."""
        self.is_open = False
        self._partial.clear()
        self.on_lost()


async def adopt(sock: socket.socket, connection: LineConnection) -> None:
    """Have the event loop serve a socket that is connected already."""
    await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)


LinesT = TypeVar("LinesT", bound=Lines)

MakeLines: TypeAlias = Callable[[OnLine, OnLost], LinesT]
"""Function that makes one end of a connection of what takes its lines, and what is told its end."""


def _ignore(writable: bool) -> None:
    """Do nothing: a connection of requests is cut when its peer does not read."""
