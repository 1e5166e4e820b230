"""Where a stream waits until it has said whose call it is.

Its upgrade was signed, which anyone could repeat who once saw it; so nothing is passed on, and one
wrong word closes the socket.
"""

import logging
from collections.abc import Callable
from typing import Final

from offhook.clock import Clock, Timer
from offhook.net.websocket import Channel, Closed
from offhook.twilio import messages, sids

_log: Final = logging.getLogger("offhook.refused")

PATIENCE_S: Final = 5.0
"""`connected` and `start` follow the upgrade at once."""

PLACES: Final = 100
"""Unverified sockets at once."""

POLICY_VIOLATION: Final = 1008

Admit = Callable[[Channel, messages.Start], str | None]
"""Lets a stream in, taking over its channel, or says why not."""


class PendingStreams:
    """The unverified streams of one server. `refused` is told why, of each that is sent away."""

    def __init__(self, clock: Clock, admit: Admit, refused: Callable[[str], None]) -> None:
        self.clock = clock
        self.admit = admit
        self.refused = refused
        self.waiting = 0

    @property
    def full(self) -> bool:
        """Whether there is no place for another."""
        return self.waiting >= PLACES

    def receiver(self) -> "UnverifiedStream":
        """Who receives what a new socket sends."""
        return UnverifiedStream(self)


class UnverifiedStream:
    """One socket in the lobby: a wire.Receiver, until a caller's leg takes its place."""

    def __init__(self, lobby: PendingStreams) -> None:
        self._lobby = lobby
        self._channel: Channel
        self._timer: Timer
        self._connected = False
        self._left = False

    def on_open(self, socket: Channel) -> None:
        """The upgrade is done."""
        self._lobby.waiting += 1
        self._channel = socket
        clock = self._lobby.clock
        self._timer = clock.call_at(
            clock.now() + PATIENCE_S, lambda: self._refuse("no 'start' within 5 s")
        )

    def on_text(self, text: bytes) -> None:
        """`connected`, then `start`, and nothing else."""
        if self._left:
            return
        try:
            message = messages.read(text)
        except messages.MalformedTwilioMessageError as bad:
            self._refuse(str(bad), kind="no media-stream message")
            return
        if isinstance(message, messages.Connected) and not self._connected:
            self._connected = True
        elif isinstance(message, messages.Start):
            self._start(message)
        else:
            self._refuse(f"{type(message).__name__} before 'start'")

    def on_binary(self, data: bytes) -> None:
        """Twilio sends none."""
        self._refuse("a binary message before 'start'")

    def on_writable(self, writable: bool) -> None:
        """Nothing is sent from here."""

    def on_close(self, closed: Closed) -> None:
        """It went as it came."""
        self._leave()

    def _start(self, start: messages.Start) -> None:
        why = _misshapen(start) or self._lobby.admit(self._channel, start)
        if why is not None:
            self._refuse(why, call_sid=start.start.call_sid)
        else:
            self._leave()

    def _refuse(self, why: str, *, kind: str = "", call_sid: str = "not told") -> None:
        """`kind` stands for a `why` that can have any many forms."""
        if not self._left:
            self._lobby.refused(kind or why)
            sid = call_sid[:40]
            _log.warning("refused a stream of call %r: %s", sid, why, extra={"call_sid": sid})
            self._leave()
            self._channel.close(POLICY_VIOLATION, why[:100])

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._lobby.waiting -= 1
            self._timer.cancel()


def _misshapen(start: messages.Start) -> str | None:
    """Which identifier of a `start` has another shape than Twilio's, if one has."""
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
