"""One direction of a connection: frames in, frames out, and what delays or loses them between."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from offhook.clock import Clock
from offhook.testing.faults.frames import Frame, FrameReader

READ: Final = 64 * 1024
"""Bytes that are read at once."""

HELD_MAX: Final = 1024 * 1024
"""Bytes that a slow direction holds. Beyond, it reads no more."""

_STEP_S: Final = 0.02
"""Seconds between two pieces of a direction that dribbles, unless single bytes are rarer."""


class Pipe:
    """Direction of a connection, from `source` to `sink`.

    `masked` is true for frames of a WebSocket's client.
    """

    def __init__(
        self,
        clock: Clock,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        *,
        masked: bool,
    ) -> None:
        self.sink: Final = sink
        self.masked: Final = masked
        self.swallows = False
        """True while messages are read and lost."""
        self.swaps = 0
        """Number of messages to pass on after their successor."""
        self._source = source
        self._now = clock.now
        self._latency_s = 0.0
        self._rate: float | None = None
        self._swapped: bytes | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._held = deque[tuple[float, bytes]]()
        self._held_bytes = 0
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._is_slow = False

    async def run(self, seen: Callable[["Pipe", Frame], None]) -> None:
        """Pass frames on until the source ends; `seen` is called before each of them.

        Raises ConnectionError if the connection breaks, and FrameTooBigError.
        """
        frames = FrameReader()
        while data := await self._source.read(READ):
            for frame in frames.feed(data):
                seen(self, frame)
                await self._passing.wait()
                self.push(frame.raw)
            await self._room.wait()
            await self.sink.drain()

    def push(self, raw: bytes) -> None:
        """Pass one message on: now, later or never."""
        if self.swallows:
            return
        if self._swapped is not None:
            raw, self._swapped = raw + self._swapped, None
        elif self.swaps:
            self.swaps -= 1
            self._swapped = raw
            return
        if not self._is_slow:
            self.send(raw)
            return
        self._held.append((self._now() + self._latency_s, raw))
        self._held_bytes += len(raw)
        self._some.set()
        if self._held_bytes > HELD_MAX:
            self._room.clear()

    def send(self, raw: bytes) -> None:
        """Write bytes at once, whatever is delayed; a connection that its reader closed takes none.

        To write to such a one is no error with asyncio, and a RuntimeError with uvloop.
        """
        if not self.sink.is_closing():
            self.sink.write(raw)

    def stall(self, stalled: bool) -> None:
        """Stop reading, or go on."""
        if stalled:
            self._passing.clear()
        else:
            self._passing.set()

    def slow_down(self, *, latency_s: float | None = None, rate: float | None = None) -> bool:
        """Delay what follows, or pass it byte by byte. Return True if `deliver` must be started."""
        if latency_s is not None:
            self._latency_s = latency_s
        if rate is not None:
            self._rate = rate
        was_slow, self._is_slow = self._is_slow, True
        return not was_slow

    async def deliver(self) -> None:
        """Pass on what is delayed, until cancelled."""
        while True:
            while not self._held:
                self._some.clear()
                await self._some.wait()
            due, raw = self._held.popleft()
            await asyncio.sleep(max(0.0, due - self._now()))
            await self._write(raw)
            self._held_bytes -= len(raw)
            if self._held_bytes <= HELD_MAX:
                self._room.set()

    async def _write(self, raw: bytes) -> None:
        if self._rate is None:
            self.send(raw)
            await self.sink.drain()
            return
        size = max(1, round(self._rate * _STEP_S))
        for at in range(0, len(raw), size):
            self.send(raw[at : at + size])
            await self.sink.drain()
            await asyncio.sleep(size / self._rate)
