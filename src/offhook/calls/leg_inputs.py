"""Conversion of the events of a session's two legs into inputs of its call."""

from collections.abc import Callable
from typing import Final

from offhook.audio import milliseconds
from offhook.call import inputs
from offhook.call.call import Call
from offhook.call.commands import Command
from offhook.calls.decisions import CallDecisions
from offhook.calls.pause_gate import PauseGate
from offhook.clock import Clock
from offhook.deepgram import messages as deepgram
from offhook.events.types import AudioDropped, Leg
from offhook.twilio import messages as twilio

MESSAGES_MAX: Final = 1000
"""Messages from Deepgram within MESSAGES_WINDOW_S; each further one breaks the protocol."""
MESSAGES_WINDOW_S: Final = 10.0


class LegInputs(CallDecisions):
    """Base of Session with the methods that its legs call, except for audio and the agent's socket.

    It is a base class for the reason that CallDecisions gives.
    """

    __slots__ = (
        "_messages",
        "_messages_since",
    )

    def __init__(
        self,
        call_sid: str,
        clock: Clock,
        gate: PauseGate | None,
        make: Callable[[Callable[[Command], None]], Call],
    ) -> None:
        super().__init__(call_sid, clock, gate, make)
        self._messages = 0
        self._messages_since = clock.now()

    def on_caller_message(self, message: twilio.FromTwilio | twilio.UnknownTwilioMessage) -> None:
        """Pass a message from Twilio to the call."""
        self.receive(message)

    def on_agent_message(
        self, message: deepgram.ServerMessage | deepgram.UnknownAgentMessage
    ) -> None:
        """Pass a message from Deepgram to the call, or report a flood of them."""
        now = self._now()
        if now - self._messages_since > MESSAGES_WINDOW_S:
            self._messages, self._messages_since = 0, now
        self._messages += 1
        if self._messages > MESSAGES_MAX:
            self.on_agent_garbage("too many messages")
        else:
            self.receive(message)

    def on_late_turn(self, turn: deepgram.ConversationText) -> None:
        """Pass on what the caller said to a leg that was hung up, unless the call is over."""
        if not self._is_over:
            self.receive(inputs.LateTurn(turn.content, turn.behavior))

    def on_caller_garbage(self, what: str) -> None:
        """Report that Twilio's socket broke its protocol."""
        self.receive(inputs.GarbageReceived("caller", what))

    def on_agent_garbage(self, what: str) -> None:
        """Report that Deepgram's socket broke its protocol."""
        self.receive(inputs.GarbageReceived("agent", what))

    def on_caller_writable(self, writable: bool) -> None:
        """Report that Twilio's socket is full, or takes data again."""
        self._on_writable("caller", writable)

    def on_agent_writable(self, writable: bool) -> None:
        """Report that Deepgram's socket is full, or takes data again."""
        self._on_writable("agent", writable)

    def _on_writable(self, leg: Leg, writable: bool) -> None:
        self.receive(inputs.LegRecovered(leg) if writable else inputs.LegStalled(leg))

    def on_caller_dropped(self, size: int) -> None:
        """Note agent audio that was dropped for lack of room."""
        self.note(AudioDropped("caller", milliseconds(size), "full"))

    def on_agent_dropped(self, size: int) -> None:
        """Note caller audio that was dropped because it had waited too long."""
        self.note(AudioDropped("agent", milliseconds(size), "full"))

    def on_caller_lost(self, why: str, *, oversized: bool, ours: bool) -> None:
        """Report that Twilio's socket is gone."""
        if ours:
            self.receive(inputs.CallBroke(why))
        self.receive(inputs.LegLost("caller", why, oversized))
