"""Figures of a call that are measured from its events once it has ended, for `quality.py`.

They are in a row of `measures`, so that the figures of a year read no event. docs/console.md says
what each of them means.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from sqlalchemy import Connection

from offhook.events import types as events
from offhook.events.types import Event
from offhook.records.batches import Statements
from offhook.records.timeline import event_of

STAGES: Final = {
    "listen_ms": "l",
    "think_ms": "t",
    "speak_ms": "s",
    "total_ms": "d",
    "first_byte_ms": "b",
    "first_played_ms": "p",
}
"""Stages of a turn's latency, with the letter that each has in CallMeasures.latencies."""

_STAGES_OF: Final[Mapping[type[Event], Sequence[tuple[str, str]]]] = {
    kind: [(field.name, STAGES[field.name]) for field in fields(kind) if field.name in STAGES]
    for kind in (events.Answered, events.LatencyReported)
}

_TAKEN: Final = (
    events.Answered,
    events.LatencyReported,
    events.CallerSaid,
    events.AgentSaid,
    events.Interrupted,
    events.InterruptionSuppressed,
    events.DialRefused,
    events.CallerLeft,
    events.StreamBroke,
    events.CallerBack,
    events.OperatorTookOver,
    events.OperatorHandedBack,
)
KINDS: Final = tuple(kind.__name__ for kind in _TAKEN)
"""Kinds of events from which calls are measured."""

BATCH_CALLS: Final = 500
"""Calls whose events are read at a time."""


@dataclass(frozen=True, slots=True)
class CallMeasures:
    """Measures of one call, which has ended.

    `latencies` are those of every turn in ms, each with the letter of its stage before it and a
    space behind it. `stream_ms` is the time for which the caller was on a stream with the agent,
    `spoken_ms` that in which either of them spoke. `heard_chars` of the `intended_chars` of the
    agent's utterances were heard. Of the `barge_ins`, the `false_barge_ins` brought no words of the
    caller; `suppressed` sounds did not cut the agent. `refused` dials and texts were refused.
    """

    latencies: str
    stream_ms: int
    spoken_ms: int
    heard_chars: int
    intended_chars: int
    barge_ins: int
    false_barge_ins: int
    suppressed: int
    refused: int


def measured(
    stored: Iterable[tuple[int, str, str]], stream_at_ms: int | None, duration_ms: int
) -> CallMeasures:
    """Return the measures of a call from its events in order; those of other KINDS are ignored.

    Each event is its ms of the call, its kind and its body. `stream_at_ms` is None for a call that
    had no stream.
    """
    measuring = _Measuring(duration_ms if stream_at_ms is None else stream_at_ms, duration_ms)
    for at_ms, kind, body in stored:
        measuring.add(event_of(kind, body), at_ms)
    return measuring.result()


class _Measuring:
    def __init__(self, begin_ms: int, end_ms: int) -> None:
        self._begin_ms = begin_ms
        self._end_ms = end_ms
        self._latencies: list[str] = []
        self._speech: list[tuple[int, int]] = []
        self._away: list[tuple[int, int]] = []
        self._away_since: dict[Literal["caller", "agent"], int] = {}
        """Times in ms at which the caller left the stream, and an operator took the call over."""
        self._heard = self._intended = 0
        self._barge_ins = self._false = self._suppressed = self._refused = 0
        self._is_wordless = False
        """True after a barge-in, until the caller's words come."""

    def add(self, event: Event | None, at_ms: int) -> None:
        match event:
            case events.Answered() | events.LatencyReported():
                for name, letter in _STAGES_OF[type(event)]:
                    ms = getattr(event, name)
                    if ms is not None:
                        self._latencies.append(f"{letter}{ms} ")
            case events.CallerSaid():
                self._is_wordless = False
                if event.start_ms is not None:
                    self._speech.append((event.start_ms, at_ms))
            case events.AgentSaid():
                if not event.interrupted:
                    self._end_barge_in()
                self._intended += len(event.intended)
                self._heard += min(len(event.text), len(event.intended))
                if event.start_ms is not None:
                    self._speech.append((event.start_ms, event.start_ms + event.heard_ms))
            case events.Interrupted():
                self._end_barge_in()
                self._barge_ins += 1
                self._is_wordless = event.cause != "turn"  # that cause is words
            case events.InterruptionSuppressed():
                self._suppressed += 1
            case events.DialRefused():
                self._refused += 1
            case events.CallerLeft() | events.StreamBroke():
                self._away_since.setdefault("caller", at_ms)
            case events.CallerBack():
                self._come_back("caller", at_ms)
            case events.OperatorTookOver():
                self._away_since.setdefault("agent", at_ms)
            case events.OperatorHandedBack():
                self._come_back("agent", at_ms)

    def result(self) -> CallMeasures:
        self._end_barge_in()
        self._come_back("caller", self._end_ms)
        self._come_back("agent", self._end_ms)
        return CallMeasures(
            "".join(self._latencies),
            max(0, self._end_ms - self._begin_ms - self._length(self._away)),
            self._length(self._speech + self._away) - self._length(self._away),
            self._heard,
            self._intended,
            self._barge_ins,
            self._false,
            self._suppressed,
            self._refused,
        )

    def _end_barge_in(self) -> None:
        self._false += self._is_wordless
        self._is_wordless = False

    def _come_back(self, who: Literal["caller", "agent"], at_ms: int) -> None:
        since = self._away_since.pop(who, None)
        if since is not None:
            self._away.append((since, at_ms))

    def _length(self, spans: Iterable[tuple[int, int]]) -> int:
        """Return the ms that at least one of the spans covers, within the call's stream."""
        total, reached = 0, self._begin_ms
        for begin, end in sorted(spans):
            begin, end = max(begin, reached), min(end, self._end_ms)
            if end > begin:
                total += end - begin
                reached = end
        return total


def measure(connection: Connection, call_sids: Sequence[str]) -> None:
    """Write the measures of these calls, as far as they have ended; a repeat writes them anew."""
    for first in range(0, len(call_sids), BATCH_CALLS):
        rows = measure_rows(connection, call_sids[first : first + BATCH_CALLS])
        if rows:
            values = [tuple(row.values()) for row in rows]
            Statements(connection).replace("measures", tuple(rows[0]), values)


def measure_rows(connection: Connection, call_sids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of `measures` for those of the calls that have ended."""
    sql = Statements(connection)
    columns = "sid, agent, started_ms, stream_at_ms, duration_ms"
    ended = [row for row in sql.of_calls(columns, call_sids) if row[-1] is not None]
    stored: dict[str, list[tuple[int, str, str]]] = {row[0]: [] for row in ended}
    for sid, at_ms, kind, body in sql.stored(stored, KINDS):
        stored[sid].append((at_ms, kind, body))
    return [
        {"call_sid": sid, "agent": agent, "started_ms": started_ms}
        | asdict(measured(stored[sid], stream_at_ms, duration_ms))
        for sid, agent, started_ms, stream_at_ms, duration_ms in ended
    ]
