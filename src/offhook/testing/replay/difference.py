"""A difference between two calls, and how far times may lie apart before there is one."""

from dataclasses import dataclass
from typing import Final

TIME_MS: Final = 700
"""By how much a time may differ: when the agent begins, and when it falls silent. Whatever happened
on one side alone, so shortly before an interruption or the end, is a matter of chance."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that was not as captured, `at_ms` from the stream's start."""

    at_ms: int
    what: str
