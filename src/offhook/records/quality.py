"""Quality of calls, by agent or by day: sums of `calls`, and of the measures of `measures.py`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, case, func, select

from offhook.records import queries, tables
from offhook.records.figures import MEASURED, REFUSALS
from offhook.records.filters import CallFilter
from offhook.records.measures import STAGES
from offhook.records.models import Totals

_DAYS_AT_ONCE: Final = 10
"""Days whose latencies are held at once: a busy one has some 10 MB."""

_measures = tables.measures.c

_CALLS_OF: Final = "calls of "
"""Begin of the name of a count of calls, before the name of a figure."""

_SUMMED: Final = (
    "stream_ms",
    "spoken_ms",
    "heard_chars",
    "intended_chars",
    "barge_ins",
    "false_barge_ins",
    "suppressed",
    "refused",
)


@dataclass(frozen=True, slots=True)
class StageLatency:
    """Latency of a stage: percentiles in ms over so many turns. None: no turn has it."""

    turns: int
    p50_ms: int | None
    p90_ms: int | None
    p99_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFigures:
    """Figures of some calls. All but `calls`, `live` and `refused_calls` are of ended calls.

    `endings` counts them by slug. `latency` is by stage: listen_ms, think_ms, speak_ms and total_ms
    as Deepgram reports them; first_byte_ms and first_played_ms as Offhook measures them. Of the
    `barge_ins`, the `false_barge_ins` brought no words; `suppressed` sounds did not cut the agent.
    `heard_ratio` is the part of the agent's words that was heard, `silence_ratio` that of the time
    in which nobody spoke; None: there were none. `refused_calls` got no agent; `refused_dials`
    are dials and texts. `cost_micros` is None when no call has a cost; `without_cost` have none.
    `calls_of` has how many calls each figure is made of: those that the filter `figure` finds.
    """

    calls: int
    live: int
    duration_ms: int
    endings: dict[str, int]
    latency: dict[str, StageLatency]
    barge_ins: int
    false_barge_ins: int
    suppressed: int
    heard_ratio: float | None
    silence_ratio: float | None
    refused_calls: int
    refused_dials: int
    cost_micros: int | None
    without_cost: int
    calls_of: dict[str, int]


@dataclass(frozen=True, slots=True)
class QualityGroup:
    """Figures of one agent, or of one day (UTC, ISO 8601): `key`. A day without calls has none."""

    key: str
    figures: QualityFigures


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of all calls of a filter, and of each agent or day. `currency` is that of costs."""

    currency: str
    total: QualityFigures
    groups: list[QualityGroup]


def quality(
    connection: Connection, asked: CallFilter, by: Literal["agent", "day"], currency: str
) -> Quality:
    """Return the figures of the calls that meet a filter of time and agent.

    Agents are ordered by name, days by date. The other conditions of the filter must be None.
    """
    totals = {each.key: each.totals for each in queries.sums(connection, asked, by)}
    key: ColumnElement[Any] = _measures.agent
    if by == "day":
        key = _measures.started_ms // queries.DAY_MS
    measured = _sums(connection, asked, key)
    turns = _latencies(connection, asked, key)
    keys = {of if by == "agent" else queries.iso(of * queries.DAY_MS)[:10]: of for of in measured}
    none: Counter[str] = Counter()
    groups = [
        QualityGroup(
            name,
            _figures(
                totals[name],
                measured.get(keys.get(name), none),
                turns.get(keys.get(name), none),
            ),
        )
        for name in sorted(totals)
    ]
    whole = _figures(_together(totals.values()), _added(measured), _added(turns))
    return Quality(currency, whole, groups)


def _added(groups: Mapping[Any, Counter[str]]) -> Counter[str]:
    whole: Counter[str] = Counter()
    for each in groups.values():
        whole.update(each)
    return whole


