"""What the two legs of a session tell, as inputs of its call."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from offhook.audio import milliseconds
from offhook.call import inputs
from offhook.deepgram import messages as deepgram
from offhook.events.types import AudioDropped, Event, Leg
from offhook.twilio import messages as twilio

MESSAGES_MAX: Final = 1000
"""Messages of Deepgram's within MESSAGES_WINDOW_S; each further one breaks the protocol."""
MESSAGES_WINDOW_S: Final = 10.0


class LegInputs(ABC):
    """Base of Session: the methods that its legs call, but for audio and the agent's socket.

    A base class and not a part of the session, since the legs call the session itself: between
    them and the path of the audio there is nothing.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._messages = 0
        self._messages_since = now()

    @abstractmethod
    def receive(self, message: inputs.Input) -> None:
        """Tell the call what happened."""

    @abstractmethod
    def note(self, event: Event) -> None:
        """Publish an event."""

    def on_caller_message(self, message: twilio.FromTwilio | twilio.UnknownTwilioMessage) -> None:
        """Tell the call what Twilio said."""
        self.receive(message)

    def on_agent_message(
        self, message: deepgram.ServerMessage | deepgram.UnknownAgentMessage
    ) -> None:
        """Tell the call what Deepgram said, or that it floods us."""
        now = self._now()
        if now - self._messages_since > MESSAGES_WINDOW_S:
            self._messages, self._messages_since = 0, now
        self._messages += 1
        if self._messages > MESSAGES_MAX:
            self.on_agent_garbage("too many messages")
        else:
            self.receive(message)

    def on_caller_garbage(self, what: str) -> None:
        """Tell the call that Twilio's socket broke its protocol."""
        self.receive(inputs.GarbageReceived("caller", what))

    def on_agent_garbage(self, what: str) -> None:
        """Tell the call that Deepgram's socket broke its protocol."""
        self.receive(inputs.GarbageReceived("agent", what))

    def on_caller_writable(self, writable: bool) -> None:
        """Tell the call that Twilio's socket is full, or takes data again."""
        self._on_writable("caller", writable)

    def on_agent_writable(self, writable: bool) -> None:
        """Tell the call that Deepgram's socket is full, or takes data again."""
        self._on_writable("agent", writable)

    def _on_writable(self, leg: Leg, writable: bool) -> None:
        self.receive(inputs.LegRecovered(leg) if writable else inputs.LegStalled(leg))

    def on_caller_dropped(self, size: int) -> None:
        """Note agent audio that found no room."""
        self.note(AudioDropped("caller", milliseconds(size), "full"))

    def on_agent_dropped(self, size: int) -> None:
        """Note caller audio that had waited too long."""
        self.note(AudioDropped("agent", milliseconds(size), "full"))

    def on_caller_lost(self, why: str, *, oversized: bool, ours: bool) -> None:
        """Tell the call that Twilio's socket is gone."""
        if ours:
            self.receive(inputs.CallBroke(why))
        self.receive(inputs.LegLost("caller", why, oversized))
