"""Streams over the local link: a connection whose every line is a message, in both directions.

A stream begins with one line, `JoinStream`, whose token the call process has made. From then on
both ends are a LinkChannel, which behaves as a WebSocket does: it tells its receiver when the peer
reads too slowly, and it ends with a code and a reason. docs/design/console.md says why.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from offhook.link.lines import Lines
from offhook.net.websocket import CLOSE_WAIT_S, INTERNAL_ERROR, Closed, Receiver

_log: Final = logging.getLogger("offhook.link")

STREAM_LINE_MAX: Final = 64 * 1024
"""Bytes of a line of a stream."""

STREAM_HIGH: Final = 40 * 1024
STREAM_LOW: Final = 16 * 1024
"""Unsent bytes at which a stream stops, and resumes, being writable, as those of a WebSocket."""

STREAM_UNSENT_MAX: Final = 512 * 1024
"""Bytes that may wait for a peer that does not read. Who writes stops at STREAM_HIGH."""

_CLOSE: Final = b"!"
"""First byte of the line that ends a stream. No JSON begins with it."""


class JoinStream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a connection that is to be the stream of that token."""

    stream: str


class _Ending(msgspec.Struct, frozen=True, array_like=True):
    """The last line of a stream, behind `_CLOSE`."""

    code: Annotated[int, msgspec.Meta(ge=1000, le=4999)] = 1000
    reason: str = ""


_ending: Final = msgspec.json.Decoder(_Ending)


class LinkChannel:
    """One end of a stream: a websocket.Channel."""

    def __init__(
        self, lines: Lines, receiver: Receiver, lost: Callable[[], None] | None = None
    ) -> None:
        """Make a connection that is open a stream; `lost` is called at its end, last."""
        self.receiver = receiver
        self._lines = lines
        self._lost = lost
        self._received: int | None = None
        self._reason = ""
        self._sent: int | None = None
        self._hears_out = False
        self._give_up: asyncio.TimerHandle | None = None
        lines.on_line = self._on_line
        lines.on_lost = self._on_lost
        lines.on_writable = self._on_writable
        lines.line_max = STREAM_LINE_MAX
        lines.unsent_max = STREAM_UNSENT_MAX
        lines.limit_writing(STREAM_HIGH, STREAM_LOW)

    # --- what the owner does ---

    def open(self) -> None:
        """Tell the receiver that the stream is open; a fault there ends this stream alone."""
        self._guard(lambda: self.receiver.on_open(self))

    def send_text(self, text: bytes) -> None:
        """Send one message, which has no newline. Does nothing once the channel is closing."""
        if self._sent is None:
            self._lines.send(text)

    def send_binary(self, data: bytes) -> None:
        """Raise ValueError: a stream has lines of text only."""
        raise ValueError("a stream over the local link has no binary messages")

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        """End the stream; the connection is cut if that takes more than CLOSE_WAIT_S seconds.

        The other end closes the connection once it has read that. Closed here, a write of the other
        end would fail, and it would lose what it has not read yet.
        `hears_out`: what the other end has sent before it reads that is still received.
        """
        if not self._lines.is_open or self._sent is not None:
            return
        self._sent = code
        self._hears_out = hears_out
        self._lines.send(ending_line(code, reason))
        self._lines.read(True)  # to the end, whether it is received or ignored
        self._give_up = asyncio.get_running_loop().call_later(CLOSE_WAIT_S, self._lines.abort)

    def abort(self) -> None:
        """Cut the connection at once."""
        self._lines.abort()

    def read(self, is_reading: bool) -> None:
        """Stop or resume reading, so that a peer that writes too fast is slowed down."""
        self._lines.read(is_reading)

    # --- what the connection calls ---

    def _on_line(self, line: bytes) -> None:
        if line.startswith(_CLOSE):
            self._on_ending(line)
            return
        if self._sent is not None and not self._hears_out:
            return
        try:
            self.receiver.on_text(line)
        except Exception:  # noqa: BLE001 - it ends this stream alone
            _log.exception("a fault in the receiver of a stream's messages")
            self.close(INTERNAL_ERROR, "internal error")

    def _on_ending(self, line: bytes) -> None:
        try:
            ending = _ending.decode(line[1:])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            ending = _Ending()
        self._received, self._reason = ending.code, ending.reason
        self._lines.end()

    def _on_writable(self, writable: bool) -> None:
        self._guard(lambda: self.receiver.on_writable(writable))

    def _on_lost(self) -> None:
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None
        try:
            self.receiver.on_close(Closed(self._received, self._reason, self._sent))
        except Exception:  # noqa: BLE001 - the connection is gone, and this is let go of
            _log.exception("a fault in a receiver whose stream has ended")
        if self._lost is not None:
            self._lost()
        self._lines.on_line = _ignore_line  # It cuts the cycle of references.
        self._lines.on_lost = _nothing
        self._lines.on_writable = _ignore_room

    def _guard(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception:  # noqa: BLE001 - it ends this stream alone
            _log.exception("a fault in the receiver of a stream")
            self.close(INTERNAL_ERROR, "internal error")


def ending_line(code: int, reason: str) -> bytes:
    """Return the last line of a stream."""
    return _CLOSE + msgspec.json.encode(_Ending(code, reason))


def _ignore_line(line: bytes) -> None:
    """Ignore a line: the stream is over."""


def _ignore_room(writable: bool) -> None:
    """Do nothing: nothing is sent any more."""


def _nothing() -> None:
    """Do nothing: the end was told."""
