"""Result types of queries: plain dataclasses, ready for JSON. Field names do not change.

Every name that ends in `_ms` is in milliseconds; those of a call's timeline count from the call's
beginning, `started_ms` from 1970 (UTC). Money is in millionths of the currency that
`records.prices` names. `docs/calls.md` lists the fields.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSummary:
    """A call's entry in a list. A value of None is not known, or not yet.

    `started` is ISO 8601 in UTC. `turns` counts what the caller said; `interruptions` how often the
    agent was cut; `troubles` what went wrong without ending the call. `twilio_minutes` are those
    that Twilio bills: begun ones.
    """

    sid: str
    started: str
    started_ms: int
    duration_ms: int | None
    live: bool
    agent: str
    direction: str
    came_by: str
    from_number: str
    to_number: str
    fault: str | None
    slug: str | None
    words: str | None
    turns: int
    interruptions: int
    functions: int
    troubles: int
    recording: str | None
    twilio_minutes: int | None
    cost_micros: int | None


@dataclass(frozen=True, slots=True)
class CallPage:
    """Calls, newest first. `next_cursor` asks for those that follow; None: no calls follow.

    A page of a text search may hold fewer calls than it could, even none, and have a cursor all
    the same: a page looks through as many calls as `queries.SCAN_CALLS` says.
    """

    calls: list[CallSummary]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over calls. Minutes of call and stream are begun ones, as Twilio bills them.

    `cost_micros` is None when no call has a cost; `without_cost` counts those that have none.
    `endings` counts ended calls by slug, `deepgram_minutes` is by tier.
    """

    calls: int = 0
    live: int = 0
    duration_ms: int = 0
    twilio_minutes: int = 0
    stream_minutes: int = 0
    deepgram_minutes: dict[str, float] = field(default_factory=dict)
    cost_micros: int | None = None
    without_cost: int = 0
    endings: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupTotals:
    """Totals of one agent, or of one day (UTC, ISO 8601): `key`."""

    key: str
    totals: Totals


# --- One call ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceRecord:
    """An utterance of the caller or the agent.

    `text` was heard; when `estimated`, the agent was cut, or still speaks, and the text is taken
    from `heard_ms` of its audio. `intended` is all that it meant to say. `at_ms` is `start_ms`
    where that is known.
    """

    kind: Literal["utterance"] = "utterance"
    at_ms: int
    who: str
    text: str
    intended: str
    start_ms: int | None
    end_ms: int
    heard_ms: int | None
    interrupted: bool
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRecord:
    """A function that the agent called. `arguments` is JSON, as the model wrote it.

    `outcome`: answered, failed, unknown, too_late, outcome_unknown, cancelled, call_over; done_late
    or failed_late when it ended after that, unknown to the agent; None: not yet.
    """

    kind: Literal["function"] = "function"
    at_ms: int
    id: str
    name: str
    arguments: str
    outcome: str | None
    content: str | None
    after_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key that the caller pressed."""

    kind: Literal["key"] = "key"
    at_ms: int
    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """A message that the caller left. `number` is as it was said; empty: the one that called."""

    kind: Literal["message"] = "message"
    at_ms: int
    from_name: str
    number: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialRecord:
    """A number that Twilio was told to ring, perhaps after the call's end.

    `reason`: transfer, warm-transfer, fallback or busy. `destination` is a transfer's, else empty.
    """

    kind: Literal["dial"] = "dial"
    at_ms: int
    reason: str
    destination: str
    to_number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSessionRecord:
    """A session of the agent: its leg came up `dialled_ms` after it was dialled.

    `request_id` is Deepgram's.
    """

    kind: Literal["agent_session"] = "agent_session"
    at_ms: int
    request_id: str
    dialled_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleRecord:
    """An event that went wrong: `event` names one of `events/types.py`.

    `ms` of audio were dropped, or a function held the interpreter for so long.
    """

    kind: Literal["trouble"] = "trouble"
    at_ms: int
    event: str
    leg: str | None
    code: str | None
    words: str
    ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """Delays of an answer: our own measurements, and Deepgram's report of the same turn.

    Ours count from the caller's confirmed text: to the agent's first byte of audio, and until
    Twilio had played its first 20 ms. Deepgram's: hearing, thinking, speaking, and all together.
    """

    kind: Literal["turn"] = "turn"
    at_ms: int
    first_byte_ms: int | None = None
    first_played_ms: int | None = None
    listen_ms: int | None = None
    think_ms: int | None = None
    speak_ms: int | None = None
    total_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event that has no entry of a kind of its own.

    `event` names its type in `events/types.py`, `fields` are those of the type, and `words` is a
    sentence about it, which may change. `words` is empty for an event of a newer version.
    """

    kind: Literal["event"] = "event"
    at_ms: int
    event: str
    fields: dict[str, Any]
    words: str


TimelineEntry: TypeAlias = (
    UtteranceRecord
    | FunctionRecord
    | KeyRecord
    | MessageRecord
    | DialRecord
    | AgentSessionRecord
    | TroubleRecord
    | TurnRecord
    | EventRecord
)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of delays that were counted in buckets: the upper edge of the bucket of each.

    None beside samples: it is beyond the last edge of `events.DELAY_EDGES_MS`.
    """

    samples: int
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None


@dataclass(frozen=True, slots=True)
class Delays:
    """Delays that this process added to what it passed on, in ms."""

    to_agent: Percentiles
    to_caller: Percentiles
    to_clear: Percentiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """Amounts that are charged. `twilio_ms` is None until Twilio has told; begun minutes count.

    What each comes to, in millionths, is None without prices and for calls of earlier versions.
    """

    twilio_status: str | None
    twilio_ms: int | None
    twilio_minutes: int | None
    stream_ms: int
    stream_minutes: int
    deepgram_ms: int
    deepgram_tier: str
    twilio_micros: int | None
    stream_micros: int | None
    deepgram_micros: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupRecord:
    """The agent's lookup before the call: LookedUp of `events/types.py`."""

    outcome: str
    why: str
    after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """The whole record of a call.

    `detail` is what the other side gave as its reason for the ending. `stream_at_ms` is when
    Twilio's stream was there. `text_erased`: what was said has been erased since. `lookup` is None
    when nothing was looked up.
    """

    call: CallSummary
    account_sid: str
    variables: dict[str, str]
    lookup: LookupRecord | None
    stream_at_ms: int | None
    detail: str | None
    recording_ms: int | None
    recording_fault: str | None
    text_erased: bool
    meters: Meters
    delays: Delays | None
    timeline: list[TimelineEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedCall(CallRecord):
    """The record of a call as it leaves Offhook: API, export and after-call webhook.

    `version` is raised when a field changes its meaning or goes; `currency` is of every cost.
    """

    version: int
    currency: str
