"""Tap on a call's two sockets, which gets every message of both legs, in and out, as sent.

A tapped call has a wire between each leg and its socket, added once, when the leg is made. A call
without a tap has none: no branch and no object in the audio path (docs/design/capture.md).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from offhook.audio import SILENCE
from offhook.call.ending import Ending
from offhook.clock import Clock
from offhook.deepgram.leg import Dial, PendingDial
from offhook.events.types import CameBy, Leg
from offhook.net.websocket import Channel, Closed, Receiver, UnreachableError, UpgradeRefusedError
from offhook.twilio import messages

_log: Final = logging.getLogger("offhook.tap")

Direction: TypeAlias = Literal["in", "out"]
"""Direction of a message. `in`: from a vendor to us."""

Kind: TypeAlias = Literal["open", "text", "binary", "close"]


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that may be tapped. Fields that Twilio did not tell are empty."""

    call_sid: str
    agent: str
    """Name of the call's agent."""
    by: CameBy
    """Way in which the call came."""
    from_: str = ""
    to: str = ""

    @property
    def outbound(self) -> bool:
        """True if we placed the call."""
        return self.by == "api"

    @property
    def number_of_caller(self) -> str:
        """The number that calls; empty for a user of the console, who has a name."""
        return "" if self.by == "browser" else self.from_

    @property
    def webhook(self) -> bool:
        """True if Twilio asks our webhook what comes after a stream of the call."""
        return self.by in ("webhook", "api")


@dataclass(frozen=True, slots=True)
class OnWire:
    """A message on a socket. `at_ms` counts from the beginning of the call, in milliseconds.

    `data` is the message; for a `close`, its code and reason as text; for an `open`, empty.
    """

    at_ms: float
    leg: Leg
    direction: Direction
    kind: Kind
    data: bytes


class Tap(Protocol):
    """Receiver of one call's messages, on the event loop. Must not wait.

    Messages may hold secrets: tokens, credentials in Settings. Digits that a function has asked
    the caller for are left out, and so are their tones. A tap that raises gets no further
    messages; the call goes on.
    """

    def on_wire(self, message: OnWire) -> None:
        """Receive a message: a received one before the call gets it, a sent one just after."""

    def on_ended(self, ending: Ending | None) -> None:
        """Receive the end of the call. Called once, last."""


HIDDEN_KEY: Final = "?"
"""Key that a tap sees in place of a secret one."""

MakeTap: TypeAlias = Callable[[NewCall], Tap | None]
"""Function that returns the tap of each new call, or None for no tap."""


def tap_for(make: MakeTap | None, call: NewCall) -> Tap | None:
    """Return the tap of a new call, if it is to have one."""
    if make is None:
        return None
    try:
        return make(call)
    except Exception:  # noqa: BLE001 - a fault of the tap must not end the call
        _log.exception("the call is not tapped", extra={"call_sid": call.call_sid})
        return None


class Tapped:
    """The two tapped sockets of one call."""

    def __init__(self, call_sid: str, tap: Tap, clock: Clock) -> None:
        self._sid = {"call_sid": call_sid}
        self._tap: Tap | None = tap
        self._now = clock.now
        self._began = clock.now()
        self.is_masked = False
        """True while the tap gets no keys of the caller, and no tones."""

    def caller(self, channel: Channel, start: messages.Start) -> Channel:
        """Return the caller's channel with the tap on it; its `start` has been received already."""
        wire = _Wire(self, "caller")
        wire.channel = channel
        channel.receiver = wire
        self.tell("caller", "in", "open")
        self.tell("caller", "in", "text", messages.write(start))
        return wire

    def agent(self, dial: Dial) -> Dial:
        """Return a dial whose sockets have the tap on them."""

        def dial_tapped(
            receiver: Receiver,
            failed: Callable[[UpgradeRefusedError | UnreachableError], None],
            place: int,
        ) -> PendingDial:
            wire = _Wire(self, "agent")
            wire.receiver = receiver

            def tell_failed(error: UpgradeRefusedError | UnreachableError) -> None:
                self.tell("agent", "in", "close", str(error).encode())
                failed(error)

            return dial(wire, tell_failed, place)

        return dial_tapped

    def end(self, ending: Ending | None) -> None:
        """Pass the end of the call to the tap."""
        tap, self._tap = self._tap, None
        if tap is not None:
            try:
                tap.on_ended(ending)
            except Exception:  # noqa: BLE001 - a fault of the tap must not end the call
                _log.exception("a tap failed at the end of its call", extra=self._sid)

    def tell(self, leg: Leg, direction: Direction, kind: Kind, data: bytes = b"") -> None:
        """Pass a message to the tap, if it still listens."""
        if self._tap is None:
            return
        if self.is_masked and leg == "caller" and direction == "in" and kind == "text":
            data = _without_keys(data)
        at_ms = 1000 * (self._now() - self._began)
        try:
            self._tap.on_wire(OnWire(at_ms, leg, direction, kind, data))
        except Exception:  # noqa: BLE001 - a fault of the tap must not end the call
            self._tap = None
            _log.exception("a tap failed, and gets nothing more of its call", extra=self._sid)


def _without_keys(text: bytes) -> bytes:
    """Return a message of Twilio's without its key and without the key's tone."""
    try:
        message = messages.read(text)
    except messages.MalformedTwilioMessageError:
        return b""
    if isinstance(message, messages.Dtmf):
        return messages.write(
            msgspec.structs.replace(message, dtmf=messages.DtmfDetails(HIDDEN_KEY))
        )
    if isinstance(message, messages.Media):
        silent = SILENCE * len(message.media.payload)
        details = msgspec.structs.replace(message.media, payload=silent)
        return messages.write(msgspec.structs.replace(message, media=details))
    return text


class _Wire:
    """A Channel to its leg, and a Receiver to its socket: passes all messages on and taps them."""

    receiver: Receiver
    channel: Channel

    def __init__(self, tapped: Tapped, leg: Leg) -> None:
        self._tell = tapped.tell
        self._leg: Leg = leg

    # --- to the vendor ---

    def send_text(self, text: bytes) -> None:
        self.channel.send_text(text)
        self._tell(self._leg, "out", "text", text)

    def send_binary(self, data: bytes) -> None:
        self.channel.send_binary(data)
        self._tell(self._leg, "out", "binary", data)

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        self.channel.close(code, reason, hears_out=hears_out)
        self._tell(self._leg, "out", "close", f"{code} {reason}".strip().encode())

    def abort(self) -> None:
        self.channel.abort()
        self._tell(self._leg, "out", "close", b"cut off")

    # --- from the vendor ---

    def on_open(self, socket: Channel) -> None:
        self.channel = socket
        self._tell(self._leg, "in", "open")
        self.receiver.on_open(self)

    def on_text(self, text: bytes) -> None:
        self._tell(self._leg, "in", "text", text)
        self.receiver.on_text(text)

    def on_binary(self, data: bytes) -> None:
        self._tell(self._leg, "in", "binary", data)
        self.receiver.on_binary(data)

    def on_writable(self, writable: bool) -> None:
        self.receiver.on_writable(writable)

    def on_close(self, closed: Closed) -> None:
        code = "cut off" if closed.received is None else str(closed.received)
        self._tell(self._leg, "in", "close", f"{code} {closed.reason}".strip().encode())
        self.receiver.on_close(closed)
