"""Messages between processes: one JSON object a line, `NumberedOrder` and its `NumberedReply`.

Both ends are trusted: the socket is in a folder that only their user can enter, and a link proves
in each line who has sent it (node_credential.py). An end may be of
another version, so unknown fields are ignored and an unknown request is refused by itself.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from offhook.calls.forwarded import ForwardedWebhook
from offhook.errors import UserError
from offhook.link.agent_records import TrialRequest
from offhook.link.streams import TOKEN_S
from offhook.outbound.errors import TryLaterError, UncertainError
from offhook.outbound.requests import OutboundRequest
from offhook.tools.declare import ToolError

LINE_MAX: Final = 4 * 1024 * 1024
"""Bytes of a line. The longest is an agent with its file, of 2 MB at most (agent_directory.py)."""


class PerformOperation(msgspec.Struct, tag="perform", frozen=True):
    """Request for an operation of calls/operations.py on a call."""

    call_sid: str
    operation: str
    arguments: str
    """JSON of the arguments. It is a text in ASCII, because arguments may hold half a character,
    which UTF-8 cannot."""
    by: str
    """Name of the person who asks."""
    epoch: int = 0
    """Epoch of a fleet in which the process must have the call, and be sure of it; 0: any."""

    @classmethod
    def of(
        cls, call_sid: str, operation: str, arguments: Mapping[str, Any], by: str, epoch: int = 0
    ) -> "PerformOperation":
        """Return the request of a person for an operation with those arguments."""
        return cls(call_sid, operation, json.dumps(arguments), by, epoch)


class PlaceCall(msgspec.Struct, tag="place", frozen=True):
    """Request for an outbound call."""

    request: OutboundRequest


class ReadCallState(msgspec.Struct, tag="state", frozen=True):
    """Request for the state of a placed call: once its status is not `seen`, or after `wait_s`."""

    call_sid: str
    seen: str | None
    wait_s: float


class ReadMetrics(msgspec.Struct, tag="metrics", frozen=True):
    """Request for the process's metrics, in Prometheus' text format."""


class ReadProcessState(msgspec.Struct, tag="process", frozen=True):
    """Request for the state of the process, and for whether it knows a call."""

    call_sid: str = ""


class ReloadAgents(msgspec.Struct, tag="reload", frozen=True):
    """Request to read the agent files again."""


class CheckFiles(msgspec.Struct, tag="check", frozen=True):
    """Request to check the configuration's files as they are now, which changes nothing."""


class ReadAgents(msgspec.Struct, tag="agents", frozen=True):
    """Request for the agents that new calls get."""


class ReadAgent(msgspec.Struct, tag="agent", frozen=True):
    """Request for all of one agent."""

    name: str


class TryFunction(msgspec.Struct, tag="try", frozen=True):
    """Request to run a function of an agent without a call."""

    request: TrialRequest


class OpenPhoneCall(msgspec.Struct, tag="phone", frozen=True):
    """Request for a call from a browser, and for the stream that is its caller's leg."""

    agent: str
    """Name of the agent that answers; empty for that of the default line."""
    by: str
    """Name of the user who calls."""
    variables: dict[str, str] = {}


class OpenOperatorStream(msgspec.Struct, tag="operator", frozen=True):
    """Request for a stream to a person who listens to a call, or takes it over."""

    call_sid: str
    operation: str
    """Name of an operation in STREAM_OPERATIONS of calls/operations.py."""
    by: str
    """Name of that person."""


class AnswerWebhook(msgspec.Struct, tag="webhook", frozen=True):
    """Request of another call process to answer a webhook of Twilio's."""

    webhook: ForwardedWebhook


class ReleaseCall(msgspec.Struct, tag="release", frozen=True):
    """Request of another call process to give a call up, which that process goes on with.

    The result is True once everything that was said in the call is kept, and False where there is
    no such call.
    """

    call_sid: str
    to: str | None = None
    """Id of the journal of that process, if it is of this machine."""
    token: str | None = None
    """If given, the call is given up only if this is its token, and no stream has brought it."""

    def __repr__(self) -> str:
        return f"ReleaseCall({self.call_sid!r}, {self.to!r})"