def _together(groups: Iterable[Totals]) -> Totals:
    """Return the totals of all groups, as far as figures are made of them."""
    every = [*groups]
    endings: Counter[str] = Counter()
    for each in every:
        endings.update(each.endings)
    costs = [each.cost_micros for each in every if each.cost_micros is not None]
    return Totals(
        calls=sum(each.calls for each in every),
        live=sum(each.live for each in every),
        duration_ms=sum(each.duration_ms for each in every),
        without_cost=sum(each.without_cost for each in every),
        cost_micros=sum(costs) if costs else None,
        endings=dict(sorted(endings.items(), key=lambda one: (-one[1], one[0]))),
    )


def _conditions(asked: CallFilter) -> Iterator[ColumnElement[bool]]:
    if asked.since_ms is not None:
        yield _measures.started_ms >= asked.since_ms
    if asked.until_ms is not None:
        yield _measures.started_ms < asked.until_ms
    if asked.agent is not None:
        yield _measures.agent == asked.agent


def _sums(
    connection: Connection, asked: CallFilter, key: ColumnElement[Any]
) -> dict[Any, Counter[str]]:
    named = key.label("key")
    summed = {name: func.sum(_measures[name]) for name in _SUMMED}
    summed |= {
        _CALLS_OF + name: func.sum(case((is_so, 1), else_=0)) for name, is_so in MEASURED.items()
    }
    labelled = [each.label(name) for name, each in summed.items()]
    query = select(named, *labelled).where(*_conditions(asked)).group_by(named)
    # PostgreSQL's SUM of integers of 64 bits is a Decimal.
    return {
        row.key: Counter({name: int(row._mapping[name]) for name in summed})
        for row in connection.execute(query)
    }


def _latencies(
    connection: Connection, asked: CallFilter, key: ColumnElement[Any]
) -> dict[Any, Counter[str]]:
    """Return how often each latency occurred, as CallMeasures writes it, by group."""
    counts: dict[Any, Counter[str]] = defaultdict(Counter)
    # A row for each day of a group, so that neither the database nor this process holds a year.
    day = _measures.started_ms // queries.DAY_MS
    written = func.aggregate_strings(_measures.latencies, "")
    query = select(key, written).where(*_conditions(asked)).group_by(key, day)
    for of, every in connection.execution_options(yield_per=_DAYS_AT_ONCE).execute(query):
        counts[of].update(every.split())
    return counts


def _figures(totals: Totals, known: Counter[str], latencies: Counter[str]) -> QualityFigures:
    refused_calls = sum(totals.endings.get(slug, 0) for slug in REFUSALS)
    return QualityFigures(
        calls=totals.calls,
        live=totals.live,
        duration_ms=totals.duration_ms,
        endings=totals.endings,
        latency=_stages(latencies),
        barge_ins=known["barge_ins"],
        false_barge_ins=known["false_barge_ins"],
        suppressed=known["suppressed"],
        heard_ratio=_ratio(known["heard_chars"], known["intended_chars"]),
        silence_ratio=_ratio(known["stream_ms"] - known["spoken_ms"], known["stream_ms"]),
        refused_calls=refused_calls,
        refused_dials=known["refused"],
        cost_micros=totals.cost_micros,
        without_cost=totals.without_cost,
        calls_of={
            **{name: known[_CALLS_OF + name] for name in MEASURED},
            "refused_calls": refused_calls,
            "cost_micros": totals.calls - totals.without_cost,
        },
    )


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _stages(latencies: Counter[str]) -> dict[str, StageLatency]:
    by_letter: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for written, count in latencies.items():
        by_letter[written[0]].append((int(written[1:]), count))
    return {name: percentiles(sorted(by_letter[letter])) for name, letter in STAGES.items()}


def percentiles(counted: list[tuple[int, int]]) -> StageLatency:
    """Return percentiles, by nearest rank, of ms in ascending order, each with its count."""
    turns = sum(count for _, count in counted)

    def up_to(percent: int) -> int | None:
        seen = 0
        for ms, count in counted:
            seen += count
            if seen * 100 >= turns * percent:
                return ms
        return None

    return StageLatency(turns, up_to(50), up_to(90), up_to(99))
