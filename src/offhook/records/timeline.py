"""The timeline of a call, from its events.

An event is an entry of a kind of its own, part of another event's entry, or a general entry
(EventRecord). UNLISTED names the others, with the reasons.
"""

import dataclasses
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from offhook.call.unfinished_speech import UnfinishedSpeech
from offhook.events import types as events
from offhook.events.describe import describe
from offhook.events.stored import decode_event, decode_fields
from offhook.events.types import Event
from offhook.records.models import (
    AgentSessionRecord,
    DialRecord,
    EventRecord,
    FunctionRecord,
    KeyRecord,
    MessageRecord,
    TimelineEntry,
    TroubleRecord,
    TurnRecord,
    UtteranceRecord,
)
from offhook.records.rows import TROUBLES

UNLISTED: Final[Mapping[type[Event], str]] = {
    events.CallBegan: "the fields of the call itself",
    events.CallStarted: "`stream_at_ms`",
    events.LookedUp: "`lookup`",
    events.CallerSpeechBegan: "`start_ms` of the caller's turn",
    events.DelaysSampled: "`delays`",
    events.CallEnded: "`call.fault`, `slug`, `words` and `duration_ms`; `detail`",
    events.CallBilled: "`meters`",
    events.AgentAnnounced: "its utterance, estimated until AgentSaid has the whole",
    events.AgentHeard: "`heard_ms` of its utterance",
}
"""Events without an entry in the timeline, and where the record of the call has them instead."""


class StoredEvent(NamedTuple):
    """A row of `events`. `body` is JSON of the event's own type, which `kind` names."""

    line: int
    at_ms: int
    wall_ms: int
    kind: str
    body: str


_Entry: TypeAlias = tuple[int, TimelineEntry]


def decoded(stored: StoredEvent) -> Event | None:
    """Return the event of a row; None for one of a newer version, which shares the database."""
    return event_of(stored.kind, stored.body)


def event_of(kind: str, body: str) -> Event | None:
    """Return the event with this name and JSON; None for one of a newer version."""
    try:
        return decode_event(kind, body)
    except (KeyError, msgspec.ValidationError):
        return None


def timeline(stored: Iterable[StoredEvent], started_ms: int) -> list[TimelineEntry]:
    """Return everything that happened in a call, in order. `started_ms` is when it began."""
    made = _Timeline(started_ms)
    # The outcomes of functions that a migration made have the negatives of their functions' lines.
    for row in sorted(stored, key=lambda row: (abs(row.line), row.line < 0)):
        made.add(row)
    return made.entries()


class _Timeline:
    def __init__(self, started_ms: int) -> None:
        self._started_ms = started_ms
        self._entries: list[_Entry] = []
        self._functions: dict[str, int] = {}
        self._caller_lines: list[int] = []
        self._speech = UnfinishedSpeech()
        self._turns: list[tuple[int, int, events.Answered | events.LatencyReported]] = []

    def add(self, row: StoredEvent) -> None:
        event = decoded(row)
        self._speech.take(event, row.at_ms)
        match event:
            case None:
                self._append(row, _general(row, None))
            case events.FunctionCalled():
                self._functions[event.id] = len(self._entries)
                self._append(row, _ENTRIES[type(event)](event, row))
            case (
                events.FunctionAnswered() | events.FunctionDropped() | events.FunctionFinishedLate()
            ) if event.id in self._functions:
                place = self._functions[event.id]
                line, called = self._entries[place]
                assert isinstance(called, FunctionRecord), "only FunctionCalled has such a place"
                self._entries[place] = line, dataclasses.replace(called, **_outcome(event))
            case events.Answered() | events.LatencyReported():
                self._turns.append((row.line, row.at_ms, event))
            case events.Dialled():
                self._append(row, _dial(event, row, self._started_ms))
            case _ if type(event) not in UNLISTED:
                if isinstance(event, events.CallerSaid):
                    self._caller_lines.append(row.line)
                make = _ENTRIES.get(type(event), _general_of)
                self._append(row, make(event, row))

    def entries(self) -> list[TimelineEntry]:
        entries = [*self._entries, *self._turn_entries(), *self._unfinished_entries()]
        entries.sort(key=lambda one: (one[1].at_ms, one[0]))
        return [entry for _, entry in entries]

    def _unfinished_entries(self) -> list[_Entry]:
        """Return what the agent is saying, as far as it is known; it is not interrupted yet."""
        entries: list[_Entry] = []
        for at_ms, said in self._speech.cut():
            entry = _agent_said(said, StoredEvent(0, at_ms, 0, "", ""))
            entry = dataclasses.replace(entry, interrupted=False, estimated=True)
            entries.append((sys.maxsize, entry))
        return entries

    def _append(self, row: StoredEvent, entry: TimelineEntry) -> None:
        self._entries.append((row.line, entry))

    def _turn_entries(self) -> list[_Entry]:
        """Return turns. Our times and Deepgram's are two events of a turn, in either order.

        A turn begins with what the caller said: neither event names it.
        """
        turns: dict[int, list[tuple[int, TurnRecord]]] = defaultdict(list)
        for line, at_ms, event in self._turns:
            given = {name: ms for name, ms in dataclasses.asdict(event).items() if ms is not None}
            same = turns[bisect_right(self._caller_lines, line)]
            for index, (first, turn) in enumerate(same):
                if all(getattr(turn, name) is None for name in given):
                    same[index] = first, dataclasses.replace(turn, **given)
                    break
            else:
                same.append((line, dataclasses.replace(TurnRecord(at_ms=at_ms), **given)))
        return [entry for same in turns.values() for entry in same]


