"""Rows and columns that each event of a call becomes. Events in no table here leave none.

Interrupted leaves none: the row of the cut utterance says the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from sqlalchemy import Table

from offhook.events import types as events
from offhook.events.types import Event
from offhook.records import tables
from offhook.records.entries import JournalEntry

Row: TypeAlias = dict[str, Any]

_Make: TypeAlias = Callable[[Any, JournalEntry], Row]


def call_row(event: events.CallBegan, entry: JournalEntry, journal_id: str) -> Row:
    """Return the row of a call that has begun."""
    return {
        "sid": entry.call_sid,
        "account_sid": event.account_sid,
        "agent": event.agent,
        "direction": event.direction,
        "came_by": event.by,
        "from_number": event.from_,
        "to_number": event.to,
        "variables": event.variables,
        "journal": journal_id,
        "line": entry.number,
        "started_ms": entry.wall_ms - entry.at_ms,
        "last_ms": entry.at_ms,
        "agent_ms": 0,
        "tier": event.tier,
        "text_erased": False,
    }


CALL_COLUMNS: Final[Mapping[type[Event], _Make]] = {
    events.CallStarted: lambda e, entry: {"stream_at_ms": entry.at_ms},
    events.CallEnded: lambda e, entry: asdict(e),
    events.CallBilled: lambda e, entry: {
        "billed_status": e.status,
        "billed_ms": e.duration_ms,
    },
    events.RecordingStarted: lambda e, entry: {"recording": e.name},
    events.RecordingEnded: lambda e, entry: {"recording_ms": e.length_ms},
    events.RecordingFailed: lambda e, entry: {"recording_fault": e.why},
    events.LookedUp: lambda e, entry: {
        "lookup": e.outcome,
        "lookup_why": e.why,
        "lookup_ms": e.after_ms,
    },
    events.DelaysSampled: lambda e, entry: {"delays": msgspec.json.encode(e).decode()},
}
"""Events that change columns of their call."""

FUNCTION_COLUMNS: Final[Mapping[type[Event], Callable[[Any], Row]]] = {
    events.FunctionAnswered: lambda e: _outcome(e.outcome, e.content, e.after_ms),
    events.FunctionDropped: lambda e: _outcome(e.why, None, None),
    events.FunctionFinishedLate: lambda e: _outcome(
        "done_late" if e.outcome == "answered" else "failed_late", e.content, e.after_ms
    ),
}
"""Events that change columns of a function that was called before."""


def _outcome(outcome: str, content: str | None, after_ms: int | None) -> Row:
    return {"outcome": outcome, "content": content, "after_ms": after_ms}


WITHOUT_LAST_MS: Final = frozenset(
    {events.CallBegan, events.CallBilled, events.FunctionFinishedLate, events.Dialled}
)
"""Events that leave the call's `last_ms` as it is. They may come after its end, from a server that
does not know when the call began."""


class _Table(NamedTuple):
    table: Table
    row: _Make


def _with_time(event: Any, entry: JournalEntry) -> Row:
    return {"at_ms": entry.at_ms, **asdict(event)}


def _trouble(make: Callable[[Any], tuple[str | None, str | None, str, int | None]]) -> _Table:
    """Return the row of a trouble, of which `make` gives leg, code, words and ms."""

    def row(event: Any, entry: JournalEntry) -> Row:
        values = zip(("leg", "code", "words", "ms"), make(event), strict=True)
        return {"at_ms": entry.at_ms, "kind": type(event).__name__, **dict(values)}

    return _Table(tables.troubles, row)


NEW_ROWS: Final[Mapping[type[Event], _Table]] = {
    events.CallerSaid: _Table(
        tables.utterances,
        lambda e, entry: {
            "who": "caller",
            "text": e.text,
            "intended": e.text,
            "start_ms": e.start_ms,
            "end_ms": entry.at_ms,
            "heard_ms": None,
            "interrupted": False,
        },
    ),
    events.AgentSaid: _Table(
        tables.utterances, lambda e, entry: {"who": "agent", "end_ms": entry.at_ms, **asdict(e)}
    ),
    events.AgentConnected: _Table(
        tables.agent_sessions,
        lambda e, entry: {
            "request_id": e.request_id,
            "ready_at_ms": entry.at_ms,
            "dialled_ms": e.after_ms,
        },
    ),
    events.Answered: _Table(tables.turns, _with_time),
    events.LatencyReported: _Table(tables.turns, _with_time),
    events.KeyPressed: _Table(tables.keys, _with_time),
    events.MessageTaken: _Table(tables.messages, _with_time),
    events.FunctionCalled: _Table(
        tables.functions, lambda e, entry: {"called_ms": entry.at_ms, **asdict(e)}
    ),
    events.Dialled: _Table(
        tables.dials,
        lambda e, entry: {
            "wall_ms": entry.wall_ms,
            "kind": e.kind,
            "destination": e.destination,
            "to_number": e.to,
        },
    ),
    events.TransferFailed: _trouble(lambda e: ("caller", e.why, e.destination, None)),
    events.DialRefused: _trouble(lambda e: ("caller", e.kind, e.why, None)),
    events.AgentWarned: _trouble(lambda e: ("agent", e.code, e.description, None)),
    events.ProtocolViolation: _trouble(lambda e: (e.leg, None, e.what, None)),
    events.AudioDropped: _trouble(lambda e: (e.leg, None, e.why, e.ms)),
    events.InterpreterHeld: _trouble(lambda e: (None, None, f"{e.tool} at {e.where}", e.held_ms)),
    events.StreamTrouble: _trouble(lambda e: ("caller", e.code, e.words, None)),
}
"""Events that become a row of their own."""
