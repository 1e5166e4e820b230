"""A difference between two calls, and the tolerance for times."""

from dataclasses import dataclass
from typing import Final

TIME_MS: Final = 700
"""Milliseconds by which the start or end of the agent's speech may differ. An event of only one
call, within this time before an interruption or the end, counts as chance."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference from the capture, `at_ms` after the stream's start."""

    at_ms: int
    what: str
