"""Events: everything that Offhook tells about a call, with fields and their units.

The record, the log, metrics, the API and the terminal subscribe; no subscriber can slow or break a
call. The call core hands most of these out as `Note` commands; the session adds
which call it was and when (CallEvent).

Fields whose names end in `_ms` are milliseconds; those named `start_ms` count from the beginning
of the call, as a CallEvent does. Those in PRIVATE are what was said, and phone numbers: no
subscriber may log them unless a setting says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from msgspec import UNSET, UnsetType

Leg: TypeAlias = Literal["caller", "agent"]

Direction: TypeAlias = Literal["inbound", "outbound"]

CameBy: TypeAlias = Literal["webhook", "bin", "api", "browser"]
"""Way in which a call came (CallBegan)."""

InterruptionCause: TypeAlias = Literal["speech", "long_speech", "beyond_echo", "turn"]

SuppressionCause: TypeAlias = Literal["echo", "short", "greeting"]

DELAY_EDGES_MS: Final = (1, 2, 5, 10, 20, 50, 100, 250)
"""Upper edges of the buckets in which delays are counted."""

PRIVATE: Final = frozenset(
    {
        "arguments",
        "content",
        "digit",
        "digits",
        "from_",
        "from_name",
        "intended",
        "note",
        "number",
        "text",
        "to",
        "variables",
    }
)
"""Fields, by name, that hold what was said or pressed in a call, or who called whom."""

OPAQUE: Final = frozenset({"thought_signature"})
"""Fields, by name, that only the call itself needs: no subscriber logs, records or shows them."""


@dataclass(frozen=True, slots=True)
class CallBegan:
    """A call began: the first event of all.

    `by`: `webhook`, Twilio announced it to our webhook; `bin`, a TwiML Bin's stream came; `api`, we
    placed it; `browser`, a user of the console calls, and `from_` is the user's name.

    Numbers are as Twilio gives them, and empty where it gives none; they are private. `variables`
    is a JSON object of texts: what fills `{{name}}` in this call's prompt, greeting and
    announcement. `tier` is that of Deepgram's prices which the agent file names.
    """

    account_sid: str
    agent: str
    tier: str
    direction: Direction
    by: CameBy
    from_: str
    to: str
    variables: str


@dataclass(frozen=True, slots=True)
class LookedUp:
    """The agent's lookup was asked about the call before it was answered: `after_ms` it went on.

    `answered`: its variables are in CallBegan, all but those that `why` counts; `failed`, and
    `why`; `too_late`: no answer in time. Without an answer the agent file's defaults are used.
    """

    outcome: Literal["answered", "failed", "too_late"]
    why: str
    after_ms: int


@dataclass(frozen=True, slots=True)
class CallStarted:
    """Twilio's stream is verified: the caller's leg is up."""


@dataclass(frozen=True, slots=True)
class CallTakenOver:
    """Another process goes on with the call, because the one before has died or gave it up.

    The last event that it knows came `after_ms` earlier: what was said since is lost. CallerBack
    follows when the caller is on a stream again. `epoch` counts the owners of a call in a fleet,
    and `node` names the new one; 0 and empty without a fleet.
    """

    after_ms: int
    epoch: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class CallReleased:
    """The process has the call no more, and the call goes on: no CallEnded comes from here.

    `handed_over`: given up in good order, as the process stops. `fenced`: the process was away, and
    another one has taken the call over; whatever it still knew of the call is dropped. `epoch` is
    its own, by which the directory of a fleet tells owners apart; 0 without a fleet.
    """

    why: Literal["handed_over", "fenced"]
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class AgentConnected:
    """Deepgram applied the Settings: the agent's leg is up.

    `after_ms` since it was dialled; `request_id` is Deepgram's, for its support.
    """

    request_id: str
    after_ms: int


@dataclass(frozen=True, slots=True)
class AgentDisconnected:
    """The agent's socket is closed; it was open for `connected_ms`, for which Deepgram charges."""

    connected_ms: int


