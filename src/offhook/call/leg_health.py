"""What is wrong with a leg that is still there: a broken protocol, or a socket that is full."""

from collections import deque
from typing import Final

from offhook.call import inputs
from offhook.call.call_state import CallState, earliest, is_due
from offhook.call.ending import Slug
from offhook.events.types import Leg, ProtocolViolation

STUCK_S: Final = 10.0
"""How long a socket may take nothing until its leg counts as lost."""
FAULTS_MAX: Final = 20
FAULTS_WINDOW_S: Final = 10.0
"""More violations of one leg's protocol in that time end the call."""

_GARBAGE: Final[dict[Leg, Slug]] = {
    "caller": Slug.CALLER_LEG_GARBAGE,
    "agent": Slug.AGENT_LEG_GARBAGE,
}
_STUCK: Final[dict[Leg, Slug]] = {
    "caller": Slug.CALLER_LEG_STUCK,
    "agent": Slug.AGENT_LEG_STUCK,
}


class LegHealth:
    """Violations of both legs' protocols, lately, and since when a socket is full."""

    def __init__(self, state: CallState) -> None:
        self.violations: Final[dict[Leg, deque[float]]] = {"caller": deque(), "agent": deque()}
        """When each leg has broken its protocol, lately."""
        self._state = state
        self._stuck_at: dict[Leg, float | None] = {"caller": None, "agent": None}

    def violate(self, leg: Leg, what: str, now: float) -> None:
        """Count a message that breaks a leg's protocol; too many end the call."""
        self._state.note(ProtocolViolation(leg, what))
        recent = self.violations[leg]
        recent.append(now)
        while now - recent[0] > FAULTS_WINDOW_S:
            recent.popleft()
        if len(recent) > FAULTS_MAX:
            self._state.end(_GARBAGE[leg], what, now)

    def stall(self, stalled: inputs.LegStalled, now: float) -> None:
        """Give a full socket its time to take data again."""
        self._stuck_at[stalled.leg] = now + STUCK_S

    def recover(self, recovered: inputs.LegRecovered) -> None:
        """Note that a socket takes data again."""
        self._stuck_at[recovered.leg] = None

    def forget_agent(self) -> None:
        """Hold nothing against the next agent leg: this one is gone."""
        self._stuck_at["agent"] = None
        self.violations["agent"].clear()

    def forget_caller(self) -> None:
        """Wait for no socket of a stream that was left; its violations count on."""
        self._stuck_at["caller"] = None

    def due(self) -> float | None:
        """Return when a socket has taken nothing for too long, in seconds."""
        return earliest(*self._stuck_at.values())

    def tick(self, now: float) -> None:
        """End a call of which a socket is stuck."""
        for leg, at in self._stuck_at.items():
            if is_due(at, now):
                self._state.end(_STUCK[leg], "", now)
                return
