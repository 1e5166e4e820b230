"""The clock of a process: server, simulated Twilio and stand-in read no other.

Times are seconds on a monotonic scale without a stated origin, so a change of the wall clock or of
summer time never moves them.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final, Protocol


class Timer(Protocol):
    """A scheduled callback that can be cancelled."""

    def cancel(self) -> None:
        """Cancel the timer. Harmless when it has fired already."""


class Clock(Protocol):
    """The time, and timers that call back at a time."""

    def now(self) -> float:
        """Return the time in seconds, monotonic."""

    def woke_at(self) -> float:
        """Return the time of the process's last wake-up, in seconds, to a millisecond."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, at `when` or as soon after it as the process gets to it.

        Loops keep time in whole milliseconds: it may be up to one early, so ask `now`.
        """


class LoopClock:
    """The system's monotonic clock and the event loop's timers, `speed` times as fast as the world.

    The loop's own time is not used: uvloop reads it once per wake-up and in whole milliseconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, speed: float = 1.0) -> None:
        self._loop = loop
        self._speed = speed
        # Read for every audio frame: at the usual speed this is the system's function itself.
        self.now: Callable[[], float] = time.monotonic if speed == 1.0 else self._scaled

    def woke_at(self) -> float:
        """Return the loop's own time; under uvloop, that of its last wake-up."""
        return self._loop.time() * self._speed

    def _scaled(self) -> float:
        return time.monotonic() * self._speed

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` at `when`, in this clock's seconds."""
        return self._loop.call_later((when - self.now()) / self._speed, callback)


def wall_clock(zone: tzinfo | None = None) -> datetime:
    """Return date and time in a zone, or in this machine's: for people, never for measurements."""
    return datetime.now(zone)


_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class MachineClocks:
    """The clocks by which entries of a file age from one process to the next.

    Within one `boot` of the machine, which Linux names, `monotonic` tells how old an entry is,
    whatever happens to the wall clock. Across boots, and where `boot` is empty, `wall` does, in
    seconds since 1970.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    boot: str = ""

    @classmethod
    def of_this_machine(cls) -> "MachineClocks":
        """Return the system's clocks, with the boot if the system names it."""
        try:
            boot = _BOOT_ID.read_text().replace("-", "")[:8]
        except OSError:
            boot = ""
        return cls(boot=boot if re.fullmatch("[0-9a-f]{8}", boot) else "")

    def age_s(self, boot: str, monotonic_ms: int, wall_ms: int) -> float:
        """Return the age in seconds of an entry; below 0: by the wall clock it is of the future."""
        if self.boot and self.boot == boot:
            return self.monotonic() - monotonic_ms / 1000
        return self.wall() - wall_ms / 1000