AgentLossCause: TypeAlias = Literal[
    "closed",
    "error",
    "refused",
    "unreachable",
    "too_late",
    "stuck",
    "silent",
    "garbage",
    "no_spare",
]


@dataclass(frozen=True, slots=True)
class AgentLost:
    """The agent's leg was lost, or could not be opened, because `why`; another one is dialled.

    `code` is Deepgram's Error code, the close code of its socket or its HTTP status, empty
    without one. `too_late`: the Settings were not applied in time; `stuck`: its socket took no data
    for 10 s; `silent`: it owed an answer, or the rest of one, and gave none
    (`limits.answer_seconds`); `no_spare`: Offhook closed it before its session's end, as Deepgram
    had no room for a second one beside it. A leg after which none is dialled ends the call: see
    CallEnded.
    """

    why: AgentLossCause
    code: str


@dataclass(frozen=True, slots=True)
class AgentResumed:
    """The conversation goes on with another leg, after the agent's was lost in mid-call.

    It is the one dialled at the `attempts`-th attempt, and was ready `after_ms` the loss; a spare
    leg that was dialled before the loss is the first attempt. `held_ms` of the caller's audio from
    in between are passed on to it.
    """

    attempts: int
    after_ms: int
    held_ms: int


@dataclass(frozen=True, slots=True)
class AgentRolledOver:
    """A spare leg took over from the agent's, before Deepgram ended that one's session.

    It was dialled `after_ms` ago. The last `repeated_ms` of the caller's audio were played to it
    again: the leg before may have heard the beginning of a word in them.
    """

    after_ms: int
    repeated_ms: int


SpareFailure: TypeAlias = Literal["refused", "unreachable", "error", "closed", "too_late"]


@dataclass(frozen=True, slots=True)
class SpareAgentFailed:
    """A spare leg could not take over, because `why`: the call goes on as it was.

    `code` is Deepgram's Error code or its HTTP status, empty without one. `too_late`: its
    Settings were not applied in time. Another one is dialled later.
    """

    why: SpareFailure
    code: str


@dataclass(frozen=True, slots=True)
class CallerSpeechBegan:
    """The caller began to speak, as Deepgram takes it. CallerSaid follows, if words were heard."""


@dataclass(frozen=True, slots=True)
class CallerSaid:
    """A confirmed turn of the caller, which ended by now.

    `start_ms` is when Deepgram said that the caller speaks; None when it did not. `behavior` is as
    in AgentAnnounced.
    """

    text: str
    start_ms: int | None = None
    behavior: str = "default"


@dataclass(frozen=True, slots=True)
class AgentAnnounced:
    """The agent is about to say `text`, or is saying it: a piece of one utterance.

    `utterance` counts the call's utterances of the agent from 1. Each ends with one AgentSaid, in
    their order. Should the process die before, this and AgentHeard are all that is known of it.
    `behavior` is Deepgram's `conversational_behavior`: `default`, or with Think Live `backchannel`,
    `presence_check`, `filler` or what else it says.
    """

    utterance: int
    text: str
    behavior: str = "default"


@dataclass(frozen=True, slots=True)
class AgentHeard:
    """The caller has heard `heard_ms` of the utterance so far, by Twilio's marks.

    `utterance` is as in AgentAnnounced; `start_ms` is when its first sound was played. Published
    about once for each second of speech.
    """

    utterance: int
    heard_ms: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class AgentSaid:
    """An utterance of the agent is over, or was cut.

    `text` is what was heard; when `interrupted` it is an estimate from `heard_ms`, since Deepgram
    gives no word timings. `intended` is all that the agent meant to say. `start_ms` is when its
    first sound was played; None when nothing of it was.
    """

    text: str
    intended: str
    heard_ms: int
    interrupted: bool
    start_ms: int | None = None


