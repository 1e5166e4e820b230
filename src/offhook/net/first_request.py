"""Routing of HTTP and WebSocket on one port by the head of each request.

A WebSocket upgrade goes to websocket.accept, and the router is gone: no audio frame passes it.
Every other request is handed to Uvicorn's HTTP protocol, one at a time and framed, so that the
limits hold for each of them and not only for a connection's first.
"""

import asyncio
import http
import logging
import socket
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from offhook.clock import Timer
from offhook.net import websocket
from offhook.net.listener import Connection, ConnectionState, Listener
from offhook.net.request_head import HEAD_MAX, BadRequestError, ChunkedBody, read
from offhook.net.uvicorn_server import OwnedUvicorn

_log: Final = logging.getLogger("offhook.refused")

REQUEST_S: Final = 5.0
"""Seconds that the head of a connection's first request may take."""

IDLE_S: Final = 5.0
"""Seconds from an answer to the end of the next request's head."""

BODY_MAX: Final = 512 * 1024
"""Bytes of a body. A route may take less."""

BODY_S: Final = 5.0
"""Seconds that a body may take behind its head."""

EARLY_MAX: Final = 64 * 1024
"""Bytes that may follow a request before it is answered: another one, or a stream's messages."""

READS_FREE: Final = 8
"""Reads of a head, or of a body, that follow each other at once. Twilio and proxies need one."""

PACE_S: Final = 0.02
"""Seconds between two further reads. What whoever sends a byte at a time sent meanwhile is one."""

LINGER_S: Final = 1.0
"""Seconds that a client has to read its last answer while it still sends data, unread."""


_Phase: TypeAlias = Literal["head", "begin", "body", "give", "answer", "leaving", "over"]
"""Phase of a connection. In `begin` a head, in `give` a body waits for the connection's turn."""


