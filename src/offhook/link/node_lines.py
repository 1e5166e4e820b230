"""Lines between two nodes: binary messages of a WebSocket, each with a code before it."""

import hmac
import logging
from collections.abc import Callable
from typing import Final

from offhook.link.lines import Lines
from offhook.link.node_credential import CODE_BYTES, code
from offhook.net.websocket import Channel, Closed, Socket

_log: Final = logging.getLogger("offhook.link")

PROTOCOL_ERROR: Final = 1002


class NodeLines(Lines):
    """One end of a link to another node, whose other end is another process's NodeLines.

    A message whose code is wrong ends the link: the other node has not sent it, or not in this
    place.
    """

    def __init__(
        self,
        on_line: Callable[[bytes], None],
        on_lost: Callable[[], None],
        *,
        sends: bytes,
        receives: bytes,
    ) -> None:
        """Take the keys of the codes of both directions."""
        super().__init__(on_line, on_lost)
        self._sends = sends
        self._receives = receives
        self._sent = 0
        self._socket: Socket | None = None
        self._writable = True
        self._unsent = 0
        """Bytes that were sent since the peer began to read too slowly."""

    # --- Lines ---

    def send(self, line: bytes) -> None:
        """Send a line. Ignored when the link is closed."""
        if not self.is_open or self._socket is None:
            return
        self._sent += 1
        self._socket.send_binary(code(self._sends, self._sent, line) + line)
        if not self._writable:
            self._unsent += len(line)
            if self._unsent > self.unsent_max:
                self.abort()

    def limit_writing(self, high: int, low: int) -> None:
        """Do nothing: the WebSocket has limits of its own, which are the same."""

    def read(self, is_reading: bool) -> None:
        """Stop or resume reading, so that a peer that writes too fast is slowed down."""
        if self._socket is not None and self.is_open:
            self._socket.read(is_reading)

    def end(self) -> None:
        """Close the link once everything is sent; `on_lost` follows."""
        self.is_open = False
        if self._socket is not None:
            self._socket.close()

    def abort(self) -> None:
        """Close the link now; `on_lost` follows."""
        self.is_open = False
        if self._socket is not None:
            self._socket.abort()

    # --- what the WebSocket's receiver calls ---

    def opened(self, socket: Socket) -> None:
        """Take the WebSocket, which is open."""
        self._socket = socket
        self.is_open = True

    def take(self, message: bytes) -> None:
        """Pass on the line in a message, if its code is right."""
        if not self.is_open:
            return
        self.received += 1
        line = message[CODE_BYTES:]
        right = code(self._receives, self.received, line)
        if not hmac.compare_digest(right, message[:CODE_BYTES]):
            self.refuse("a message with a wrong code")
        elif len(line) > self.line_max:
            self.refuse("a line that is too long")
        else:
            self.on_line(line)

    def has_room(self, writable: bool) -> None:
        """Tell the owner that the peer reads too slowly, or has caught up."""
        self._writable, self._unsent = writable, 0
        self.on_writable(writable)

    def lost(self) -> None:
        """Report the end."""
        self.is_open = False
        self._socket = None
        self.on_lost()

    def refuse(self, what: str) -> None:
        """End the link because of what the peer has sent."""
        if self.is_open:
            _log.warning("a link of another node is closed: it has sent %s", what)
            self.is_open = False
            if self._socket is not None:
                self._socket.close(PROTOCOL_ERROR, what)


class NodeLinkReceiver:
    """The Receiver of a link's WebSocket."""

    def __init__(self, lines: NodeLines) -> None:
        self._lines = lines

    def on_open(self, socket: Channel) -> None:
        """Take the WebSocket, which is open."""
        assert isinstance(socket, Socket), "links are over real sockets"
        self._lines.opened(socket)

    def on_text(self, text: bytes) -> None:
        """End the link: there are binary messages alone."""
        self._lines.refuse("a text message")

    def on_binary(self, data: bytes) -> None:
        """Take a message."""
        self._lines.take(data)

    def on_writable(self, writable: bool) -> None:
        """Tell that the peer reads too slowly, or has caught up."""
        self._lines.has_room(writable)

    def on_close(self, closed: Closed) -> None:
        """Take note of the end."""
        self._lines.lost()