@dataclass(frozen=True, slots=True)
class UtteranceRedacted:
    """Personal data was taken out of what was said on this leg: its audio becomes silent there too.

    From `start_ms` to `end_ms` of the call; published when `records.redact.audio` is on, after the
    event with the text.
    """

    leg: Leg
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The agent answered a turn.

    Both times count from the caller's confirmed text, in ms: to the first byte of the answer's
    audio, and to the moment at which Twilio had played the first 20 ms of it.
    """

    first_byte_ms: int
    first_played_ms: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A barge-in: the caller spoke over the agent. `heard_ms` of that utterance had been heard.

    `cause`: `speech`, the caller began to speak; `long_speech`, they went on for the time that the
    agent file sets; `beyond_echo`, the sound was no echo of the agent, or no longer only one;
    `turn`, a sound that was held as too short was words.
    """

    heard_ms: int
    cause: InterruptionCause = "speech"


@dataclass(frozen=True, slots=True)
class InterruptionSuppressed:
    """Deepgram took a sound for the caller's speech, and the agent was not cut.

    `cause`: `echo`, it was the agent's own speech, which came back after `lag_ms`; `short`, it was
    over too soon; `greeting`, the greeting is protected. The sound had gone on for `sound_ms`,
    which is not measured for a greeting alone. An Interrupted may follow, if it goes on.
    """

    cause: SuppressionCause
    sound_ms: int | None
    lag_ms: int | None


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The caller pressed a key. The digit may be part of a secret: treat it as text."""

    digit: str


@dataclass(frozen=True, slots=True)
class KeysEntered:
    """The last keys make an entry, which the agent gets. As private as KeyPressed.

    Not published for an entry that the agent file maps to an action.
    """

    digits: str


@dataclass(frozen=True, slots=True)
class SecretEntered:
    """A function asked for secret digits: the event has only their number.

    `complete`: the function was given them; else it was told why not.
    """

    count: int
    complete: bool


FunctionOutcome: TypeAlias = Literal["answered", "failed", "unknown", "too_late", "outcome_unknown"]


@dataclass(frozen=True, slots=True)
class FunctionCalled:
    """The agent called a function of ours. `arguments` is JSON, as the model wrote it: private."""

    id: str
    name: str
    arguments: str
    thought_signature: str | UnsetType = UNSET
    """Signature that the model wants back if another process goes on with the call."""


@dataclass(frozen=True, slots=True)
class FunctionAnswered:
    """A function was answered. `content` is what the agent was told, and private.

    `failed`: the function raised, or its arguments were wrong; `unknown`: nobody here has one of
    that name; `too_late`: it was not done in time, and was stopped; `outcome_unknown`: it was not
    done in time, cannot be taken back and had begun, so that it may be done or not.
    """

    id: str
    name: str
    outcome: FunctionOutcome
    content: str
    after_ms: int


@dataclass(frozen=True, slots=True)
class FunctionDropped:
    """A function was called off before it was answered, and nothing was answered: `why`.

    A function that cannot be taken back, and had begun, may be done all the same.
    """

    id: str
    name: str
    why: Literal["cancelled", "call_over"]


@dataclass(frozen=True, slots=True)
class FunctionFinishedLate:
    """A function that was given up or called off has run to its end, `after_ms` it was called.

    The agent is not told: `content` is what it would have been told, and private. Comes after the
    end of the call, too.
    """

    id: str
    name: str
    outcome: FunctionOutcome
    content: str
    after_ms: int


HandoffOutcome: TypeAlias = Literal[
    "reached", "busy", "no-answer", "failed", "canceled", "declined", "hung-up"
]

DialKind: TypeAlias = Literal["transfer", "warm-transfer", "fallback", "busy"]


@dataclass(frozen=True, slots=True)
class AgentTold:
    """The agent was told something that the caller did not say, and answers to it."""

    text: str


@dataclass(frozen=True, slots=True)
class CallerLeft:
    """The stream was left on purpose: to transfer the caller, or to press keys.

    `destination` is a name in the agent file, empty for keys.
    """

    handoff: Literal["transfer", "digits"]
    destination: str


@dataclass(frozen=True, slots=True)
class StreamBroke:
    """The caller's stream broke off, because `why`, and Twilio may open another one.

    CallerBack follows when it has.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Dialled:
    """Twilio was told to ring `to`, or asked to; calls that we place have CallBegan instead.

    `kind` is why: a transfer of the caller, a person who is asked first (warm), the agent file's
    `fallback`, or its `busy`. `destination` is the name of a transfer's destination. It may come
    after the call's end.
    """

    kind: DialKind
    destination: str
    to: str


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """A transfer failed because of `why`; the caller is with the agent.

    `declined`: the person did not take the call; `hung-up`: the person took it, and hung up before
    the caller was there. The others are Twilio's words.
    """

    destination: str
    why: HandoffOutcome


