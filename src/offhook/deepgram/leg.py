"""The agent's leg: one socket to Deepgram's Voice Agent, from dialling to hanging up."""

from collections import deque
from collections.abc import Callable
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

OUTBOX_BYTES: Final = 2000 * BYTES_PER_MS
"""Of caller audio that waits while Deepgram's socket is full: 2 s; beyond, the oldest goes."""


class PendingDial(Protocol):
    """A dial on its way."""

    def cancel(self) -> object:
        """Call it off; nothing is reported after that."""


Dial: TypeAlias = Callable[
    [Receiver, Callable[[UpgradeRefusedError | UnreachableError], None]], PendingDial
]
"""Opens a socket for a receiver, or reports why that failed; returns before either."""


class AgentLegOwner(Protocol):
    """What an agent's leg tells its session."""

    def on_agent_audio(self, audio: bytes) -> None:
        """A piece of what the agent says, of any length."""

    def on_agent_message(
        self, message: messages.ServerMessage | messages.UnknownAgentMessage
    ) -> None:
        """Anything else that Deepgram said."""

    def on_agent_garbage(self, what: str) -> None:
        """Something that breaks the protocol; `what` holds none of its content."""

    def on_agent_writable(self, writable: bool) -> None:
        """The socket is full (False) or takes data again (True)."""

    def on_agent_open(self) -> None:
        """The socket is open."""

    def on_agent_failed(self, error: UpgradeRefusedError | UnreachableError) -> None:
        """The socket could not be opened."""

    def on_agent_lost(self, why: str, *, ours: bool) -> None:
        """The socket is gone, unasked. `ours`: because of a fault in our own program."""

    def on_agent_dropped(self, size: int) -> None:
        """That many bytes of caller audio had waited too long."""


class AgentLeg:
    """Reads Deepgram's messages and writes ours: a wire.Receiver."""

    def __init__(self, owner: AgentLegOwner, dial: Dial) -> None:
        self._owner = owner
        self._channel: Channel | None = None
        self._hung_up = False
        self._writable = True
        self._outbox: deque[bytes] = deque()
        self._outbox_size = 0
        self._dialling = dial(self, self._on_failed)

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
        while self._outbox_size > OUTBOX_BYTES:
            dropped = len(self._outbox.popleft())
            self._outbox_size -= dropped
            self._owner.on_agent_dropped(dropped)

    def send(self, text: bytes) -> None:
        """Send a message."""
        if self._channel is not None:
            self._channel.send_text(text)

    def hang_up(self) -> None:
        """Close the socket, or call off the dial. Deepgram bills by connection time."""
        self._hung_up = True
        if self._channel is None:
            self._dialling.cancel()
        else:
            self._channel.close()

    # --- from Deepgram ---

    def on_open(self, socket: Channel) -> None:
        """The upgrade is done; Deepgram speaks first."""
        if self._hung_up:
            socket.close()
        else:
            self._owner.on_agent_open()
        self._channel = socket

    def on_text(self, text: bytes) -> None:
        """One message."""
        if self._hung_up:
            return
        try:
            message = messages.read(text)
        except messages.MalformedAgentMessageError as bad:
            self._owner.on_agent_garbage(str(bad))
            return
        self._owner.on_agent_message(message)

    def on_binary(self, data: bytes) -> None:
        """A piece of the agent's speech."""
        if not self._hung_up:
            self._owner.on_agent_audio(data)

    def on_writable(self, writable: bool) -> None:
        """Hold audio back, or send what was held back, in one piece."""
        self._writable = writable
        if writable and self._outbox and self._channel is not None:
            held = b"".join(self._outbox)
            self._outbox.clear()
            self._outbox_size = 0
            self._channel.send_binary(held)
        # It may have filled up again at once, which has been told already.
        if self._writable == writable and not self._hung_up:
            self._owner.on_agent_writable(writable)

    def on_close(self, closed: Closed) -> None:
        """The socket is gone."""
        self._channel = None
        if not self._hung_up:
            self._hung_up = True
            code = f"close code {closed.received}" if closed.received else "cut off"
            self._owner.on_agent_lost(closed.reason or code, ours=closed.sent == INTERNAL_ERROR)

    def _on_failed(self, error: UpgradeRefusedError | UnreachableError) -> None:
        if not self._hung_up:
            self._owner.on_agent_failed(error)
