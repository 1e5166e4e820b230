"""Requests for outbound calls and their answers, without anything that carries calls.

The operator process has these, too, and imports no more than them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """A request for an outbound call."""

    to: str
    agent: str
    variables: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    """Idempotency key: a request with the same key is the same call."""

    zone: str | None = None
    """The time zone of the person; None: every zone in which the number may be."""

    within_hours: bool = False
    """True if the call may be placed only within the agent's calling hours."""


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call that was placed. `again` is True if an earlier request placed it."""

    sid: str
    again: bool


@dataclass(frozen=True, slots=True)
class PlacedCallState:
    """The state of a call that we placed, as far as it is known."""

    sid: str
    status: str
    final: bool
    answered_by: str | None
    slug: str | None
    words: str | None
