"""Inputs of a call: the vendors' own messages, and those below. All in the past tense."""

from dataclasses import dataclass
from typing import TypeAlias

from offhook.call.ending import Slug
from offhook.call.handoff_actions import HandoffAction
from offhook.call.requests import CallRequest
from offhook.call.resumed import ResumedCall
from offhook.deepgram import messages as deepgram
from offhook.deepgram.changes import Change
from offhook.events.types import (
    CallReleased,
    FunctionOutcome,
    HandoffOutcome,
    Leg,
    SpareFailure,
)
from offhook.twilio import messages as twilio


@dataclass(frozen=True, slots=True)
class CallAnnounced:
    """Our signed webhook was asked for TwiML. `announcement_ms`: milliseconds it speaks first."""

    announcement_ms: int = 0


@dataclass(frozen=True, slots=True)
class ProcessDied:
    """The process that had the call has died. Comes before anything else, if at all.

    `unrepeatable` are names of functions of the agent that must not run twice. `action` is what the
    stream was left for, and `has_begun` whether Twilio was given it; None: the caller was on a
    stream, or waited for one. `epoch` and `node` are those of the new owner, in a fleet.
    """

    call: ResumedCall
    changes: tuple[Change, ...] = ()
    unrepeatable: frozenset[str] = frozenset()
    action: HandoffAction | None = None
    has_begun: bool = False
    epoch: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class CallerReturning:
    """Twilio asked what comes after a stream that broke off."""


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
    """A leg's socket is gone. `oversized`: we closed it because of a message beyond the limit.

    `code` is the close code of the agent's socket; None: it was cut off.
    """

    leg: Leg
    why: str = ""
    oversized: bool = False
    code: int | None = None


@dataclass(frozen=True, slots=True)
class LateTurn:
    """Deepgram told of a turn of the caller before it knew that the agent's leg was hung up."""

    text: str
    behavior: str = "default"


@dataclass(frozen=True, slots=True)
class SpareWelcomed:
    """Deepgram welcomed the spare leg; `request_id` is Deepgram's."""

    request_id: str = ""


@dataclass(frozen=True, slots=True)
class SpareReady:
    """Deepgram applied the Settings of the spare leg."""


@dataclass(frozen=True, slots=True)
class SpareLost:
    """The spare leg could not be opened, or is gone.

    `code` is Deepgram's Error code or its HTTP status, empty without one.
    """

    why: SpareFailure
    code: str = ""


@dataclass(frozen=True, slots=True)
class LegStalled:
    """A leg's socket takes no more data for now."""

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
    """A function has finished or could not run; `content` is the answer for the agent."""

    id: str
    content: str
    outcome: FunctionOutcome


@dataclass(frozen=True, slots=True)
class ToolBegan:
    """An irreversible function has begun: it may be done at any time from now on."""

    id: str


@dataclass(frozen=True, slots=True)
class ToolFinishedLate:
    """A function that was given up has finished; the agent does not get its `content`."""

    id: str
    content: str
    outcome: FunctionOutcome


@dataclass(frozen=True, slots=True)
class Requested:
    """A request was made of the call from outside; `id` is in the one Reply to it."""

    id: int
    request: CallRequest


@dataclass(frozen=True, slots=True)
class RequestCancelled:
    """A request was cancelled: its maker no longer waits for the reply."""

    id: int


@dataclass(frozen=True, slots=True)
class OperatorLost:
    """The socket of the operator who speaks with the caller is gone."""


@dataclass(frozen=True, slots=True)
class HandoffBegun:
    """Twilio was given the action for which the stream was left, and performs it."""


@dataclass(frozen=True, slots=True)
class HandoffDone:
    """Twilio reported the outcome of the action for which the stream was left."""

    outcome: HandoffOutcome


@dataclass(frozen=True, slots=True)
class CallOver:
    """A webhook reported that Twilio has ended the call or has left the stream."""


@dataclass(frozen=True, slots=True)
class NobodyReached:
    """A call that we placed reached no person, and ends. `detail` is Twilio's reason."""

    how: Slug
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ServerStopped:
    """The server was told to stop now, without waiting for its calls."""


@dataclass(frozen=True, slots=True)
class Released:
    """The call is another process's from now on; `event` says why, and is the last one here."""

    event: CallReleased


@dataclass(frozen=True, slots=True)
class CallBroke:
    """A fault in Offhook, caught where the call is driven."""

    what: str


Input: TypeAlias = (
    twilio.FromTwilio
    | twilio.UnknownTwilioMessage
    | deepgram.ServerMessage
    | deepgram.UnknownAgentMessage
    | CallAnnounced
    | ProcessDied
    | CallerReturning
    | AgentLegRefused
    | AgentLegUnreachable
    | LegLost
    | LateTurn
    | SpareWelcomed
    | SpareReady
    | SpareLost
    | LegStalled
    | LegRecovered
    | GarbageReceived
    | ToolBegan
    | ToolFinished
    | Requested
    | RequestCancelled
    | OperatorLost
    | HandoffBegun
    | HandoffDone
    | CallOver
    | NobodyReached
    | ServerStopped
    | Released
    | CallBroke
)
"""Inputs of `Call.receive`. The first `connected` and audio do not come this way."""