def _general(row: StoredEvent, event: Event | None) -> EventRecord:
    return EventRecord(
        at_ms=row.at_ms,
        event=row.kind,
        fields=decode_fields(row.kind, row.body),
        words="" if event is None else describe(event, texts=True),
    )


def _general_of(event: Event, row: StoredEvent) -> EventRecord:
    return _general(row, event)


def _outcome(
    event: events.FunctionAnswered | events.FunctionDropped | events.FunctionFinishedLate,
) -> dict[str, Any]:
    if isinstance(event, events.FunctionDropped):
        return {"outcome": event.why, "content": None, "after_ms": None}
    outcome: str = event.outcome
    if isinstance(event, events.FunctionFinishedLate):
        outcome = "done_late" if event.outcome == "answered" else "failed_late"
    return {"outcome": outcome, "content": event.content, "after_ms": event.after_ms}


def _caller_said(event: events.CallerSaid, row: StoredEvent) -> UtteranceRecord:
    return UtteranceRecord(
        at_ms=row.at_ms if event.start_ms is None else event.start_ms,
        who="caller",
        text=event.text,
        intended=event.text,
        start_ms=event.start_ms,
        end_ms=row.at_ms,
        heard_ms=None,
        interrupted=False,
        estimated=False,
    )


def _agent_said(event: events.AgentSaid, row: StoredEvent) -> UtteranceRecord:
    return UtteranceRecord(
        at_ms=row.at_ms if event.start_ms is None else event.start_ms,
        who="agent",
        end_ms=row.at_ms,
        estimated=event.interrupted and event.text != event.intended,
        **dataclasses.asdict(event),
    )


def _function(event: events.FunctionCalled, row: StoredEvent) -> FunctionRecord:
    return FunctionRecord(
        at_ms=row.at_ms,
        id=event.id,
        name=event.name,
        arguments=event.arguments,
        outcome=None,
        content=None,
        after_ms=None,
    )


def _dial(event: events.Dialled, row: StoredEvent, started_ms: int) -> DialRecord:
    return DialRecord(
        # A server that does not know the call any more has written 0: then the dates tell.
        at_ms=row.at_ms or max(0, row.wall_ms - started_ms),
        reason=event.kind,
        destination=event.destination,
        to_number=event.to,
    )


def _trouble(event: Event, row: StoredEvent) -> TroubleRecord:
    trouble = TROUBLES[type(event)](event)
    return TroubleRecord(at_ms=row.at_ms, event=row.kind, **trouble._asdict())


_ENTRIES: Final[Mapping[type[Event], Callable[[Any, StoredEvent], TimelineEntry]]] = {
    events.CallerSaid: _caller_said,
    events.AgentSaid: _agent_said,
    events.FunctionCalled: _function,
    events.KeyPressed: lambda e, row: KeyRecord(at_ms=row.at_ms, digit=e.digit),
    events.MessageTaken: lambda e, row: MessageRecord(at_ms=row.at_ms, **dataclasses.asdict(e)),
    events.AgentConnected: lambda e, row: AgentSessionRecord(
        at_ms=row.at_ms, request_id=e.request_id, dialled_ms=e.after_ms
    ),
    **dict.fromkeys(TROUBLES, _trouble),
}
"""Events that are one entry of a kind of its own, made of the event and its row alone."""
