"""Live events of calls: server-sent events that can be resumed.

All listeners read from one ring buffer, each from its own position. A slow listener holds nothing
but its position; when the ring has dropped that, the listener gets a gap and continues behind it.

The format is that of the WHATWG's HTML standard, "Server-sent events".
"""

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from offhook.api.live_board import Change
from offhook.api.problems import ApiError
from offhook.errors import UserError
from offhook.events.describe import describe
from offhook.events.types import CallEvent

KEPT_MAX: Final = 5000
KEPT_BYTES: Final = 4 * 1024 * 1024
"""Bytes that the ring holds; the oldest events are dropped first."""

LISTENERS_MAX: Final = 32
HEARTBEAT_S: Final = 15.0
GATHER_S: Final = 0.1
"""Seconds for which events are gathered for a listener that has just been sent some. Such listeners
are woken up at the same moments, and are then sent the same bytes."""
CHUNK_BYTES: Final = 32 * 1024
RETRY_MS: Final = 1000
"""Milliseconds after which a client must reconnect."""

_UNCHANGED: Final[dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class _Kept:
    call_sid: str
    block: bytes


class LiveEvents:
    """Subscriber that keeps the last events for listeners. `run` is the id of this process."""

    def __init__(self, *, run: str | None = None, kept_max: int = KEPT_MAX) -> None:
        self._run = run if run is not None else secrets.token_hex(4)
        self._kept_max = kept_max
        self._kept: dict[int, _Kept] = {}
        self._bytes = 0
        self.last: int = 0
        """Number of the last event."""
        self.closed = False
        self._listeners: set[LiveListener] = set()
        self._gathered = asyncio.Event()
        """Set when the listeners that wait for further events are to be sent them."""
        self._gathered.set()
        self._shared: tuple[int, str | None, int, tuple[bytes, int]] | None = None
        """Last result of `after`, behind its arguments and the last event at that time."""

    def __call__(self, call_event: CallEvent, change: Change = _UNCHANGED) -> None:
        """Keep an event and what it changes on the board, and wake the listeners."""
        event = call_event.event
        content: dict[str, Any] = {
            "call_sid": call_event.call_sid,
            "at_ms": call_event.at_ms,
            "event": event,
            "words": describe(event, texts=False),
        }
        if change != _UNCHANGED:
            content["call"] = change
        self._keep(type(event).__name__, content, call_event.call_sid)

    def tell(self, name: str, content: Any) -> None:
        """Keep what is an event of no call, for the listeners to all calls."""
        self._keep(name, content, "")

    def _keep(self, name: str, content: Any, call_sid: str) -> None:
        self.last += 1
        data = msgspec.json.encode(content)
        block = b"id: %s\nevent: %s\ndata: %s\n\n" % (self.id_of(self.last), name.encode(), data)
        self._kept[self.last] = _Kept(call_sid, block)
        self._bytes += len(block)
        while len(self._kept) > self._kept_max or self._bytes > KEPT_BYTES:
            self._bytes -= len(self._kept.pop(self.first).block)
        for listener in self._listeners:
            listener.wake(call_sid)

    @property
    def first(self) -> int:
        """Number of the oldest kept event, or of the next event when none is kept."""
        return self.last + 1 - len(self._kept)

    def id_of(self, number: int) -> bytes:
        """Return the id of an event, with the run: after a restart an old id is recognised."""
        return f"{self._run}-{number}".encode()

    def place_of(self, last_id: str) -> int | None:
        """Return the number of the event with that id; None for another run or a malformed id."""
        run, _, number = last_id.rpartition("-")
        if run != self._run or not number.isascii() or not number.isdigit() or len(number) > 15:
            return None
        return int(number) if int(number) <= self.last else None

    def after(self, number: int, call_sid: str | None) -> tuple[bytes, int]:
        """Return the events after `number` as they are sent, and the number of the last one read.

        The events have about CHUNK_BYTES.
        """
        shared = self._shared
        if shared is None or shared[:3] != (number, call_sid, self.last):
            found = self._after(number, call_sid)
            shared = self._shared = (number, call_sid, self.last, found)
        return shared[3]

    def _after(self, number: int, call_sid: str | None) -> tuple[bytes, int]:
        blocks, size = [], 0
        while number < self.last and size < CHUNK_BYTES:
            number += 1
            kept = self._kept[number]
            if call_sid in (None, kept.call_sid):
                blocks.append(kept.block)
                size += len(kept.block)
        return b"".join(blocks), number

    def forget(self, call_sid: str) -> None:
        """Drop the kept events of an erased call; the numbers of other events stay."""
        self._shared = None
        for number, kept in self._kept.items():
            if kept.call_sid == call_sid:
                self._kept[number] = _Kept("", b"")
                self._bytes -= len(kept.block)

    def listen(
        self, last_id: str | None, call_sid: str | None, heartbeat_s: float = HEARTBEAT_S
    ) -> "LiveListener":
        """Return a new listener, after the event with that id, or from now on.

        Raises ApiError 503 when there are LISTENERS_MAX.
        """
        if len(self._listeners) >= LISTENERS_MAX:
            raise ApiError(
                503,
                UserError(
                    "E-API-14",
                    f"{LISTENERS_MAX} clients follow the live events already.",
                    "Close one of them, or follow all calls over one connection.",
                ),
                {"Retry-After": "5"},
            )
        listener = LiveListener(self, last_id, call_sid, heartbeat_s)
        self._listeners.add(listener)
        return listener

    async def gather(self) -> None:
        """Wait for further events, GATHER_S at most, until all listeners are sent theirs."""
        if self._gathered.is_set():
            self._gathered = asyncio.Event()
            asyncio.get_running_loop().call_later(GATHER_S, self._gathered.set)
        await self._gathered.wait()

    def leave(self, listener: "LiveListener") -> None:
        """Remove a listener that is gone."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """End all listeners, each after the events that are still kept, as the server stops."""
        self.closed = True
        for listener in self._listeners:
            listener.wake(None)


class LiveListener:
    """Stream of one client: an asynchronous iterator of bytes to send, and a context manager."""

    def __init__(
        self, live: LiveEvents, last_id: str | None, call_sid: str | None, heartbeat_s: float
    ) -> None:
        self._live = live
        self._call_sid = call_sid
        self._heartbeat_s = heartbeat_s
        self._some = asyncio.Event()
        place = live.last if last_id is None else live.place_of(last_id)
        # A client with the id of another run gets all kept events of this run.
        self._at = live.first - 1 if place is None else place
        self._lost: int | None = None
        self._gap = place is None
        self._begun = False
        self._sent = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.leave(self)

    def wake(self, call_sid: str | None) -> None:
        """Wake the listener for an event of a call; None: the stream is to end."""
        if call_sid is None or self._call_sid in (None, call_sid):
            self._some.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._begun:
            self._begun = True
            # The id, so that a client cut off before the first event misses nothing.
            return b"retry: %d\n" % RETRY_MS + self._place()
        if self._sent and not self._live.closed:
            await self._live.gather()
        while True:
            self._some.clear()
            chunk = self._next()
            self._sent = bool(chunk)
            if chunk:
                return chunk
            if self._live.closed:
                raise StopAsyncIteration
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    await self._some.wait()
                    continue
            # With a filter, the ring may advance while nothing is sent for a long time.
            return b": still here\n" + self._place()

    def _next(self) -> bytes:
        if self._at < self._live.first - 1:
            self._gap, self._lost = True, self._live.first - 1 - self._at
            self._at = self._live.first - 1
        gap = b""
        if self._gap:
            lost = msgspec.json.encode({"lost": self._lost})
            gap = b"id: %s\nevent: gap\ndata: %s\n\n" % (self._live.id_of(self._at), lost)
            self._gap, self._lost = False, None
        chunk, self._at = self._live.after(self._at, self._call_sid)
        return gap + chunk

    def _place(self) -> bytes:
        return b"id: %s\n\n" % self._live.id_of(self._at)
