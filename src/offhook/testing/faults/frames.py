"""WebSocket frames as bytes (RFC 6455 §5.2): read from a stream of bytes, and made.

The engine of offhook.net.websocket sends no frame that is wrong. A fault needs such frames, and
those of the other side as they came.
"""

import os
from dataclasses import dataclass
from typing import Final

from offhook.net import frames

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8

MAX_FRAME: Final = 4 * 1024 * 1024
"""Bytes that one frame may have."""


class FrameTooBigError(Exception):
    """Error: a frame has more than MAX_FRAME bytes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: its opcode, its payload without mask, and the bytes that are sent."""

    opcode: int
    payload: bytes
    raw: bytes


class FrameReader:
    """Reader of frames from pieces of a stream."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are whole by now. Raises FrameTooBigError."""
        held = self._held
        held += data
        found = []
        at = 0
        while True:
            frame = self._next(at)
            if frame is None:
                break
            found.append(frame)
            at += len(frame.raw)
        del held[:at]
        return found

    def _next(self, at: int) -> Frame | None:
        held = self._held
        left = len(held) - at
        if left < 2:
            return None
        masked = held[at + 1] & 0x80
        size = held[at + 1] & 0x7F
        head = 2 + (2 if size == 126 else 8 if size == 127 else 0)
        if left < head:
            return None
        if size > 125:
            size = int.from_bytes(held[at + 2 : at + head])
        if size > MAX_FRAME:
            raise FrameTooBigError
        mask_at = at + head
        head += 4 if masked else 0
        if left < head + size:
            return None
        raw = bytes(held[at : at + head + size])
        payload = raw[head:]
        if masked:
            payload = frames.masked(payload, bytes(held[mask_at : mask_at + 4]))
        return Frame(raw[0] & 0x0F, payload, raw)


def make(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    """Return the bytes of a whole message in one frame; a client's frames are `masked`."""
    mask = os.urandom(4) if masked else b""
    head = frames.head(0x80 | opcode, len(payload), mask)
    return head + (frames.masked(payload, mask) if masked else payload)


def close(code: int | None, *, masked: bool) -> bytes:
    """Return a close frame, with a code or without any."""
    return make(CLOSE, b"" if code is None else code.to_bytes(2), masked=masked)
