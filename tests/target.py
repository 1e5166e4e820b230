"""A web server that after-call webhooks go to, and misbehaves as it is told."""

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Behaviour = Callable[[http.server.BaseHTTPRequestHandler], None]
"""What it does with a request whose body was read."""


@dataclass
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Target:
    """Behaves by each of `script` in turn, and by the last for ever."""

    def __init__(self, script: Sequence[Behaviour]) -> None:
        self.received: list[Received] = []
        self.at_once = 0
        self.most_at_once = 0
        self.stopping = threading.Event()
        self.url = ""
        self._script = script
        self._lock = threading.Lock()
        self._some = threading.Condition()

    def handle(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        with self._lock:
            behave = self._script[min(len(self.received), len(self._script) - 1)]
            self.received.append(Received(dict(request.headers), body))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        with self._some:
            self._some.notify_all()
        try:
            behave(request)
        finally:
            with self._lock:
                self.at_once -= 1

    def until(self, count: int) -> list[Received]:
        """Wait for so many requests."""
        with self._some:
            assert self._some.wait_for(lambda: len(self.received) >= count, 240)
        return self.received


def answer(status: int, **headers: str) -> Behaviour:
    def behave(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return behave


def hang(request: http.server.BaseHTTPRequestHandler) -> None:
    """Never answer, until the target is stopped."""
    _target_of(request).stopping.wait(60)


def drip(request: http.server.BaseHTTPRequestHandler) -> None:
    """Answer so slowly that no single read takes long, and all of it for ever."""
    stopping = _target_of(request).stopping
    try:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not stopping.wait(0.05):
            request.wfile.write(b"x")
    except OSError:
        pass


def flood(request: http.server.BaseHTTPRequestHandler) -> None:
    """200, and a body without an end."""
    stopping = _target_of(request).stopping
    request.send_response(200)
    request.end_headers()
    try:
        while not stopping.is_set():
            request.wfile.write(bytes(1 << 20))
    except OSError:
        pass


def cut(request: http.server.BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    request.connection.shutdown(socket.SHUT_RDWR)


def _target_of(request: http.server.BaseHTTPRequestHandler) -> Target:
    return request.server.target  # type: ignore[attr-defined,no-any-return]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        _target_of(self).handle(self)

    def log_message(self, *args: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *args: object) -> None:
        """Whoever cuts a connection is expected here."""


@contextmanager
def target(*script: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Target]:
    made = Target(script or [answer(204)])
    server = _Server(("127.0.0.1", 0), _Handler)
    server.target = made  # type: ignore[attr-defined]
    if tls is not None:
        # Each handshake in its request's thread: a client that never comes holds up nobody else.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    scheme = "http" if tls is None else "https"
    made.url = f"{scheme}://localhost:{server.server_address[1]}/calls"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
