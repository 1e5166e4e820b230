"""The calls that each figure of `quality.py` is made of, as a filter of calls."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import ColumnElement, exists

from offhook.call.ending import Slug
from offhook.records import tables
from offhook.records.measures import STAGES

REFUSALS: Final = (Slug.CALL_REFUSED.slug, Slug.SERVER_FULL.slug)
"""Endings of calls that got no agent: by the rules of `inbound:`, or at capacity."""

_calls = tables.calls.c
_measures = tables.measures.c

MEASURED: Final[Mapping[str, ColumnElement[bool]]] = {
    **{name: _measures.latencies.like(f"%{letter}%") for name, letter in STAGES.items()},
    "barge_ins": _measures.barge_ins > 0,
    "false_barge_ins": _measures.false_barge_ins > 0,
    "suppressed": _measures.suppressed > 0,
    "heard_ratio": _measures.intended_chars > 0,
    "silence_ratio": _measures.stream_ms > 0,
    "refused_dials": _measures.refused > 0,
}
"""Condition on the measures of a call, by the figure that it then is a part of."""

_COUNTED: Final[Mapping[str, ColumnElement[bool]]] = {
    "refused_calls": _calls.slug.in_(REFUSALS),
    "cost_micros": _calls.cost_micros.is_not(None),
}
"""Condition on a row of `calls`, by figure."""

FIGURES: Final = (*MEASURED, *_COUNTED)
"""Names of the figures, as QualityFigures and its stages of latency have them."""


def is_part_of(figure: str) -> ColumnElement[bool]:
    """Return the condition on a row of `calls` that a figure is made of that call, among others."""
    own = _COUNTED.get(figure)
    if own is not None:
        return own
    return exists().where(_measures.call_sid == _calls.sid, MEASURED[figure])
