"""The result of looking at one part of a set-up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Status: TypeAlias = Literal["good", "remark", "bad"]
"""Result of a check: `bad` prevents calls, a `remark` is worth knowing."""


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check of a set-up.

    Attributes:
        name: The part.
        status: How it is.
        reason: What was found. It holds no secret.
        command: The one command or change that helps; empty where nothing has to be done.
    """

    name: str
    status: Status
    reason: str
    command: str = ""


def good(name: str, reason: str) -> Check:
    """Return a check that found nothing wrong."""
    return Check(name, "good", reason)


def remark(name: str, reason: str, command: str) -> Check:
    """Return a check that found what is worth knowing."""
    return Check(name, "remark", reason, command)


def bad(name: str, reason: str, command: str) -> Check:
    """Return a check that found what keeps calls from working."""
    return Check(name, "bad", reason, command)


def summary(checks: Sequence[Check]) -> dict[str, int]:
    """Return how many checks have each status."""
    found = Counter(check.status for check in checks)
    return {status: found[status] for status in get_args(Status)}
