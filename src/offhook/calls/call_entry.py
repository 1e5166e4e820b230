"""Entry of a call in the registry, kept while the call lasts and for a while afterwards."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from offhook.call import inputs
from offhook.call.ending import Ending
from offhook.call.inputs import Input
from offhook.config import Agent
from offhook.deepgram.changes import Change
from offhook.events.types import CameBy

if TYPE_CHECKING:
    from offhook.calls.control import CallControl
    from offhook.calls.handoff import StreamHandoff
    from offhook.calls.session import Session

NO_VALUES: Final[Mapping[str, str]] = MappingProxyType({})

CHARACTER_MS: Final = 65
"""Milliseconds that a voice takes for a character, roughly."""

STREAM_DUE_S: Final = 15.0
"""Seconds in which the stream of a call may still come; the call counts as live until then."""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """An outbound call whose CallSid is not known yet. `named` is called once with the CallSid.

    `token` is in the TwiML that Twilio was given; the stream that brings it belongs to this
    call.
    """

    token: str = field(repr=False)
    agent: Agent
    account_sid: str
    from_: str
    to: str
    variables: Mapping[str, str]
    rings_s: float
    """Seconds that the call may ring."""

    named: Callable[[str], None]
    naming: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)
    """Held while the fleet is told the CallSid, which a report and an answer may bring at once."""


@dataclass(frozen=True, slots=True)
class CalledPerson:
    """A person who is called for a caller, or is to meet them: a warm transfer's other leg."""

    id: str
    """Name of the person in Twilio's requests about the leg."""

    leg: str
    """CallSid of the leg."""


class CallEntry:
    """Entry of one call in the registry. Little of it is kept after the call's end.

    Attributes:
        by: Way in which the call came.
        session: The live session; None when the call is over.
        control: Control of the call, for tools, keypad, API and commands.
        handoff: Handoffs, which Twilio performs while the stream is left.
        agent: Current agent of the call, filled with the call's variables.
        token: Token that the call's stream must have; None for a TwiML Bin's call.
        our_number: Our own number in this call.
        values: Values of `{{name}}`, while the call lasts.
        origin: Our https address as Twilio reaches it; empty as long as it is not known.
        expected_until: Time in seconds until which the call counts as live without a stream.
        is_after_due: True while Twilio has still to ask what comes after an opened stream.
        is_interrupted: True while the caller has no stream because it broke off, with its process
            or alone.
        changes: Changes that were made of the agent in this call.
        person: Person who is called for the caller, or is to meet them; None: nobody is, or the
            leg is not known yet.
        keep: Keeps the call's facts as they are now, for a process that must go on with the call.
        over_at: Time in seconds at which the call ended; None while it lasts.
        answered: Set when the agent's leg is up, or the call is over without it.
    """

    __slots__ = (
        "account_sid",
        "agent",
        "answered",
        "began",
        "by",
        "call_sid",
        "changes",
        "control",
        "ending",
        "expected_until",
        "handoff",
        "is_after_due",
        "is_interrupted",
        "keep",
        "origin",
        "our_number",
        "over_at",
        "person",
        "session",
        "token",
        "values",
        "webhook_path",
    )

    session: "Session | None"
    control: "CallControl"
    handoff: "StreamHandoff"

    def __init__(
        self,
        call_sid: str,
        agent: Agent,
        account_sid: str,
        token: str | None,
        began: float,
        by: CameBy,
        webhook_path: str,
    ) -> None:
        self.call_sid: Final = call_sid
        self.webhook_path: Final = webhook_path
        self.agent = agent
        self.account_sid: Final = account_sid
        self.token = token
        self.by: Final = by
        self.began: Final = began
        self.session = None
        self.ending: Ending | None = None
        self.our_number = ""
        self.values = NO_VALUES
        self.origin = ""
        self.expected_until = 0.0
        self.is_after_due = False
        self.is_interrupted = False
        self.changes: tuple[Change, ...] = ()
        self.person: CalledPerson | None = None
        self.keep: Callable[[], None] = nothing
        self.over_at: float | None = None
        self.answered: Final = asyncio.Event()

    def expect_stream(self, now: float) -> None:
        """Count the call as live without a stream while its announcement is spoken, and after."""
        self.expected_until = now + announcement_ms(self.agent) / 1000 + STREAM_DUE_S

    def dial_ahead(self) -> None:
        """Have the agent dialled before the stream comes, if there is time for that."""
        self.receive(inputs.CallAnnounced(announcement_ms(self.agent)))

    def note_origin(self, origin: str) -> None:
        """Note at which https address Twilio reaches us for this call."""
        if origin != self.origin:
            self.origin = origin
            self.keep()

    @property
    def webhooks(self) -> str:
        """Our https address and path, beneath which Twilio reaches us for this call."""
        return self.origin + self.webhook_path

    @property
    def by_webhook(self) -> bool:
        """True if Twilio asks /twilio/after by itself when the stream is over."""
        return self.by in ("webhook", "api")

    @property
    def is_telephone(self) -> bool:
        """True if Twilio has the call; False for a call from a browser."""
        return self.by != "browser"

    @property
    def has_stream(self) -> bool:
        """True while a verified stream is there."""
        return self.session is not None and self.session.has_stream

    @property
    def has_agent(self) -> bool:
        """True while the agent's leg is up, or being dialled."""
        return self.session is not None and self.session.has_agent

    def receive(self, message: Input) -> None:
        """Pass on an input from outside the call's two sockets; ignore it once the call is over."""
        if self.session is not None:
            self.session.receive(message)


def announcement_ms(agent: Agent) -> int:
    """Return about how many milliseconds an agent's announcement takes, before the stream."""
    spoken = agent.announcement.say if agent.announcement is not None else ""
    return len(spoken) * CHARACTER_MS


def nothing() -> None:
    """Keep nothing: there is no journal, or the call is over."""
