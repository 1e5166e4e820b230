"""What a call is told: the vendors' own messages, and those below. All in the past tense."""

from dataclasses import dataclass
from typing import TypeAlias

from offhook.call.ending import Slug
from offhook.call.requests import CallRequest
from offhook.deepgram import messages as deepgram
from offhook.events.types import FunctionOutcome, HandoffOutcome, Leg
from offhook.twilio import messages as twilio


@dataclass(frozen=True, slots=True)
class CallAnnounced:
    """Our signed webhook was asked for TwiML. `announcement_ms`: how long that speaks first."""

    announcement_ms: int = 0


@dataclass(frozen=True, slots=True)
class AgentLegRefused:
    """Deepgram answered the upgrade with an HTTP status."""

    status: int


@dataclass(frozen=True, slots=True)
class AgentLegUnreachable:
    """No socket to Deepgram could be opened."""

    why: str


@dataclass(frozen=True, slots=True)
class LegLost:
    """A leg's socket is gone. `oversized`: we broke it off because of a huge message."""

    leg: Leg
    why: str = ""
    oversized: bool = False


@dataclass(frozen=True, slots=True)
class LegStalled:
    """A leg's socket takes nothing more for the moment."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class LegRecovered:
    """A stalled leg takes data again."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class GarbageReceived:
    """A leg sent something that breaks its protocol. `what` holds none of its content."""

    leg: Leg
    what: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A function is done, or could not be run; `content` is what the agent is to be told."""

    id: str
    content: str
    outcome: FunctionOutcome


@dataclass(frozen=True, slots=True)
class ToolBegan:
    """A function that cannot be taken back has begun: from now on it may be done at any time."""

    id: str


@dataclass(frozen=True, slots=True)
class ToolFinishedLate:
    """A function that was given up has run to its end; the agent is not told its `content`."""

    id: str
    content: str
    outcome: FunctionOutcome


@dataclass(frozen=True, slots=True)
class Requested:
    """Something was asked of the call from outside; `id` is in the one Reply to it."""

    id: int
    request: CallRequest


@dataclass(frozen=True, slots=True)
class RequestCancelled:
    """Whoever made that request does not wait for it any more."""

    id: int


@dataclass(frozen=True, slots=True)
class HandoffBegun:
    """Twilio was told what the stream was left for, and does it."""


@dataclass(frozen=True, slots=True)
class HandoffDone:
    """Twilio told what became of the dialling for which the stream was left."""

    outcome: HandoffOutcome


@dataclass(frozen=True, slots=True)
class CallOver:
    """A webhook told that Twilio has ended the call, or has left the stream behind."""


@dataclass(frozen=True, slots=True)
class NobodyReached:
    """A call that we placed reached no person, and ends so. `detail` is what Twilio gave."""

    how: Slug
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ServerStopped:
    """The server was told to stop now, not to wait for its calls."""


@dataclass(frozen=True, slots=True)
class CallBroke:
    """A fault in our own program, caught at the call's edge."""

    what: str


Input: TypeAlias = (
    twilio.FromTwilio
    | twilio.UnknownTwilioMessage
    | deepgram.ServerMessage
    | deepgram.UnknownAgentMessage
    | CallAnnounced
    | AgentLegRefused
    | AgentLegUnreachable
    | LegLost
    | LegStalled
    | LegRecovered
    | GarbageReceived
    | ToolBegan
    | ToolFinished
    | Requested
    | RequestCancelled
    | HandoffBegun
    | HandoffDone
    | CallOver
    | NobodyReached
    | ServerStopped
    | CallBroke
)
"""All that `Call.receive` takes. The first `connected`, and audio, do not come this way."""
