"""Twilio's words for the status of a call.

Source: twilio.md §4.3 (status callbacks), §2.6 (DialCallStatus).
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

Status: TypeAlias = Literal[
    "queued",
    "initiated",
    "ringing",
    "in-progress",
    "completed",
    "busy",
    "no-answer",
    "failed",
    "canceled",
]
Unanswered: TypeAlias = Literal["busy", "no-answer", "failed", "canceled"]

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
"""Every status, in the order in which a call has them."""

FINAL: Final = frozenset(STATUSES[STATUSES.index("completed") :])
"""Statuses after which nothing more happens to a call."""

UNANSWERED: Final[Mapping[str, Unanswered]] = {word: word for word in get_args(Unanswered)}
"""Final statuses of a call that was not answered, each mapped to itself, for words of Twilio's."""

EVENTS: Final = ("initiated", "ringing", "answered", "completed")
"""Values of StatusCallbackEvent. `completed` stands for every final status."""


def outcome_of_dial(status: str) -> Literal["reached"] | Unanswered:
    """Return the outcome that a DialCallStatus means (twilio.md §2.6): `failed` if unknown."""
    if status in ("completed", "answered"):
        return "reached"
    return UNANSWERED.get(status, "failed")