class FenceCall(msgspec.Struct, tag="fence", frozen=True):
    """News that another call process has claimed a call: it ends here without a word."""

    call_sid: str
    epoch: int
    """Number of that ownership."""


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Request for any reply, which shows that the process's event loop runs."""


class Withdraw(msgspec.Struct, tag="withdraw", frozen=True):
    """Withdrawal of the request that has the same number. It has no reply of its own."""


LinkOrder: TypeAlias = (
    PerformOperation
    | PlaceCall
    | ReadCallState
    | ReadMetrics
    | ReadProcessState
    | ReloadAgents
    | CheckFiles
    | ReadAgents
    | ReadAgent
    | TryFunction
    | OpenPhoneCall
    | OpenOperatorStream
    | AnswerWebhook
    | ReleaseCall
    | FenceCall
    | Ping
    | Withdraw
)
"""Everything that an operator's process, or another call process, may request of a call process."""


class NumberedOrder(msgspec.Struct, frozen=True):
    """A numbered request. Its number is unique among the open requests of its connection."""

    number: int
    order: LinkOrder
    until_ms: int | None = None
    """Time by the database's clock, in ms since 1970, after which the request must not begin; None
    on the local socket, which loses or delays nothing."""


class PerformedOperation(msgspec.Struct, frozen=True):
    """Result of PerformOperation.

    `over`: the call has ended, and was known recently. `unknown`: this process has no such call.
    """

    outcome: Literal["done", "over", "unknown"]
    what: str = ""


class OpenedStream(msgspec.Struct, frozen=True):
    """Result of a request that opens a stream: a request with the token may join it once, soon.

    `due_s` are the seconds within which it must. The rest is for a phone: `account_sid` and
    `stream_sid` are for its `start`, and `announcement`, in `language`, is said before.
    """

    call_sid: str
    token: str
    due_s: float = TOKEN_S
    account_sid: str = ""
    stream_sid: str = ""
    announcement: str = ""
    language: str | None = None

    def __repr__(self) -> str:
        return f"OpenedStream({self.call_sid!r})"


class CallProcessState(msgspec.Struct, frozen=True):
    """State of a call process."""

    is_draining: bool
    live: int
    """Number of live calls."""
    knows_call: bool
    """True if the call of the request is live here, or ended recently."""
    failing: dict[str, str] = {}
    """Parts that do not work, each with its state: failing or dead."""
    capacity: int = 0
    """Calls that it carries at most; 0 while it drains."""
    placed: int = 0
    """Number of its calls that it has placed: being created, ringing or going on."""


class LinkError(msgspec.Struct, frozen=True):
    """An error of a request, which `raised` makes again in the other process."""

    kind: Literal["user", "later", "uncertain", "tool"]
    code: str
    what: str
    fix: str
    after_s: float

    @classmethod
    def of(cls, error: UserError | ToolError) -> "LinkError":
        """Return the form in which an error passes the socket."""
        if isinstance(error, ToolError):
            return cls("tool", "", str(error), "", 0.0)
        after_s = error.after_s if isinstance(error, TryLaterError) else 0.0
        kind: Literal["user", "later", "uncertain"] = "user"
        if isinstance(error, TryLaterError):
            kind = "uncertain" if isinstance(error, UncertainError) else "later"
        return cls(kind, error.code, error.what, error.fix, after_s)

    def raised(self) -> UserError | ToolError:
        """Return the error that was raised in the other process."""
        match self.kind:
            case "tool":
                return ToolError(self.what)
            case "user":
                return UserError(self.code, self.what, self.fix)
            case "later":
                return TryLaterError(self.code, self.what, self.fix, self.after_s)
            case "uncertain":
                return UncertainError(self.code, self.what, self.fix, self.after_s)


class NumberedReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """Reply to the request of that number: its result, or its error."""

    number: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: LinkError | None = None


def too_late() -> TryLaterError:
    """Return the error for a request of another node that was to have begun before."""
    return TryLaterError(
        "E-LINK-06",
        "The request reached the node of the call too late, so nothing was done.",
        "Ask again: that node, or the network between the nodes, was stopped for a while.",
        1.0,
    )


def other_version(what: str) -> UserError:
    """Return the error for a message that the other process does not understand."""
    return UserError(
        "E-LINK-03",
        f"The call process and the operator's process do not understand each other: {what}.",
        "Both must be of one version: restart offhook serve.",
    )
