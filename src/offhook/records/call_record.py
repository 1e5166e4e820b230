"""The whole record of a call: its row, and its timeline."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, select

from offhook.config.prices import begun_minutes
from offhook.events import types as events
from offhook.records import queries, tables
from offhook.records.models import (
    CallRecord,
    Delays,
    ExportedCall,
    LookupRecord,
    Meters,
    Percentiles,
)
from offhook.records.rows import AFTER_THE_END, streamed_ms
from offhook.records.timeline import StoredEvent, timeline

JSON_VERSION: Final = 1
"""Version of ExportedCall: raised when a field changes its meaning or goes."""


def show(connection: Connection, sid: str) -> CallRecord | None:
    """Return everything about a call; None for an unknown CallSid."""
    row = None
    if queries.NUL not in sid:
        row = connection.execute(select(tables.calls).where(tables.calls.c.sid == sid)).first()
    if row is None:
        return None
    stored = _stored(connection, sid)
    return CallRecord(
        call=queries.summary(row),
        account_sid=row.account_sid,
        variables=msgspec.json.decode(row.variables or "{}", type=dict[str, str]),
        lookup=None
        if row.lookup is None
        else LookupRecord(outcome=row.lookup, why=row.lookup_why, after_ms=row.lookup_ms),
        stream_at_ms=row.stream_at_ms,
        detail=row.detail or None,
        recording_ms=row.recording_ms,
        recording_fault=row.recording_fault,
        text_erased=row.text_erased,
        meters=_meters(row, stored),
        delays=None if row.delays is None else _delays(row.delays),
        timeline=timeline(stored, row.started_ms),
    )


def _stored(connection: Connection, sid: str) -> list[StoredEvent]:
    found = tables.events.c
    query = select(found.line, found.at_ms, found.wall_ms, found.kind, found.body)
    rows = connection.execute(query.where(found.call_sid == sid).order_by(found.line))
    return [StoredEvent(*row) for row in rows]


def _meters(row: Row[Any], stored: Sequence[StoredEvent]) -> Meters:
    over_ms = row.duration_ms
    if over_ms is None:
        over_ms = max((one.at_ms for one in stored if one.kind not in AFTER_THE_END), default=0)
    streamed = streamed_ms(row.came_by, row.stream_at_ms, over_ms)
    return Meters(
        twilio_status=row.billed_status,
        twilio_ms=row.billed_ms,
        twilio_minutes=None if row.billed_ms is None else begun_minutes(row.billed_ms),
        stream_ms=streamed,
        stream_minutes=begun_minutes(streamed),
        deepgram_ms=row.agent_ms,
        deepgram_tier=row.tier,
        twilio_micros=row.twilio_micros,
        stream_micros=row.stream_micros,
        deepgram_micros=row.deepgram_micros,
    )


def shown(connection: Connection, sid: str) -> CallRecord:
    """Return all of one call. Raises UserError E-ASK-04 for an unknown CallSid."""
    record = show(connection, sid)
    if record is None:
        raise queries.no_call()
    return record


def exported(record: CallRecord, currency: str) -> ExportedCall:
    """Return one call as the API, the export and the after-call webhook send it (docs/calls.md)."""
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return ExportedCall(**fields, version=JSON_VERSION, currency=currency)


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
