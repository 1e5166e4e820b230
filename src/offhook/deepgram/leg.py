"""The agent's leg: one socket to Deepgram's Voice Agent, from dialling to hanging up."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, TypeAlias

from offhook.audio import BYTES_PER_MS
from offhook.deepgram import messages
from offhook.net.websocket import (
    INTERNAL_ERROR,
    Channel,
    Closed,
    Receiver,
    UnreachableError,
    UpgradeRefusedError,
)

LATE_MAX: Final = 100
"""Messages of a leg that was hung up among which a late turn of the caller is looked for."""
OUTBOX_BYTES: Final = 2000 * BYTES_PER_MS
"""Bytes of caller audio that wait while Deepgram's socket is full: 2 s; the oldest goes first."""


class PendingDial(Protocol):
    """A socket that is being opened."""

    def cancel(self) -> object:
        """Stop opening the socket; nothing is reported after that."""


Dial: TypeAlias = Callable[
    [Receiver, Callable[[UpgradeRefusedError | UnreachableError], None], int], PendingDial
]
"""Function that opens a socket for a receiver, or reports a failure; it returns before either.

The number is the place of the address in the list of those that are configured; it may be larger
than the list is long.
"""


class AgentLegOwner(Protocol):
    """The session that owns an agent's leg and is notified of its events."""

    def on_agent_audio(self, audio: bytes) -> None:
        """Take a piece of the agent's speech, of any length."""

    def on_agent_message(
        self, message: messages.ServerMessage | messages.UnknownAgentMessage
    ) -> None:
        """Take any other message of Deepgram's."""

    def on_late_turn(self, turn: messages.ConversationText) -> None:
        """Take a turn of the caller that Deepgram had told before it knew of our hanging up."""

    def on_agent_garbage(self, what: str) -> None:
        """Take note of a message that breaks the protocol; `what` quotes nothing of it."""

    def on_agent_writable(self, writable: bool) -> None:
        """Stop (False) or resume (True) sending: the socket is full, or takes data again."""

    def on_agent_open(self) -> None:
        """Take note that the socket is open."""

    def on_agent_failed(self, error: UpgradeRefusedError | UnreachableError) -> None:
        """Take note that the socket could not be opened."""

    def on_agent_lost(self, why: str, code: int | None, *, ours: bool) -> None:
        """Take note that the socket is lost, with its close code; None: it was cut off.

        `ours`: because of a fault in our own program.
        """

    def on_agent_dropped(self, size: int) -> None:
        """Count `size` bytes of caller audio that waited too long and were dropped."""


class AgentLeg:
    """A socket to Deepgram: reads its messages and writes ours (a websocket.Receiver)."""

    def __init__(self, owner: AgentLegOwner, dial: Dial, place: int = 0) -> None:
        self.owner = owner
        """Receiver of what happens to the leg; another one may take the leg over."""
        self._channel: Channel | None = None
        self._hung_up = False
        self._late = 0
        self._writable = True
        self._outbox: list[bytes] = []
        self._outbox_size = 0
        self._dialling = dial(self, self._on_failed, place)

    # --- to Deepgram ---

    def send_audio(self, audio: bytes) -> None:
        """Forward caller audio at once; while the socket is full, keep its newest 2 s."""
        if self._channel is None:
            return
        if self._writable:
            self._channel.send_binary(audio)
            return
        self._outbox.append(audio)
        self._outbox_size += len(audio)
        # The oldest goes: late audio would make the agent answer late for the rest of the call.
        while self._outbox_size > OUTBOX_BYTES:
            dropped = len(self._outbox.pop(0))
            self._outbox_size -= dropped
            self.owner.on_agent_dropped(dropped)

    def send(self, text: bytes) -> None:
        """Send a message."""
        if self._channel is not None:
            self._channel.send_text(text)

    def hang_up(self, *, hears_out: bool = True) -> None:
        """Close the socket, or call off the dial. Open time is billed (deepgram.md §1.3).

        `hears_out`: what Deepgram has sent before it answers that is read for turns of the caller.
        """
        self._hung_up = True
        if self._channel is None:
            self._dialling.cancel()
        else:
            self._channel.close(hears_out=hears_out)

    # --- from Deepgram ---

    def on_open(self, socket: Channel) -> None:
        """Keep the channel: the upgrade is done, and Deepgram speaks first (deepgram.md §2)."""
        if self._hung_up:
            socket.close()
        else:
            self.owner.on_agent_open()
        self._channel = socket

    def on_text(self, text: bytes) -> None:
        """Pass a message on, unless it breaks the protocol."""
        if self._hung_up:
            self._look_for_turn(text)
            return
        try:
            message = messages.read(text)
        except messages.MalformedAgentMessageError as bad:
            self.owner.on_agent_garbage(str(bad))
            return
        self.owner.on_agent_message(message)

    def _look_for_turn(self, text: bytes) -> None:
        """Pass on what a leg that was hung up has heard of the caller; nothing else counts."""
        self._late += 1
        if self._late > LATE_MAX:
            return
        with suppress(messages.MalformedAgentMessageError):
            message = messages.read(text)
            if isinstance(message, messages.ConversationText) and message.role == "user":
                self.owner.on_late_turn(message)

    def on_binary(self, data: bytes) -> None:
        """Pass a piece of the agent's speech on."""
        if not self._hung_up:
            self.owner.on_agent_audio(data)

    def on_writable(self, writable: bool) -> None:
        """Hold audio back, or send what was held back, in one piece."""
        self._writable = writable
        if writable and self._outbox and self._channel is not None:
            held = b"".join(self._outbox)
            self._outbox.clear()
            self._outbox_size = 0
            # A binary message may have any size (deepgram.md §2.7).
            self._channel.send_binary(held)
        # It may have filled up again at once, which has been told already.
        if self._writable == writable and not self._hung_up:
            self.owner.on_agent_writable(writable)

    def on_close(self, closed: Closed) -> None:
        """Tell the session that the socket is lost, unless we hung up."""
        self._channel = None
        if not self._hung_up:
            self._hung_up = True
            # After an Error, which has the reason, Deepgram gives no status (deepgram.md §1.4).
            # We close first when Deepgram breaks the protocol, and the code is ours.
            code = closed.sent or closed.received
            why = closed.reason or (f"close code {code}" if code else "cut off")
            self.owner.on_agent_lost(why, code, ours=closed.sent == INTERNAL_ERROR)

    def _on_failed(self, error: UpgradeRefusedError | UnreachableError) -> None:
        if not self._hung_up:
            self.owner.on_agent_failed(error)
