"""WebSockets, on both legs of a call: connect, accept, send, pause, close.

The engine is picows (docs/design/engine.md says why); no other module imports it. It calls back
synchronously, on the event loop, in the order in which frames arrived, and so does this module:
a Receiver must not wait, and what it sends leaves in the same turn of the loop.

Two parts of picows that are used here are not public: the constructor of `WSProtocol` (picows can
otherwise not share a port with HTTP) and its being a buffered protocol. Its version is pinned, and
tests/net/test_websocket.py fails when either changes.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_connect,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]

_log: Final = logging.getLogger("offhook.wire")
# An adapter: of a Logger, picows makes and keeps a new one for every connection.
_engine_log: Final = logging.LoggerAdapter(logging.getLogger("offhook.wire.picows"))

# An attribute of an enum class is looked up through its metaclass, which costs time at each frame.
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG

READ_BUFFER: Final = 2048
"""Bytes; it grows when a frame is larger. It halves a call's memory (docs/performance.md)."""

WRITE_HIGH: Final = 40 * 1024
WRITE_LOW: Final = 16 * 1024
"""Unsent bytes at which a socket stops, and resumes, being writable.

With what the legs hold beside their sockets, this process keeps at most 256 KiB of a call for
Twilio and 64 KiB for Deepgram.

The kernel holds as many more before it takes no data. By itself it would hold up to 4 MB, which
are six minutes of speech, before a peer that reads nothing showed.
"""

_UNSENT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
"""Option for that bound; None where the system has none."""

PING_IDLE_S: Final = 20.0
"""Seconds without a frame after which a peer that we dialled is pinged, and again until it is given
up."""

ACCEPTED_IDLE_S: Final = 5.0
"""Seconds without a frame after which a peer that dialled us is pinged, and again until it is given
up. Twilio sends 50 frames a second as long as a stream lasts (twilio.md §1.5): after 10 s of
silence its side is lost."""

CLOSE_WAIT_S: Final = 2.0
"""Seconds that a close may take before the connection is cut."""

GOING_AWAY: Final = 1001
MESSAGE_TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011


class UnreachableError(Exception):
    """Error: no WebSocket was opened: name, network, TLS, time-out, or another protocol."""


class UpgradeRefusedError(Exception):
    """Error: the peer answered the upgrade with an HTTP status other than 101."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of a socket. Codes are those of RFC 6455 §7.4.

    `received` is the peer's close code, None when the connection broke without one (a close frame
    without code reads 1005); `sent` is ours when we closed first or broke off, else None.
    """

    received: int | None
    reason: str
    sent: int | None


class Channel(Protocol):
    """The sending side of an open WebSocket: a Socket, or one in memory for tests."""

    receiver: "Receiver"
    """The receiver of messages. A receiver may put another in its place, even while called."""

    def send_text(self, text: bytes) -> None:
        """Send one text message now. Does nothing once the channel is closing."""

    def send_binary(self, data: bytes) -> None:
        """Send one binary message now. Does nothing once the channel is closing."""

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        """Begin to close, as RFC 6455 §7 says; the end is reported by `Receiver.on_close`.

        `hears_out`: what the peer has sent before it answers that is still received.
        """

    def abort(self) -> None:
        """Cut the connection at once, without a close frame."""


class Receiver(Protocol):
    """The receiving side of a WebSocket. No method may wait; an exception closes it with 1011."""

    def on_open(self, socket: Channel) -> None:
        """Take the socket, which may be written to: the upgrade is done."""

    def on_text(self, text: bytes) -> None:
        """Take a whole text message."""

    def on_binary(self, data: bytes) -> None:
        """Take a whole binary message."""

    def on_writable(self, writable: bool) -> None:
        """Stop (False) or resume (True) sending: the peer reads too slowly, or has caught up."""

    def on_close(self, closed: Closed) -> None:
        """Take note of the end. Called once, last, and only after `on_open`."""


