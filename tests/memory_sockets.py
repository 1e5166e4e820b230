"""Sockets in memory, on a clock that jumps: both ends of a call in one test."""

from collections.abc import Callable

from offhook.net.websocket import Channel, Closed, Receiver
from offhook.testing.virtual_clock import VirtualClock


class MemorySocket:
    """One end of a connection in memory: a Channel, with `latency` seconds to the other end."""

    def __init__(self, clock: VirtualClock, receiver: Receiver, latency: float) -> None:
        self._clock = clock
        self.receiver = receiver
        self._latency = latency
        self._open = True
        self._sent_code: int | None = None
        self._hears_out = False
        self.peer: MemorySocket

    def send_text(self, text: bytes) -> None:
        """Send one text message."""
        self._send(lambda peer: peer._receive(lambda: peer.receiver.on_text(text)))

    def send_binary(self, data: bytes) -> None:
        """Send one binary message."""
        self._send(lambda peer: peer._receive(lambda: peer.receiver.on_binary(data)))

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        """Close as RFC 6455 does: the peer echoes, then both ends are told."""
        if not self._open or self._sent_code is not None:
            return
        self._send(lambda peer: peer._on_close_frame(code, reason))
        self._sent_code = code
        self._hears_out = hears_out

    def abort(self) -> None:
        """Cut the connection: neither end sees a close frame."""
        if not self._open:
            return
        self._later(lambda: self.peer._gone(Closed(None, "", self.peer._sent_code)))
        self._gone(Closed(None, "", self._sent_code or 1001))

    def _receive(self, take: Callable[[], None]) -> None:
        if self._sent_code is None or self._hears_out:
            take()

    def _on_close_frame(self, code: int, reason: str) -> None:
        if self._sent_code is None:
            self._later(lambda: self.peer._gone(Closed(code, "", code)))
        self._gone(Closed(code, reason, self._sent_code))

    def _send(self, deliver: Callable[["MemorySocket"], None]) -> None:
        if not self._open or self._sent_code is not None:
            return
        peer = self.peer
        self._later(lambda: deliver(peer) if peer._open else None)

    def _later(self, callback: Callable[[], None]) -> None:
        self._clock.call_at(self._clock.now() + self._latency, callback)

    def _gone(self, closed: Closed) -> None:
        if self._open:
            self._open = False
            self.receiver.on_close(closed)


def connect_in_memory(
    clock: VirtualClock, client: Receiver, server: Receiver, latency: float = 0.001
) -> tuple[Channel, Channel]:
    """Join two receivers; both are told `on_open`, the server first. Returns (client's, server's).

    `latency` is the way in one direction, in seconds.
    """
    near = MemorySocket(clock, client, latency)
    far = MemorySocket(clock, server, latency)
    near.peer, far.peer = far, near
    server.on_open(far)
    client.on_open(near)
    return near, far
