"""What the server knows of one call, while it lasts and for a while afterwards."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from offhook.call.ending import Ending
from offhook.call.inputs import Input
from offhook.config import Agent

if TYPE_CHECKING:
    from offhook.calls.control import CallControl
    from offhook.calls.handoff import StreamHandoff
    from offhook.calls.session import Session

NO_VALUES: Final[Mapping[str, str]] = MappingProxyType({})

STREAM_DUE_S: Final = 15.0
"""Seconds for which a call without a stream counts as one whose stream may still come."""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that we place, before its CallSid is known. `named` is called with that, once.

    `token` is in the TwiML that Twilio was given: the stream that brings it is this call's.
    """

    token: str = field(repr=False)
    agent: Agent
    account_sid: str
    from_: str
    to: str
    variables: Mapping[str, str]
    rings_s: float
    """How long it may ring, in seconds."""

    named: Callable[[str], None]


class CallEntry:
    """One call of the registry. Of a call that is over little is kept: a thousand are remembered.

    Attributes:
        session: The live session; None when the call is over.
        control: What tools, keypad, API and commands act on the call through.
        handoff: What Twilio does for the call while its stream is left.
        agent: The agent that has the call, filled with the call's variables.
        token: What the call's stream must bring; None for a TwiML Bin's call.
        by_webhook: Whether Twilio asks /twilio/after by itself when the stream is over.
        our_number: Our own number in this call.
        values: What fills `{{name}}`, while the call lasts.
        origin: Our https address as Twilio reaches it; empty as long as it is not known.
        expected_until: Until when the call counts as live without a stream.
        is_after_due: Whether Twilio has still to ask what comes after a stream that was opened.
        over_at: When the call ended; None while it lasts.
        answered: Set when the agent's leg is up, or the call is over without it.
    """

    __slots__ = (
        "account_sid",
        "agent",
        "answered",
        "began",
        "by_webhook",
        "call_sid",
        "control",
        "ending",
        "expected_until",
        "handoff",
        "is_after_due",
        "origin",
        "our_number",
        "over_at",
        "session",
        "token",
        "values",
    )

    session: "Session | None"
    control: "CallControl"
    handoff: "StreamHandoff"

    def __init__(
        self, call_sid: str, agent: Agent, account_sid: str, token: str | None, began: float
    ) -> None:
        self.call_sid: Final = call_sid
        self.agent = agent
        self.account_sid: Final = account_sid
        self.token = token
        self.began: Final = began
        self.by_webhook: Final = token is not None
        self.session = None
        self.ending: Ending | None = None
        self.our_number = ""
        self.values = NO_VALUES
        self.origin = ""
        self.expected_until = 0.0
        self.is_after_due = False
        self.over_at: float | None = None
        self.answered: Final = asyncio.Event()

    @property
    def has_stream(self) -> bool:
        """Whether a verified stream has come, and is there."""
        return self.session is not None and self.session.has_stream

    def receive(self, message: Input) -> None:
        """Tell the call what happened outside its two sockets; one that is over hears nothing."""
        if self.session is not None:
            self.session.receive(message)
