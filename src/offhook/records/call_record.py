"""The whole record of a call, from the rows of all tables."""

import dataclasses
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Row, Table, select

from offhook.events import types as events
from offhook.records import queries, tables
from offhook.records.entries import RENAMED
from offhook.records.models import (
    AgentSessionRecord,
    CallRecord,
    Delays,
    DialRecord,
    FunctionRecord,
    KeyRecord,
    LookupRecord,
    MessageRecord,
    Meters,
    Percentiles,
    TimelineEntry,
    TroubleRecord,
    TurnRecord,
    UtteranceRecord,
)
from offhook.records.prices import begun_minutes

JSON_VERSION: Final = 1
"""Version of `record_as_json`: raised when a field changes its meaning or goes."""


def show(connection: Connection, sid: str) -> CallRecord | None:
    """Return everything about a call; None: there is none with that CallSid."""
    row = None
    if queries.NUL not in sid:
        row = connection.execute(select(tables.calls).where(tables.calls.c.sid == sid)).first()
    if row is None:
        return None
    [call] = queries.summaries(connection, [row])
    streamed = 0
    if row.stream_at_ms is not None:
        streamed = max(0, (row.last_ms if call.live else row.duration_ms) - row.stream_at_ms)
    return _made(
        CallRecord,
        row,
        call=call,
        variables=msgspec.json.decode(row.variables or "{}", type=dict[str, str]),
        lookup=None
        if row.lookup is None
        else LookupRecord(outcome=row.lookup, why=row.lookup_why, after_ms=row.lookup_ms),
        detail=row.detail or None,
        meters=Meters(
            twilio_status=row.billed_status,
            twilio_ms=row.billed_ms,
            twilio_minutes=call.twilio_minutes,
            stream_ms=streamed,
            stream_minutes=begun_minutes(streamed),
            deepgram_ms=row.agent_ms,
            deepgram_tier=row.tier,
        ),
        delays=None if row.delays is None else _delays(row.delays),
        timeline=_timeline(connection, sid, row.started_ms),
    )


def shown(connection: Connection, sid: str) -> CallRecord:
    """Return all of one call. Raises UserError E-ASK-04 when there is none."""
    record = show(connection, sid)
    if record is None:
        raise queries.no_call()
    return record


def record_as_json(record: CallRecord, currency: str) -> dict[str, Any]:
    """Return one call as the export and the after-call webhook send it (docs/calls.md)."""
    return {"version": JSON_VERSION, "currency": currency, **msgspec.to_builtins(record)}


_T = TypeVar("_T")


def _made(kind: Callable[..., _T], row: Row[Any], **given: Any) -> _T:
    """Return a record of `given` fields; columns of the row are the others, under their names."""
    columns = row._mapping
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # a dataclass
        if field.name != "kind" and field.name in columns:
            given.setdefault(field.name, columns[field.name])
    return kind(**given)


_ENTRIES: Final[tuple[tuple[Table, Callable[[Row[Any], int], TimelineEntry]], ...]] = (
    (tables.functions, lambda row, _: _made(FunctionRecord, row, at_ms=row.called_ms)),
    (tables.keys, lambda row, _: _made(KeyRecord, row)),
    (tables.messages, lambda row, _: _made(MessageRecord, row)),
    (
        tables.dials,
        lambda row, started_ms: _made(
            DialRecord, row, at_ms=max(0, row.wall_ms - started_ms), reason=row.kind
        ),
    ),
    (tables.agent_sessions, lambda row, _: _made(AgentSessionRecord, row, at_ms=row.ready_at_ms)),
    (
        tables.troubles,
        lambda row, _: _made(TroubleRecord, row, event=RENAMED.get(row.kind, row.kind)),
    ),
)
"""Tables of which each row is one entry, made with the time at which the call began."""


def _timeline(connection: Connection, sid: str, started_ms: int) -> list[TimelineEntry]:
    """Return everything that happened, in order."""

    def rows(table: Table) -> Sequence[Row[Any]]:
        query = select(table).where(table.c.call_sid == sid).order_by(table.c.line)
        return connection.execute(query).all()

    utterances = rows(tables.utterances)
    entries: list[tuple[int, TimelineEntry]] = [(row.line, _utterance(row)) for row in utterances]
    caller_lines = [row.line for row in utterances if row.who == "caller"]
    entries += _turns(rows(tables.turns), caller_lines)
    for table, make in _ENTRIES:
        entries += [(row.line, make(row, started_ms)) for row in rows(table)]
    entries.sort(key=lambda one: (one[1].at_ms, one[0]))
    return [entry for _, entry in entries]


def _utterance(row: Row[Any]) -> UtteranceRecord:
    return _made(
        UtteranceRecord,
        row,
        at_ms=row.end_ms if row.start_ms is None else row.start_ms,
        estimated=row.interrupted and row.text != row.intended,
    )


_LATENCIES: Final = (
    "first_byte_ms",
    "first_played_ms",
    "listen_ms",
    "think_ms",
    "speak_ms",
    "total_ms",
)


def _turns(rows: Sequence[Row[Any]], caller_lines: list[int]) -> list[tuple[int, TurnRecord]]:
    """Return turns. Our times and Deepgram's are two rows of a turn, in either order.

    A turn begins with what the caller said: neither row names it.
    """
    turns: dict[int, list[tuple[int, TurnRecord]]] = defaultdict(list)
    for row in rows:
        given = {name: row._mapping[name] for name in _LATENCIES if row._mapping[name] is not None}
        same = turns[bisect_right(caller_lines, row.line)]
        for index, (line, turn) in enumerate(same):
            if all(getattr(turn, name) is None for name in given):
                same[index] = line, dataclasses.replace(turn, **given)
                break
        else:
            same.append((row.line, dataclasses.replace(TurnRecord(at_ms=row.at_ms), **given)))
    return [entry for same in turns.values() for entry in same]


def _delays(text: str) -> Delays:
    sampled = msgspec.json.decode(text, type=events.DelaysSampled)
    return Delays(
        to_agent=percentiles(sampled.to_agent),
        to_caller=percentiles(sampled.to_caller),
        to_clear=percentiles(sampled.to_clear),
    )


def percentiles(counts: Sequence[int]) -> Percentiles:
    """Return percentiles of delays counted by events.DELAY_EDGES_MS, and last those beyond."""
    samples = sum(counts)

    def up_to(share: float) -> int | None:
        below = 0
        for edge, count in zip(events.DELAY_EDGES_MS, counts, strict=False):
            below += count
            if count and below >= share * samples:
                return edge
        return None

    return Percentiles(samples, up_to(0.50), up_to(0.95), up_to(0.99))
