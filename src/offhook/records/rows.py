"""Columns of `calls` that events change, and the counts that they add to.

Every event of a call is a row of `events` whatever stands here: a new type of event needs nothing
in this file.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from offhook.events import types as events
from offhook.events.types import Event
from offhook.journal.entries import JournalEntry

Columns: TypeAlias = dict[str, Any]


def call_row(event: events.CallBegan, entry: JournalEntry) -> Columns:
    """Return the columns of a call that has begun."""
    return {
        "sid": entry.call_sid,
        "account_sid": event.account_sid,
        "agent": event.agent,
        "direction": event.direction,
        "came_by": event.by,
        "from_number": event.from_,
        "to_number": event.to,
        "variables": event.variables,
        "started_ms": entry.wall_ms - entry.at_ms,
        "agent_ms": 0,
        "tier": event.tier,
        "text_erased": False,
    }


def streamed_ms(came_by: str, stream_at_ms: int | None, over_ms: int | None) -> int:
    """Return the length of a call's stream as Twilio charges it: a browser's is not Twilio's."""
    if came_by == "browser" or stream_at_ms is None or over_ms is None:
        return 0
    return max(0, over_ms - stream_at_ms)


CHANGES: Final[Mapping[type[Event], Callable[[Any, int], Columns]]] = {
    events.CallStarted: lambda e, at_ms: {"stream_at_ms": at_ms},
    events.CallEnded: lambda e, _: asdict(e),
    events.CallBilled: lambda e, _: {"billed_status": e.status, "billed_ms": e.duration_ms},
    events.RecordingStarted: lambda e, _: {"recording": e.name},
    events.RecordingEnded: lambda e, _: {"recording_ms": e.length_ms},
    events.RecordingFailed: lambda e, _: {"recording_fault": e.why},
    events.LookedUp: lambda e, _: {
        "lookup": e.outcome,
        "lookup_why": e.why,
        "lookup_ms": e.after_ms,
    },
    events.DelaysSampled: lambda e, _: {"delays": msgspec.json.encode(e).decode()},
}
"""Events that change columns of their call, made of the event and its ms of the call."""

AFTER_THE_END: Final = frozenset(
    {
        events.CallBegan.__name__,
        events.CallBilled.__name__,
        events.FunctionFinishedLate.__name__,
        events.Dialled.__name__,
    }
)
"""Kinds of events that do not tell how long a call went on: they may come after its end, from a
server that does not know when the call began."""


class Trouble(NamedTuple):
    """Trouble that did not end the call. `ms` of audio, or of the interpreter."""

    leg: str | None
    code: str | None
    words: str
    ms: int | None


TROUBLES: Final[Mapping[type[Event], Callable[[Any], Trouble]]] = {
    events.TransferFailed: lambda e: Trouble("caller", e.why, e.destination, None),
    events.DialRefused: lambda e: Trouble("caller", e.kind, e.why, None),
    events.AgentLost: lambda e: Trouble("agent", e.code, e.why, None),
    events.AgentWarned: lambda e: Trouble("agent", e.code, e.description, None),
    events.SpareAgentFailed: lambda e: Trouble("agent", e.code, e.why, None),
    events.ProtocolViolation: lambda e: Trouble(e.leg, None, e.what, None),
    events.AudioDropped: lambda e: Trouble(e.leg, None, e.why, e.ms),
    events.InterpreterHeld: lambda e: Trouble(None, None, f"{e.tool} at {e.where}", e.held_ms),
    events.StreamTrouble: lambda e: Trouble("caller", e.code, e.words, None),
}
"""Events that are a trouble of their call."""

SUMS: Final = ("turns", "interruptions", "functions", "troubles", "agent_ms")
"""Columns of `calls` that events add to."""


def _is_trouble(event: Any) -> int:
    # Audio that a barge-in throws away does not count as trouble.
    return int(not (type(event) is events.AudioDropped and event.why == "late"))


ADDED: Final[Mapping[type[Event], tuple[str, Callable[[Any], int]]]] = {
    events.CallerSaid: ("turns", lambda e: 1),
    events.AgentSaid: ("interruptions", lambda e: int(e.interrupted)),
    events.FunctionCalled: ("functions", lambda e: 1),
    events.AgentDisconnected: ("agent_ms", lambda e: e.connected_ms),
    **dict.fromkeys(TROUBLES, ("troubles", _is_trouble)),
}
"""Events that add to one of SUMS, and how much."""

SAID: Final[Mapping[type[Event], str]] = {events.CallerSaid: "caller", events.AgentSaid: "agent"}
"""Events whose text is searched, and who said it."""
