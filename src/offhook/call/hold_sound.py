"""Hold sound of one call: what the caller hears while the agent's leg is being replaced.

It is the agent's own "One moment, please.", if that was said in this call, and then a soft tone
every two seconds. Silence on a telephone says that the line is dead.
"""

from typing import Final

from offhook.audio import TONE
from offhook.call.agent_link import AgentLink
from offhook.call.agent_loss import HOLD_AFTER_S
from offhook.call.call_state import CallState, is_due
from offhook.call.commands import Play
from offhook.call.phases import Phase
from offhook.call.turns import Turns

PAUSE_S: Final = 1.8
"""Seconds between the end of a hold sound and the next one: a tone of 200 ms comes every 2 s."""


class HoldSound:
    """Hold sound of one call."""

    def __init__(self, state: CallState, link: AgentLink, turns: Turns) -> None:
        self._state = state
        self._link = link
        self._turns = turns

    def due(self) -> float | None:
        """Return when the next sound is played, in seconds; None: never."""
        outage = self._link.outage
        if outage is None or self._state.phase is not Phase.SETTLING or self._turns.is_muted:
            return None
        return max(outage.hold_at, self._turns.ends_at + HOLD_AFTER_S)

    def tick(self, now: float) -> None:
        """Play the next sound; the next agent's speech simply follows it."""
        outage = self._link.outage
        if outage is None or not is_due(self.due(), now):
            return
        playback = self._turns.playback
        audio = TONE if outage.is_held else playback.kept or TONE
        outage.is_held = True
        self._state.do(Play(playback.hold(audio, now)))
        outage.hold_at = playback.ends_at + PAUSE_S
