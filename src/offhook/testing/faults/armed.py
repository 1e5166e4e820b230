"""Faults that wait for their moment, and those that have happened."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from offhook.clock import Clock
from offhook.testing.faults.fault import Fault, FaultyEnd


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault, and the time in seconds of the clock at which it was committed."""

    fault: Fault
    at: float


class ArmedFaults:
    """Faults that wait for their moment, each with how often it is still to happen."""

    def __init__(self, clock: Clock, faults: Iterable[Fault] = ()) -> None:
        self.happened: Final[list[Happened]] = []
        """Faults that were committed, in order."""
        self._now = clock.now
        self._left: list[tuple[Fault, int]] = [(fault, fault.times) for fault in faults]

    def add(self, fault: Fault) -> None:
        """Arm a fault."""
        self._left.append((fault, fault.times))

    def due(self, end: FaultyEnd, moment: str) -> list[Fault]:
        """Return the faults that are due, and count each of them once.

        The moment "" is the opening of a socket, or any request.
        """
        if not self._left:
            return []
        found = [fault for fault, _ in self._left if _is_due(fault, end, moment)]
        if found:
            left = [(one, times - (one in found)) for one, times in self._left]
            self._left = [(one, times) for one, times in left if times]
        return found

    def note(self, fault: Fault) -> None:
        """Note that a fault is committed now."""
        self.happened.append(Happened(fault, self._now()))

    def never(self) -> list[Fault]:
        """Return the faults that have not happened once."""
        return [fault for fault, times in self._left if times == fault.times]


def _is_due(fault: Fault, end: FaultyEnd, moment: str) -> bool:
    if fault.end is not end:
        return False
    name = "" if fault.at is None else fault.at.name
    if fault.opening and end is FaultyEnd.AGENT:
        name = "dial"
    return name == moment