class FirstRequestRouter(Connection):
    """A connection until it is a stream. `decide` is asked about every WebSocket upgrade.

    `serve` makes what answers all other requests; without it they are answered with 404.
    """

    def __init__(
        self,
        listener: Listener,
        decide: websocket.Decide,
        max_size: int,
        serve: "Callable[[FirstRequestRouter], HttpProtocol] | None" = None,
    ) -> None:
        self._listener = listener
        self._decide = decide
        self._max_size = max_size
        self._serve = serve
        self._phase: _Phase = "head"
        self._received = bytearray()
        self._looked_at = 0
        """Bytes received that hold no end of a head."""
        self._unread = 0
        """Blank lines before a head, or what came after the last answer, in bytes."""
        self._missing = 0
        """Bytes of the body that are still to come, if the head gave its length."""
        self._reads = 0
        """Reads of the present head, or body."""
        self._paused: asyncio.TimerHandle | None = None
        """Timer after which the next part is read; None while parts are read as they come."""
        self._chunks: ChunkedBody | None = None
        self._chunked_head: Callable[[int], bytes] | None = None
        self._begun = False
        """True if the answer has begun."""
        self._is_last = False
        """True if the connection ends with the answer that has begun."""
        self._good = False
        """True if the connection has had an answer that was not a refusal."""
        self._charged = False
        self._http: HttpProtocol | None = None
        self._transport: asyncio.Transport
        self._timer: Timer | None = None

    # --- the loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head: a connection came in, its TLS handshake done."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        if self._phase == "over":
            self._transport.abort()
        else:
            self._wait(REQUEST_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up: the connection is gone."""
        self._phase = "over"
        self._stop_waiting()
        self._stop_pausing()
        self._listener.left(self)
        if not self._good:
            self._charge()
        self._end_http(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, or of what follows it."""
        if self._phase == "over":
            return
        if self._phase == "leaving":
            self._unread += len(data)
            if self._unread > EARLY_MAX:
                self.drop()
            return
        self._received += data
        self._reads += 1
        if self._phase == "head":
            self._find_head()
            self._slow_down()
        elif self._phase == "body":
            if self._body_is_whole():
                self._in_turn("give")
            self._slow_down()
        # A client may send its next request before this answer, but not without end.
        elif len(self._received) > EARLY_MAX + BODY_MAX:
            self.drop()

    def _slow_down(self) -> None:
        """Let what follows gather for a while, if a request in many parts is not whole."""
        if self._reads > READS_FREE and self._phase in ("head", "body") and self._paused is None:
            self._transport.pause_reading()
            self._paused = asyncio.get_running_loop().call_later(PACE_S, self._read_on)

    def _read_on(self) -> None:
        if self._paused is not None:
            self._stop_pausing()
            self._transport.resume_reading()

    def _stop_pausing(self) -> None:
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None

    def pause_writing(self) -> None:
        """Have Uvicorn pause: the client reads too slowly."""
        if self._http is not None:
            self._http.pause_writing()

    def resume_writing(self) -> None:
        """Have Uvicorn go on: the client has caught up."""
        if self._http is not None:
            self._http.resume_writing()

    # --- the Listener calls ---

    def step(self) -> None:
        """Go on with a request whose head, or whose body, is there."""
        if self._phase == "begin":
            self._begin()
        elif self._phase == "give":
            self._give_body()

    def drop(self) -> None:
        """Cut the connection at once."""
        self._phase = "over"
        self._stop_waiting()
        self._stop_pausing()
        self._listener.left(self)
        self._charge()
        if hasattr(self, "_transport"):
            self._transport.abort()

    # --- what answers the request calls ---

    def answering(self, status: int) -> bool:
        """Take note that an answer begins. Return whether the connection has to end with it."""
        self._begun = True
        if status < 400:
            self._good = True
            # Another process accepts connections by now, and is to get the next request.
            self._is_last = self._listener.is_closed
            return self._is_last
        # One refusal a connection: a client that asks again must connect anew, which is bounded.
        self._is_last = True
        self._charge()
        return True

    def answered(self) -> None:
        """Await the next request, or end the connection: an answer is complete."""
        if self._phase in ("leaving", "over"):
            return
        if self._is_last or self._phase != "answer":
            self.leave()
            return
        self._begun = False
        self._phase = "head"
        self._looked_at = self._reads = 0
        self._listener.moved(self, ConnectionState.IDLE)
        self._wait(IDLE_S)
        if self._received:
            self._find_head()

    def leave(self) -> None:
        """End the connection when all that was written is sent."""
        if self._phase in ("leaving", "over"):
            return
        unread = self._phase == "body" or bool(self._received)
        self._phase = "leaving"
        self._read_on()
        self._received.clear()
        self._unread = 0
        self._stop_waiting()
        self._listener.moved(self, ConnectionState.LEAVING)
        if not unread:
            self._transport.close()
            return
        # Closed now, with bytes of the request unread, the system would reset the connection, and
        # the client might never see its answer.
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)

    @property
    def has_begun(self) -> bool:
        """True if the answer has begun."""
        return self._begun

    @property
    def is_over(self) -> bool:
        """True if nothing more is to be written."""
        return self._phase in ("leaving", "over")

    # --- the head ---

    def _find_head(self) -> None:
        received = self._received
        if received.startswith((b"\r", b"\n")):  # blank lines before it are skipped (RFC 9112 §2.2)
            before = len(received)
            received[:] = received.lstrip(b"\r\n")
            self._unread += before - len(received)
        # The end may have begun in the last three bytes that were looked at.
        end = received.find(b"\r\n\r\n", max(0, self._looked_at - 3))
        self._looked_at = len(received)
        if self._unread + (len(received) if end < 0 else end) > HEAD_MAX:
            self._refuse(431, "The head of the request is too long.")
        elif end >= 0:
            self._in_turn("begin")
        elif received:
            self._listener.moved(self, ConnectionState.ASKING)

    def _begin(self) -> None:
        """Hand the request that has begun to Uvicorn or `decide`, or refuse it."""
        end = self._received.index(b"\r\n\r\n") + 4
        raw = bytes(self._received[:end])
        del self._received[:end]
        self._unread = self._reads = 0
        try:
            head = read(raw)
        except BadRequestError as bad:
            self._refuse(bad.status, bad.why)
            return
        if head.upgrade:
            self._upgrade(head.raw)
        elif self._serve is None:
            self._refuse(404, "Only WebSockets are served here.")
        elif head.length > BODY_MAX:
            self._refuse(413, "The body is too long.")
        elif head.chunked:
            # Uvicorn gets the head when the length is known: two readers of chunks might differ.
            self._chunks, self._chunked_head = ChunkedBody(), head.with_length
            self._await_body()
        else:
            self._missing = head.length
            # The head goes first: the application may refuse it without waiting for the body.
            self._give(head.raw)
            self._await_body()

    # --- the body ---

    def _await_body(self) -> None:
        if self._phase != "begin":
            return  # it was answered already, or is gone
        self._phase = "body"
        if self._body_is_whole():
            self._give_body()
        elif not self.is_over:
            self._listener.moved(self, ConnectionState.ASKING)
            self._wait(BODY_S)

    def _body_is_whole(self) -> bool:
        if self._chunks is None:
            return len(self._received) >= self._missing
        try:
            return self._chunks.take(self._received)
        except BadRequestError as bad:
            self._refuse(bad.status, bad.why)
            return False

    def _give_body(self) -> None:
        self._phase = "answer"
        if self._chunks is not None and self._chunked_head is not None:
            body, head = self._chunks.body, self._chunked_head
            self._chunks = self._chunked_head = None
            self._give(head(len(body)) + body)
        elif self._missing:
            body = bytes(self._received[: self._missing])
            del self._received[: self._missing]
            self._missing = 0
            self._give(body)

    def _give(self, data: bytes) -> None:
        if self._http is None:
            assert self._serve is not None
            self._http = self._serve(self)
            self._http.connection_made(cast("asyncio.Transport", _Out(self, self._transport)))
        self._http.data_received(data)

    def _end_http(self, exc: Exception | None) -> None:
        """Have Uvicorn forget the connection."""
        if self._http is not None:
            self._http.connection_lost(exc)
            self._http = None

    # --- upgrades ---

    def _upgrade(self, head: bytes) -> None:
        if len(self._received) > EARLY_MAX:
            self._refuse(413, "Too much came behind the upgrade.")
            return
        if self._listener.streams >= self._listener.streams_max:
            _log.warning(
                "503 for a stream: %d are open, and the limit of open files allows no more",
                self._listener.streams_max,
            )
            self._refuse(503, "Too many streams are open.")
            return

        received = head + bytes(self._received)
        self._received.clear()
        self._phase = "over"
        self._end_http(None)
        # An accepted one, too: an upgrade can be repeated by whoever saw one, and costs most.
        self._charge()
        self._listener.became_stream(self)
        websocket.accept(self._transport, received, self._decide, max_size=self._max_size)

    # --- refusing, and waiting ---

    def _refuse(self, status: int, why: str) -> None:
        """Refuse a request without Uvicorn, which costs less."""
        if self._begun:
            self.drop()
            return
        phrase = http.HTTPStatus(status).phrase
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(why) + 1}\r\nConnection: close\r\n\r\n{why}\n"
        )
        self._transport.write(head.encode("ascii"))
        self._charge()
        self.leave()

    def _charge(self) -> None:
        if not self._charged:
            self._charged = True
            self._listener.charge()

    def _in_turn(self, phase: Literal["begin", "give"]) -> None:
        self._phase = phase
        self._stop_waiting()
        self._listener.moved(self, ConnectionState.BUSY)
        self._listener.soon(self)

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_late(self) -> None:
        if self._phase == "body":
            self._refuse(408, "The request did not arrive whole.")
        else:
            self.drop()


class HttpProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP, of a connection whose FirstRequestRouter gives it one request at a time."""

    def __init__(
        self,
        router: FirstRequestRouter,
        config: Config,
        state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        super().__init__(config, state, app_state)
        self._router = router

    def on_response_complete(self) -> None:
        """Tell the router, which awaits the next request."""
        self.server_state.total_requests += 1
        self._router.answered()


class _Out:
    """The transport that Uvicorn has for a connection: the router decides when it ends."""

    def __init__(self, router: FirstRequestRouter, transport: asyncio.Transport) -> None:
        self._router = router
        self._transport = transport
        self._in_answer = False

    def write(self, data: bytes) -> None:
        """Send a part of an answer."""
        if self._router.is_over:
            return
        # An interim answer, 100, is followed by the answer itself (RFC 9110 §15.2).
        if not self._router.has_begun and not data.startswith(b"HTTP/1.1 100 "):
            # Uvicorn writes the status line first: `HTTP/1.1 ` has nine bytes.
            ends = self._router.answering(int(data[9:12]))
            if ends and b"\r\nconnection: close\r\n" not in data:
                data = data.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)
        self._transport.write(data)

    def close(self) -> None:
        """End the connection once everything is sent."""
        self._router.leave()

    def abort(self) -> None:
        """Cut the connection."""
        self._router.drop()

    def is_closing(self) -> bool:
        """Return whether the connection is gone or closing."""
        return self._router.is_over or self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the transport's extra information."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Do nothing: the FirstRequestRouter decides what is read, and how much of it is held."""

    def resume_reading(self) -> None:
        """Do nothing, as `pause_reading` does."""


class HttpServer(OwnedUvicorn):
    """Uvicorn behind a Listener, with FirstRequestRouters. `run` serves until `should_exit`."""

    def __init__(
        self,
        config: Config,
        sock: socket.socket,
        *,
        decide: websocket.Decide,
        max_size: int,
        started: asyncio.Event,
        files_of_stream: int = 2,
    ) -> None:
        super().__init__(config, started)
        self._decide = decide
        self._max_size = max_size
        config.load()
        self.listener: Final = Listener(
            sock, self._router, tls=config.ssl, files_of_stream=files_of_stream
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen. Uvicorn itself listens to nothing: it would accept without limit."""
        await super().startup(sockets=[])
        self.listener.open()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and let requests that are being answered finish."""
        self.listener.close()
        await super().shutdown(sockets=[])
        self.listener.cut()

    def _router(self, listener: Listener) -> FirstRequestRouter:
        return FirstRequestRouter(listener, self._decide, self._max_size, self._http)

    def _http(self, router: FirstRequestRouter) -> HttpProtocol:
        return HttpProtocol(router, self.config, self.server_state, {})