@dataclass(frozen=True, slots=True)
class CallerBack:
    """A new stream came after the caller had left the one before."""


@dataclass(frozen=True, slots=True)
class AgentSwitched:
    """The call was handed to another agent, whose it is from now on."""

    agent: str


@dataclass(frozen=True, slots=True)
class AgentMuted:
    """The agent was muted toward the caller, or is heard again."""

    on: bool


@dataclass(frozen=True, slots=True)
class OperatorActed:
    """A person asked for an operation on the call, which was `done` or `refused`: `what` happened.

    `by` is their name, "API token" for a request with that; `operation` is one of docs/control.md.
    What they said or told is in other events. It may come after the call's end.
    """

    by: str
    operation: str
    outcome: Literal["done", "refused"]
    what: str


@dataclass(frozen=True, slots=True)
class ListeningBegan:
    """A person listens to the call from here on; `by` is their name."""

    by: str


@dataclass(frozen=True, slots=True)
class ListeningEnded:
    """A person listens no longer, after `after_ms`; `by` is their name."""

    by: str
    after_ms: int


@dataclass(frozen=True, slots=True)
class OperatorTookOver:
    """A person speaks with the caller from here on, and the agent is muted; `by` is their name."""

    by: str


HandBackCause: TypeAlias = Literal["asked", "lost", "silent", "call_over", "process_died"]


@dataclass(frozen=True, slots=True)
class OperatorHandedBack:
    """The person who spoke with the caller no longer does, `after_ms` they took over.

    The agent goes on, and was told the `note`, which is private. `why`: `asked`, somebody asked for
    it, or another person took over; `lost`, their socket was gone for 3 s; `silent`, it carried no
    sound for 5 s; `call_over`, the call has ended; `process_died`, with the process of the call.
    """

    by: str
    note: str
    after_ms: int
    why: HandBackCause


@dataclass(frozen=True, slots=True)
class DialRefused:
    """A dial or text was refused: `why` is a reason of dial_policy, `to` the destination."""

    kind: Literal["call", "transfer", "text", "fallback", "busy"]
    why: str
    to: str


@dataclass(frozen=True, slots=True)
class MessageTaken:
    """The caller left a message for the operator's staff.

    `number` is where to call back, as it was said; empty: at the number that called.
    """

    from_name: str
    number: str
    text: str


@dataclass(frozen=True, slots=True)
class DoNotCall:
    """The other party asked never to be called again. `number` is theirs, in E.164.

    The number is whole even if `records.redact` takes numbers out: masked it could not be obeyed.
    """

    number: str


@dataclass(frozen=True, slots=True)
class InterpreterHeld:
    """A function of this call blocked every call for `held_ms`, which are over now.

    `tool` is its name, `where` the file and line at which it was.
    """

    tool: str
    where: str
    held_ms: int


@dataclass(frozen=True, slots=True)
class AgentWarned:
    """Deepgram sent a Warning, an Error (`fatal`), or refused an injection."""

    code: str
    description: str
    fatal: bool


@dataclass(frozen=True, slots=True)
class CallerFrustrated:
    """Deepgram found the caller frustrated, for the `count`-th time (Think Live).

    `escalated`: as often as `frustration_max_count` of the agent's settings allows.
    """

    count: int
    escalated: bool


