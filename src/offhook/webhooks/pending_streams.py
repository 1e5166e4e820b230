"""Streams that have not identified their call yet.

The upgrade of each was signed, but anyone who saw a signed upgrade can repeat it. So no data of
such a stream is passed on, and the first wrong message closes the socket.
"""

import logging
from collections.abc import Callable
from typing import Final

from offhook.clock import Clock, Timer
from offhook.net.websocket import Channel, Closed
from offhook.twilio import messages, sids

_log: Final = logging.getLogger("offhook.refused")

PATIENCE_S: Final = 5.0
"""Seconds for `connected` and `start`, which follow the upgrade at once (twilio.md §1.3)."""

PLACES: Final = 100
"""Number of unverified sockets that may be open at once; for one more the oldest is closed.

Twilio says at once whose call a stream is, so whoever waits longest is least likely to be Twilio.
"""

POLICY_VIOLATION: Final = 1008

Admit = Callable[[Channel, messages.Start], str | None]
"""Function that admits a stream, and takes over its channel, or returns why not."""


class PendingStreams:
    """Unverified streams of one server. `refused` is called with the reason of each refusal."""

    def __init__(self, clock: Clock, admit: Admit, refused: Callable[[str], None]) -> None:
        self.clock = clock
        self.admit = admit
        self.refused = refused
        self.waiting: dict[UnverifiedStream, None] = {}
        """Unverified streams, oldest first."""

    def enter(self, stream: "UnverifiedStream") -> None:
        """Let a stream wait, in the place of the oldest if all are taken."""
        while len(self.waiting) >= PLACES:
            next(iter(self.waiting)).refuse("its place was needed")
        self.waiting[stream] = None

    def receiver(
        self, admit: Admit | None = None, lost: Callable[[str], None] | None = None
    ) -> "UnverifiedStream":
        """Return the receiver of a new socket's messages.

        `admit` is the admission of a stream whose call is known beforehand; `lost` is called with
        the reason when the stream was not admitted, or ended before.
        """
        return UnverifiedStream(self, admit or self.admit, lost)


class UnverifiedStream:
    """A waiting socket: a websocket.Receiver, until a caller's leg replaces it."""

    def __init__(
        self, pending: PendingStreams, admit: Admit, lost: Callable[[str], None] | None
    ) -> None:
        self._pending = pending
        self._admit = admit
        self._lost = lost
        self._channel: Channel
        self._timer: Timer
        self._connected = False
        self._left = False

    def on_open(self, socket: Channel) -> None:
        """Start the time limit, as the upgrade is done."""
        self._channel = socket
        self._pending.enter(self)
        clock = self._pending.clock
        self._timer = clock.call_at(
            clock.now() + PATIENCE_S, lambda: self.refuse("no 'start' within 5 s")
        )

    def on_text(self, text: bytes) -> None:
        """Handle `connected`, then `start`, and nothing else (twilio.md §1.3)."""
        if self._left:
            return
        try:
            message = messages.read(text)
        except messages.MalformedTwilioMessageError as bad:
            self.refuse(str(bad), kind="no media-stream message")
            return
        if isinstance(message, messages.Connected) and not self._connected:
            self._connected = True
        elif isinstance(message, messages.Start):
            self._start(message)
        else:
            self.refuse(f"{type(message).__name__} before 'start'")

    def on_binary(self, data: bytes) -> None:
        """Refuse the stream, as Twilio sends no binary messages."""
        self.refuse("a binary message before 'start'")

    def on_writable(self, writable: bool) -> None:
        """Do nothing, as this class sends no messages."""

    def on_close(self, closed: Closed) -> None:
        """Remove the stream from those that wait."""
        self._lose(f"its socket closed before 'start' ({closed.reason or 'no reason given'})")

    def _start(self, start: messages.Start) -> None:
        why = _misshapen(start) or self._admit(self._channel, start)
        if why is not None:
            self.refuse(why, call_sid=start.start.call_sid)
        else:
            self._leave()

    def refuse(self, why: str, *, kind: str = "", call_sid: str = "not told") -> None:
        """Close the socket; `kind` is counted in place of a `why` that has many forms."""
        if not self._left:
            self._pending.refused(kind or why)
            sid = call_sid[:40]
            _log.warning("refused a stream of call %r: %s", sid, why, extra={"call_sid": sid})
            self._lose(why)
            self._channel.close(POLICY_VIOLATION, why[:100])

    def _lose(self, why: str) -> None:
        if not self._left:
            self._leave()
            if self._lost is not None:
                self._lost(why)

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            del self._pending.waiting[self]
            self._timer.cancel()


def _misshapen(start: messages.Start) -> str | None:
    """Return why an identifier of a `start` cannot be Twilio's; None when all can."""
    details = start.start
    for name, shape, sid in (
        ("CallSid", sids.CALL, details.call_sid),
        ("AccountSid", sids.ACCOUNT, details.account_sid),
        ("StreamSid", sids.STREAM, start.stream_sid),
    ):
        if shape.fullmatch(sid) is None:
            return f"the {name} has another shape"
    if details.stream_sid not in ("", start.stream_sid):
        return "two StreamSids"
    return None
