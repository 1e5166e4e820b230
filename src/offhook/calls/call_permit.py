"""Permission of a process of a fleet to act on its calls: after a pause it may have lost some."""

from collections.abc import Callable
from typing import Final

from offhook.fleet.pulse import Pulse

LOST_MAX: Final = 10_000
"""Calls that are known to be another process's; beyond, the oldest are forgotten."""


class CallPermit:
    """Permission to act on the calls of one process. `now` is its monotonic clock, in seconds.

    What a session decides waits behind its PauseGate. This is for what was decided before a pause,
    or by somebody else: a request to Twilio that is repeated, a timer, a question of Twilio's.
    """

    def __init__(self, pulse: Pulse, now: Callable[[], float]) -> None:
        self._pulse = pulse
        self._now = now
        self._lost: dict[str, None] = {}
        """Calls that this process had and another one has, or is to have, oldest first."""

    async def until_known(self) -> None:
        """Wait, after a pause of the process, until it knows which of its calls others have."""
        await self._pulse.settled(self._now)

    async def may_act(self, call_sid: str) -> bool:
        """Return, once it is known, whether no other process has taken that call from this one."""
        await self.until_known()
        return call_sid not in self._lost

    def lose(self, call_sid: str) -> None:
        """Note that another process has a call, or is to have it."""
        self._lost[call_sid] = None
        if len(self._lost) > LOST_MAX:
            del self._lost[next(iter(self._lost))]

    def regain(self, call_sid: str) -> None:
        """Note that this process has a call, which it may have lost before."""
        self._lost.pop(call_sid, None)
