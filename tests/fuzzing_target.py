"""A target for fuzzers: a parser of what somebody else wrote."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """`read` is given what somebody sent. `bad` are the errors that it may raise."""

    read: Callable[[bytes], object]
    bad: tuple[type[Exception], ...]
    seeds: list[bytes] = field(default_factory=list)

    def run(self, data: bytes) -> None:
        """Read, and let through what no caller expects."""
        with suppress(*self.bad):
            self.read(data)
