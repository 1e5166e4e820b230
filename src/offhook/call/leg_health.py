"""Faults of a leg that is still there: protocol violations, or a socket that stays full."""

from typing import Final

from offhook.call import agent_loss, inputs
from offhook.call.call_state import CallState, earliest, is_due
from offhook.call.ending import Slug
from offhook.events.types import Leg, ProtocolViolation

STUCK_S: Final = 10.0
"""Seconds that a socket may take no data before its leg counts as lost."""
FAULTS_MAX: Final = 20
FAULTS_WINDOW_S: Final = 10.0
"""Seconds in which violations of one leg's protocol are counted; too many end the call."""

_GARBAGE: Final[dict[Leg, Slug]] = {
    "caller": Slug.CALLER_LEG_GARBAGE,
    "agent": Slug.AGENT_LEG_GARBAGE,
}


class LegHealth:
    """Recent violations of both legs' protocols, and since when a socket is full."""

    def __init__(self, state: CallState) -> None:
        self.violations: Final[dict[Leg, list[float]]] = {"caller": [], "agent": []}
        """Times of each leg's recent protocol violations, in seconds."""
        self._state = state
        self._stuck_at: dict[Leg, float | None] = {"caller": None, "agent": None}

    def violate(self, leg: Leg, what: str, now: float) -> None:
        """Count a message that breaks a leg's protocol; too many end the call.

        While an operator speaks with the caller, too many of the agent's end its leg alone.
        """
        self._state.note(ProtocolViolation(leg, what))
        recent = self.violations[leg]
        recent.append(now)
        while now - recent[0] > FAULTS_WINDOW_S:
            recent.pop(0)
        if len(recent) <= FAULTS_MAX:
            return
        if leg == "agent" and self._state.is_taken:
            self._state.steps.lose_agent(agent_loss.garbage(what), now)
        else:
            self._state.steps.end(_GARBAGE[leg], what, now)

    def stall(self, stalled: inputs.LegStalled, now: float) -> None:
        """Start the time limit in which a full socket must take data again."""
        self._stuck_at[stalled.leg] = now + STUCK_S

    def recover(self, recovered: inputs.LegRecovered) -> None:
        """Note that a socket takes data again."""
        self._stuck_at[recovered.leg] = None

    def forget_agent(self) -> None:
        """Forget the agent leg's violations and stall, as the leg is gone."""
        self._stuck_at["agent"] = None
        self.violations["agent"].clear()

    def forget_caller(self) -> None:
        """Forget the stall of a stream that was left; its violations still count."""
        self._stuck_at["caller"] = None

    def due(self) -> float | None:
        """Return when a socket has taken no data for too long, in seconds; None: never."""
        return earliest(*self._stuck_at.values())

    def tick(self, now: float) -> None:
        """End a call whose caller's socket is stuck; replace an agent's leg that is."""
        if is_due(self._stuck_at["caller"], now):
            self._state.steps.end(Slug.CALLER_LEG_STUCK, "", now)
        elif is_due(self._stuck_at["agent"], now):
            self._stuck_at["agent"] = None
            self._state.steps.lose_agent(agent_loss.stuck(), now)