@dataclass(frozen=True, slots=True)
class LatencyReported:
    """Deepgram's own account of a turn, in ms; None where it gave none."""

    listen_ms: int | None
    think_ms: int | None
    speak_ms: int | None
    total_ms: int | None


@dataclass(frozen=True, slots=True)
class ProtocolViolation:
    """A leg broke its protocol. The message was counted and ignored."""

    leg: Leg
    what: str


@dataclass(frozen=True, slots=True)
class AudioDropped:
    """Audio on its way *to* this leg was thrown away, because `why`."""

    leg: Leg
    ms: int
    why: Literal["late", "full", "muted"]


@dataclass(frozen=True, slots=True)
class StreamTrouble:
    """Twilio reported a stream error (319xx), which is given in words."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class DelaysSampled:
    """Delays that this process added to what it passed on, published just before the call's end.

    Each field counts samples by DELAY_EDGES_MS: those up to each edge, and last those beyond. The
    first two are of one in 50 pieces of audio, the third of every barge-in, from the wake-up of
    the process until the `clear` was written.
    """

    to_agent: tuple[int, ...]
    to_caller: tuple[int, ...]
    to_clear: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecordingStarted:
    """The call is recorded from here on, into the file of that `name`, whose time begins now."""

    name: str


@dataclass(frozen=True, slots=True)
class RecordingPaused:
    """The recording was paused: it is silent on both sides from now on; its time goes on."""


@dataclass(frozen=True, slots=True)
class RecordingResumed:
    """The recording goes on after a pause."""


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """The recording ends with the call; it is `length_ms` long."""

    length_ms: int


@dataclass(frozen=True, slots=True)
class RecordingFailed:
    """The call is not recorded, or no longer, because `why`; what was written can be heard."""

    why: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The one ending of a call: whose doing (`fault`), a stable `slug`, the same in `words`.

    `detail` is what the other side gave as its reason, if anything.
    """

    fault: str
    slug: str
    words: str
    detail: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class CallBilled:
    """Twilio's report of a call's length, of which it bills begun minutes.

    `status` is Twilio's, such as completed, busy or failed. Comes after the end, or never.
    """

    status: str
    duration_ms: int


Event: TypeAlias = (
    CallBegan
    | LookedUp
    | CallStarted
    | CallTakenOver
    | CallReleased
    | AgentConnected
    | AgentDisconnected
    | AgentRolledOver
    | SpareAgentFailed
    | AgentLost
    | AgentResumed
    | CallerSpeechBegan
    | CallerSaid
    | AgentAnnounced
    | AgentHeard
    | AgentSaid
    | UtteranceRedacted
    | Answered
    | Interrupted
    | InterruptionSuppressed
    | KeyPressed
    | KeysEntered
    | SecretEntered
    | FunctionCalled
    | FunctionAnswered
    | FunctionDropped
    | FunctionFinishedLate
    | AgentTold
    | CallerLeft
    | Dialled
    | TransferFailed
    | CallerBack
    | StreamBroke
    | AgentSwitched
    | AgentMuted
    | OperatorActed
    | ListeningBegan
    | ListeningEnded
    | OperatorTookOver
    | OperatorHandedBack
    | DialRefused
    | MessageTaken
    | DoNotCall
    | InterpreterHeld
    | AgentWarned
    | CallerFrustrated
    | LatencyReported
    | ProtocolViolation
    | AudioDropped
    | StreamTrouble
    | DelaysSampled
    | RecordingStarted
    | RecordingPaused
    | RecordingResumed
    | RecordingEnded
    | RecordingFailed
    | CallEnded
    | CallBilled
)


EVENT_TYPES: Final[Mapping[str, type[Event]]] = {kind.__name__: kind for kind in get_args(Event)}
"""Types of events by name, which is how journal, database and live events name them."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """An event, the call that it belongs to, and ms since that call began."""

    call_sid: str
    at_ms: int
    event: Event


Subscriber: TypeAlias = Callable[[CallEvent], None]