class _Nobody:
    """A receiver for connections that are gone: it ignores everything."""

    def on_open(self, socket: Channel) -> None:
        pass

    def on_text(self, text: bytes) -> None:
        pass

    def on_binary(self, data: bytes) -> None:
        pass

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: Closed) -> None:
        pass


_NOBODY: Final = _Nobody()
_GONE: Final = asyncio.BufferedProtocol()
"""Protocol that replaces a dead connection's: uvloop drops a buffered one only for another."""


class Socket(WSListener):
    """An open WebSocket: a Channel, made by `connect` and `accept`."""

    __slots__ = (
        "_give_up",
        "_hears_out",
        "_max_size",
        "_parts",
        "_parts_size",
        "_parts_type",
        "_sent_code",
        "_transport",
        "abandoned",
        "opened",
        "receiver",
    )

    def __init__(self, receiver: Receiver, max_size: int) -> None:
        self.receiver = receiver
        self._max_size = max_size
        self._transport: WSTransport | None = None
        self._parts: list[bytes] = []
        self._parts_type = _TEXT
        self._parts_size = 0
        self._sent_code: int | None = None
        self._give_up: asyncio.TimerHandle | None = None
        self._hears_out = False
        self.opened = False
        self.abandoned = False

    # --- what the owner does ---

    def send_text(self, text: bytes) -> None:
        """Send one text message now. Does nothing once the socket is closing."""
        if self._transport is not None:
            self._transport.send(_TEXT, text)

    def send_binary(self, data: bytes) -> None:
        """Send one binary message now. Does nothing once the socket is closing."""
        if self._transport is not None:
            self._transport.send(_BINARY, data)

    def read(self, is_reading: bool) -> None:
        """Stop or resume reading, so that a peer that writes too fast is slowed down.

        A peer that pings gets no answer meanwhile.
        """
        if self._transport is None:
            return
        below = self._transport.underlying_transport
        if is_reading and not below.is_reading():
            below.resume_reading()
        elif not is_reading and below.is_reading():
            below.pause_reading()

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        """Begin to close; the connection is cut if that takes more than CLOSE_WAIT_S seconds.

        `hears_out`: what the peer has sent before it answers that is still received.
        """
        if self._transport is None or self._sent_code is not None:
            return
        self._hears_out = hears_out
        self._send_close(code, reason)
        loop = asyncio.get_running_loop()
        self._give_up = loop.call_later(CLOSE_WAIT_S, self.abort)

    def abort(self) -> None:
        """Cut the connection at once."""
        self.abandoned = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    # --- what the engine calls ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take the transport: the upgrade is done."""
        self._transport = transport
        self.opened = True
        # picows keeps both heads for as long as the socket lives: 2 kB and more of each call.
        transport.request.headers.clear()
        transport.response.headers.clear()
        if self.abandoned:
            transport.disconnect(graceful=False)
            return
        below = transport.underlying_transport
        below.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        sock = below.get_extra_info("socket")
        if _UNSENT is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, _UNSENT, WRITE_HIGH)
        self.receiver.on_open(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame, which is nearly always a whole message."""
        kind = frame.msg_type
        if frame.payload_size > self._max_size:
            # picows closes with 1009 at the header, and still delivers what follows it.
            return
        if self._sent_code is not None and kind is not _CLOSE and not self._hears_out:
            return  # we are closing: only the peer's close frame matters (RFC 6455 §5.5.1)
        if frame.fin and not self._parts:
            try:
                if kind is _TEXT:
                    self.receiver.on_text(frame.get_payload_as_bytes())
                    return
                if kind is _BINARY:
                    self.receiver.on_binary(frame.get_payload_as_bytes())
                    return
            except Exception:
                # picows closes with 1011 then, without the place of the fault.
                _log.exception("a fault in the receiver of a socket's messages")
                raise
        if kind is _CLOSE:
            self._on_close_frame(transport, frame)
        elif kind is not _PING and kind is not _PONG:
            try:
                self._on_fragment(frame)
            except Exception:
                _log.exception("a fault in the receiver of a socket's messages")
                raise

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        """Return whether a frame is a pong, while one is awaited; every other shows life, too.

        A peer whose network was away for a while may have much to send before its pong.
        """
        if frame.msg_type is _PONG:
            return True
        if self._transport is not None:
            self._transport.notify_user_specific_pong_received()
        return False

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Tell the receiver of the end, by either side."""
        self._transport = None
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None
        if self.abandoned and self._sent_code is None:
            self._sent_code = GOING_AWAY
        received: int | None = None
        reason = ""
        sent = self._sent_code
        handshake = transport.close_handshake
        if handshake is not None:
            if handshake.recv is not None:
                # picows reads a close frame without a code as 0; RFC 6455 §7.1.5 calls it 1005.
                received = int(handshake.recv.code) or 1005  # type: ignore[call-overload]
                reason = handshake.recv.reason or ""
            if sent is None and handshake.sent is not None and not handshake.recv_then_sent:
                sent = int(handshake.sent.code)  # type: ignore[call-overload]
        try:
            self.receiver.on_close(Closed(received, reason, sent))
        except Exception:  # noqa: BLE001 - the connection is gone, and this is let go of
            _log.exception("a fault in a receiver whose socket has ended")
        # Cut two cycles of references: ours, and with TLS that of uvloop's and picows' objects.
        # Else each dead connection waits for a full garbage collection, and the heap that it holds
        # till then is not given back (docs/design/engine.md).
        self.receiver = _NOBODY
        transport.underlying_transport.set_protocol(_GONE)

    def pause_writing(self) -> None:
        """Have the receiver pause: more than WRITE_HIGH bytes are unsent."""
        self._tell_writable(False)

    def resume_writing(self) -> None:
        """Have the receiver go on: fewer than WRITE_LOW bytes are unsent again."""
        self._tell_writable(True)

    def _tell_writable(self, writable: bool) -> None:
        # The event loop would only log an exception here, and go on.
        try:
            self.receiver.on_writable(writable)
        except Exception:  # noqa: BLE001 - the end of the socket tells its owner
            _log.exception("a fault in a receiver whose socket is full or has room again")
            self.close(INTERNAL_ERROR, "internal error")

    # --- the rare frames ---

    def _on_close_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._sent_code is None:
            code = int(frame.get_close_code())  # type: ignore[call-overload]
            transport.send_close(WSCloseCode.OK if code == 0 else frame.get_close_code())
        transport.disconnect()

    def _on_fragment(self, frame: WSFrame) -> None:
        # RFC 6455 §5.4: one message may come in frames, and no other message in between.
        if frame.msg_type is WSMsgType.CONTINUATION:
            if not self._parts:
                self._fail(1002, "continuation without a beginning")
                return
        elif self._parts:
            self._fail(1002, "a message began inside another")
            return
        else:
            self._parts_type = frame.msg_type
        self._parts.append(frame.get_payload_as_bytes())
        self._parts_size += frame.payload_size
        # Also a bound on the number of parts: empty frames would pass the bound of bytes.
        if self._parts_size > self._max_size or len(self._parts) > self._max_size // 64:
            self._fail(MESSAGE_TOO_BIG, "message too big")
            return
        if frame.fin:
            message = b"".join(self._parts)
            self._parts.clear()
            self._parts_size = 0
            if self._parts_type is _TEXT:
                self.receiver.on_text(message)
            else:
                self.receiver.on_binary(message)

    def _fail(self, code: int, reason: str) -> None:
        self._parts.clear()
        self._hears_out = False
        self.close(code, reason)

    def _send_close(self, code: int, reason: str) -> None:
        assert self._transport is not None  # both callers have looked
        self._sent_code = code
        self._transport.send_close(code, reason)  # type: ignore[arg-type]  # an int is an enum here


async def connect(
    url: str,
    receiver: Receiver,
    *,
    headers: Mapping[str, str],
    timeout: float,  # noqa: ASYNC109 - the engine's own time limit for the handshake
    max_size: int,
    tls: ssl.SSLContext | None = None,
) -> Socket:
    """Open a WebSocket as client. `timeout` in seconds covers name, network, TLS and upgrade.

    Raises UpgradeRefusedError when the peer answers with another status, UnreachableError for
    everything else. Cancelling it leaves nothing open beyond `timeout`: a handshake that completes
    all the same is cut at once.
    """
    socket = Socket(receiver, max_size)
    try:
        async with asyncio.timeout(timeout):
            await ws_connect(
                lambda: socket,
                url,
                ssl_context=tls,
                websocket_handshake_timeout=timeout,
                logger_name=_engine_log,
                enable_auto_ping=True,
                auto_ping_idle_timeout=PING_IDLE_S,
                auto_ping_reply_timeout=PING_IDLE_S,
                max_frame_size=max_size,
                extra_headers=headers,
                max_redirects=0,
                read_buffer_init_size=READ_BUFFER,
                use_aiofastnet=False,
            )
    except TimeoutError:
        socket.abort()
        raise UnreachableError(f"no answer within {timeout:g} s") from None
    except asyncio.CancelledError:
        socket.abort()
        raise
    except WSHandshakeError as error:
        response = error.response
        if response is None:
            raise UnreachableError(str(error)) from None
        body = (error.raw_body or b"").decode("utf-8", "replace")
        raise UpgradeRefusedError(int(response.status), response.headers, body) from None
    except (OSError, WSError, ValueError) as error:
        raise UnreachableError(str(error) or type(error).__name__) from None
    if not socket.opened:
        # picows reports nothing when the connection is reset while it waits for the answer.
        raise UnreachableError("the connection was reset before the upgrade")
    return socket


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer instead of an upgrade."""

    status: int
    text: str
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The acceptance of an upgrade, with the receiver of its messages."""

    receiver: Receiver
    subprotocol: str | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request to open a WebSocket. `path` is raw: percent-encoded, with the query string."""

    path: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """Headers of the request, by names whose case is ignored."""
    peer: str
    """The address at the other end of the connection."""


Decide = Callable[[Upgrade], Acceptance | Refusal]


def accept(transport: asyncio.Transport, received: bytes, decide: Decide, *, max_size: int) -> None:
    """Take over a server connection on which `received` (a whole upgrade request) has come in.

    `decide` is asked once, before anything is answered. A message of more than `max_size` bytes
    closes the socket with 1009.
    """
    peer = transport.get_extra_info("peername")
    host = str(peer[0]) if isinstance(peer, tuple) else ""

    def choose(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        path = request.path.decode("latin-1")
        # A copy: picows' own headers are emptied once the socket is open.
        verdict = decide(Upgrade(path, request.headers.copy(), host))
        if isinstance(verdict, Refusal):
            refusal = WSUpgradeResponse.create_error_response(
                verdict.status, verdict.text.encode(), verdict.headers
            )
            return WSUpgradeResponseWithListener(refusal, None)
        headers = dict(verdict.headers or {})
        if verdict.subprotocol is not None:
            headers["Sec-WebSocket-Protocol"] = verdict.subprotocol
        socket = Socket(verdict.receiver, max_size)
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), socket)

    protocol = WSProtocol(
        None,  # host and port: a client's
        None,  # path: a client's
        False,  # is_client_side
        choose,
        _engine_log,
        True,  # disconnect_on_exception
        5,  # handshake time-out, seconds
        True,  # auto ping
        ACCEPTED_IDLE_S,
        ACCEPTED_IDLE_S,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        True,  # auto pong
        max_size,
        None,  # extra headers: a client's
        max(READ_BUFFER, 2 * len(received)),
    )
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    buffer = protocol.get_buffer(-1)
    buffer[: len(received)] = received
    protocol.buffer_updated(len(received))
