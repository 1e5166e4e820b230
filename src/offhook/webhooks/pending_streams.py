"""Streams that have not identified their call yet.

The upgrade of each was signed, but anyone who saw a signed upgrade can repeat it. So no data of
such a stream is passed on, and the first wrong message closes the socket.
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from offhook.clock import Clock, Timer
from offhook.net.websocket import Channel, Closed
from offhook.twilio import messages, sids

_log: Final = logging.getLogger("offhook.refused")

PATIENCE_S: Final = 5.0
"""Seconds for `connected` and `start`, which follow the upgrade at once (twilio.md §1.3)."""

PLACES: Final = 100
"""Number of unverified sockets that may be open at once; for one more the oldest is cut.

Twilio says at once whose call a stream is, so the longest wait is least likely to be its own.
"""

POLICY_VIOLATION: Final = 1008

Admit = Callable[[Channel, messages.Start], str | None]
"""Function that admits a stream, and takes over its channel, or returns why not."""

Prepare = Callable[[messages.Start], Coroutine[Any, Any, str | None] | None]
"""Function that returns what must be awaited before a stream is admitted; None: nothing.

The result of the wait is why the stream is refused, or None.
"""


class PendingStreams:
    """Unverified streams of one server. `refused` is called with the reason of each refusal.

    `prepare` is asked before `admit`, and `start` runs what it returns in a task of the call.
    """

    def __init__(
        self,
        clock: Clock,
        admit: Admit,
        refused: Callable[[str], None],
        prepare: Prepare | None = None,
        start: Callable[[str, Coroutine[Any, Any, None]], object] | None = None,
    ) -> None:
        self.clock = clock
        self.admit = admit
        self.refused = refused
        self.prepare = prepare
        self.start = start
        self.waiting: dict[UnverifiedStream, None] = {}
        """Unverified streams, oldest first."""

    def enter(self, stream: "UnverifiedStream") -> None:
        """Let a stream wait, in the place of the oldest if all are taken."""
        while len(self.waiting) >= PLACES:
            next(iter(self.waiting)).give_way()
        self.waiting[stream] = None

    def receiver(
        self, admit: Admit | None = None, lost: Callable[[str], None] | None = None
    ) -> "UnverifiedStream":
        """Return the receiver of a new socket's messages.

        `admit` is the admission of a stream whose call is known beforehand; `lost` is called with
        the reason when the stream was not admitted, or ended before.
        """
        prepare = self.prepare if admit is None else None
        return UnverifiedStream(self, admit or self.admit, lost, prepare)


class UnverifiedStream:
    """A waiting socket: a websocket.Receiver, until a caller's leg replaces it."""

    def __init__(
        self,
        pending: PendingStreams,
        admit: Admit,
        lost: Callable[[str], None] | None,
        prepare: Prepare | None = None,
    ) -> None:
        self._pending = pending
        self._admit = admit
        self._prepare = prepare
        self._is_asking = False
        """True while the fleet is asked: what comes meanwhile is dropped."""
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
        if self._left or self._is_asking:
            return
        try:
            message = messages.read(text)
        except messages.MalformedTwilioMessageError as bad:
            self.refuse(str(bad), kind="no media-stream message")
            return
        # Once each, in this order; a `start` alone will do: `connected` says nothing of the call.
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
        call_sid = start.start.call_sid
        why = _misshapen(start)
        waits = self._prepare(start) if why is None and self._prepare is not None else None
        if waits is not None and self._pending.start is not None:
            self._is_asking = True
            self._pending.start(call_sid, self._admit_after(waits, start))
            return
        why = why or self._admit(self._channel, start)
        if why is not None:
            self.refuse(why, call_sid=call_sid)
        else:
            self._leave()

    async def _admit_after(
        self, waits: Coroutine[Any, Any, str | None], start: messages.Start
    ) -> None:
        why = "a fault in its admission"
        try:
            why = await waits or ""
            if not why and not self._left:  # else its socket closed meanwhile
                why = self._admit(self._channel, start) or ""
        finally:
            if why:
                self.refuse(why, call_sid=start.start.call_sid)
            else:
                self._leave()

    def refuse(self, why: str, *, kind: str = "", call_sid: str = "not told") -> None:
        """Close the socket; `kind` is counted in place of a `why` that has many forms."""
        if not self._left:
            self._tell_refusal(why, kind or why, call_sid)
            self._channel.close(POLICY_VIOLATION, why[:100])

    def give_way(self) -> None:
        """Cut the socket for a newer one.

        A close would wait for the peer's own. Who repeats an upgrade without end gives none, and
        a thousand dead streams that wait make each garbage collection some 10 ms long.
        """
        if not self._left:
            why = "its place was needed"
            self._tell_refusal(why, why, "not told")
            self._channel.abort()

    def _tell_refusal(self, why: str, kind: str, call_sid: str) -> None:
        self._pending.refused(kind)
        sid = call_sid[:40]
        _log.warning("refused a stream of call %r: %s", sid, why, extra={"call_sid": sid})
        self._lose(why)

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
