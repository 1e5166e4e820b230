"""Commands of a call, in the imperative; the session performs them at once and in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from offhook.call.ending import Ending
from offhook.call.handoff_actions import HandoffAction
from offhook.deepgram.changes import Change
from offhook.deepgram.messages import ClientMessage, History
from offhook.events.types import Event, HandBackCause

Piece: TypeAlias = tuple[bytes, str | None]
"""Audio to play to the caller (perhaps none), and the name of the mark after it (perhaps none)."""


@dataclass(frozen=True, slots=True)
class DialAgent:
    """Open a socket to Deepgram, at the address of that `place` in the list of addresses."""

    place: int = 0


@dataclass(frozen=True, slots=True)
class HangUpAgent:
    """Close the agent's leg, or stop dialling it; the call itself goes on."""


@dataclass(frozen=True, slots=True)
class SendSettings:
    """Send the agent's Settings, in answer to Deepgram's Welcome.

    When a conversation goes on, they have no `greeting`, and carry what was said as `history` and
    the agent as `changes` left it.
    """

    greeting: bool = True
    history: tuple[History, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class DialSpare:
    """Open a second socket to Deepgram, at that `place`, beside the agent's leg."""

    place: int = 0


@dataclass(frozen=True, slots=True)
class SettleSpare:
    """Send the spare leg Settings without a greeting, with what was said and what was changed."""

    history: tuple[History, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class UseSpare:
    """Close the agent's leg, if it is open, and make the spare leg the agent's."""


@dataclass(frozen=True, slots=True)
class HangUpSpare:
    """Close the spare leg, or stop dialling it."""


@dataclass(frozen=True, slots=True)
class TellAgent:
    """Send Deepgram a message."""

    message: ClientMessage


@dataclass(frozen=True, slots=True)
class SendAudio:
    """Send Deepgram audio that is not a frame just heard: held back, or silence over a gap."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Play:
    """Send Twilio audio that was held back, or the rest of an utterance."""

    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run a function of the user's; `arguments` is JSON as the model wrote it, and may be none."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CancelTool:
    """Stop a running function, whose answer is no longer wanted."""

    id: str
    why: Literal["cancelled", "too_late", "call_over"]


@dataclass(frozen=True, slots=True)
class ClearCaller:
    """Have Twilio drop audio that it has not played; first drop audio that waits for its socket."""


@dataclass(frozen=True, slots=True)
class LeaveStream:
    """Close the caller's stream, and have Twilio go on with the action."""

    action: HandoffAction


@dataclass(frozen=True, slots=True)
class AwaitCaller:
    """Give up the caller's stream, which broke off, and have Twilio open another one."""


@dataclass(frozen=True, slots=True)
class ChangeAgent:
    """Use the Settings and functions of another agent from now on."""

    agent: str


@dataclass(frozen=True, slots=True)
class KeepChanges:
    """Keep all changes that were made of the agent, for a process that must go on with the call."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class TransferCaller:
    """Have the caller transferred to a destination of the agent file, by the rules of a tool.

    The call is then asked to leave its stream, if the transfer needs that.
    """

    destination: str


@dataclass(frozen=True, slots=True)
class MaskCaller:
    """Start or stop keeping the caller's audio and keys out of recordings and captures."""

    on: bool


@dataclass(frozen=True, slots=True)
class ReleaseOperator:
    """Tell the operator who spoke with the caller that they no longer do, and `why`."""

    why: HandBackCause


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a request from outside: whether it was `done`, and what happened."""

    id: int
    done: bool
    what: str


@dataclass(frozen=True, slots=True)
class Note:
    """Publish an event to the subscribers."""

    event: Event


@dataclass(frozen=True, slots=True)
class End:
    """Close both legs. The last command of a call, given once."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class LetGo:
    """Close both legs of a call that another process goes on with: the last command, given once."""


Command: TypeAlias = (
    DialAgent
    | HangUpAgent
    | SendSettings
    | DialSpare
    | SettleSpare
    | UseSpare
    | HangUpSpare
    | TellAgent
    | SendAudio
    | Play
    | RunTool
    | CancelTool
    | ClearCaller
    | LeaveStream
    | AwaitCaller
    | ChangeAgent
    | KeepChanges
    | TransferCaller
    | MaskCaller
    | ReleaseOperator
    | Reply
    | Note
    | End
    | LetGo
)
