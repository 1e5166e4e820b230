"""The head of an HTTP/1.1 request, read strictly: an ambiguous head is refused.

Uvicorn gets only requests that passed here, one whole request at a time, so it never has to find
where a request ends. Sources: RFC 9112 §2 to §7, RFC 9110 §5.
"""

import re
from dataclasses import dataclass
from typing import Final

HEAD_MAX: Final = 16 * 1024
"""Bytes of a head, blank lines before it included."""

HEADERS_MAX: Final = 100
"""Headers in a head. Twilio sends some 15, a chain of proxies some 20 more."""

CHUNKED_MAX: Final = 16 * 1024
"""Bytes of a body in chunks, with their framing: as many as a webhook may have."""

CHUNKS_MAX: Final = 64
"""Chunks of a body: each costs the event loop 1.5 µs, and many connections may come in one turn.

A whole body fits into chunks of 256 bytes. Twilio sends none.
"""

_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.([01])")
"""Pattern of a request line in origin form (RFC 9112 §3.2.1): other forms name a second host."""

_HEADER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
"""Pattern of a header (RFC 9112 §5): no folded lines, no controls, no space before the colon."""

_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_CHUNK_LINE_MAX: Final = 10

_FRAMING: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"upgrade"))


class BadRequestError(Exception):
    """Error: a request is not read further. It has the status of the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a request whose end of the body is determined."""

    raw: bytes
    """Request line and headers with the blank line that ends them, as Uvicorn is to read them."""
    length: int
    """Bytes of the body; unknown as long as a body comes in chunks."""
    chunked: bool
    upgrade: bool
    """True if the request asks for a WebSocket."""

    def with_length(self, length: int) -> bytes:
        """Return the head of the same request with the length of its body in place of chunks."""
        return self.raw[:-2] + b"Content-Length: %d\r\n\r\n" % length


def read(raw: bytes) -> RequestHead:
    """Return the head that `raw` is, up to and with its blank line. Raises BadRequestError."""
    lines = raw[:-4].split(b"\r\n")
    if len(lines) - 1 > HEADERS_MAX:
        raise BadRequestError(431, "There are too many headers.")
    request = _REQUEST_LINE.fullmatch(lines[0])
    if request is None or request[1] == b"CONNECT":  # it would make a tunnel of the connection
        raise BadRequestError(400, "The request line is malformed.")
    framing: dict[bytes, bytes] = {}
    left_out = []
    for index, line in enumerate(lines[1:], 1):
        header = _HEADER.fullmatch(line)
        if header is None:
            raise BadRequestError(400, "A header is malformed.")
        name = header[1].lower()
        if name in _FRAMING:
            if name in framing:
                raise BadRequestError(400, "A header came twice that may come once.")
            framing[name] = header[2].rstrip(b" \t")
            if name in (b"transfer-encoding", b"upgrade"):
                left_out.append(index)
    old = request[3] == b"0"
    if b"host" not in framing and not old:
        raise BadRequestError(400, "There is no Host.")
    upgrade = framing.get(b"upgrade", b"").lower() == b"websocket"
    length, chunked = _body(framing, old=old)
    if upgrade and (length or chunked):
        raise BadRequestError(400, "An upgrade has no body.")
    if left_out and not upgrade:
        # Another upgrade is ignored (RFC 9110 §7.8), and Uvicorn gets chunks put together: it
        # would read both in its own way.
        kept = [line for index, line in enumerate(lines) if index not in left_out]
        raw = b"\r\n".join(kept) + b"\r\n\r\n"
    return RequestHead(raw, length, chunked, upgrade)


def _body(framing: dict[bytes, bytes], *, old: bool) -> tuple[int, bool]:
    """Return the body's length, and whether it is in chunks instead (RFC 9112 §6)."""
    coding, length = framing.get(b"transfer-encoding"), framing.get(b"content-length")
    if coding is not None:
        if length is not None or old or coding.lower() != b"chunked":
            raise BadRequestError(400, "The length of the body is unclear.")
        return 0, True
    if length is None:
        return 0, False
    if not re.fullmatch(rb"[0-9]{1,12}", length):
        raise BadRequestError(400, "The length of the body is unclear.")
    return int(length), False


class ChunkedBody:
    """A body that comes in chunks, put together (RFC 9112 §7.1). No extensions, no trailers."""

    def __init__(self) -> None:
        self.body: bytes = b""
        self._parts: list[bytes] = []
        self._taken = 0
        self._expected = 0
        """Bytes of the present chunk and its line's end that are still to come."""
        self._last = False

    def take(self, received: bytearray) -> bool:
        """Take the body's bytes out of `received`. Return whether the body is whole.

        Raises BadRequestError.
        """
        while True:
            if self._expected or self._last:
                size = self._expected + 2
                if len(received) < size:
                    break
                if received[size - 2 : size] != b"\r\n":
                    raise BadRequestError(400, "A chunk is malformed.")
                self._parts.append(bytes(received[: size - 2]))
                self._drop(received, size)
                self._expected = 0
                if self._last:
                    self.body = b"".join(self._parts)
                    return True
            end = received.find(b"\r\n", 0, _CHUNK_LINE_MAX)
            if end < 0:
                if len(received) >= _CHUNK_LINE_MAX:
                    raise BadRequestError(400, "A chunk is malformed.")
                break
            if not _CHUNK_SIZE.fullmatch(received, 0, end):
                raise BadRequestError(400, "A chunk is malformed.")
            self._expected = int(received[:end], 16)
            self._last = self._expected == 0
            self._drop(received, end + 2)
            if self._taken + self._expected > CHUNKED_MAX or len(self._parts) >= CHUNKS_MAX:
                raise BadRequestError(413, "The body is too long.")
        return False

    def _drop(self, received: bytearray, size: int) -> None:
        del received[:size]
        self._taken += size
