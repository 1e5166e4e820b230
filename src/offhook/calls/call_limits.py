"""Limits on new calls: places, sessions of Deepgram, and the event loop's lag.

A call beyond a limit gets the agent's `busy` answer before Deepgram is dialled. Calls that were
admitted are not affected.
"""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from offhook.config import Config
from offhook.deepgram.session_budget import SessionBudget

_log: Final = logging.getLogger("offhook.server")

LATE_BEATS: Final = 3
"""Beats in a row that must be too late: one alone is a single long piece of work."""

CALM_BEATS: Final = 10
"""Beats in a row that must be well in time before new calls are taken again: a second."""


class CallLimit(StrEnum):
    """The limit for which a call is refused; a label of `offhook_calls_refused_total`."""

    CAPACITY = "at capacity"
    SESSIONS = "no agent session left"
    LAG = "the event loop is late"


class LagGuard:
    """Guard against overload: decides by the lateness of the event loop's beats.

    Attributes:
        is_late: True while the event loop is too late for further calls.
    """

    def __init__(self, max_lag_ms: int) -> None:
        """Take the lateness in ms that a beat may have; 0 switches the guard off."""
        self.is_late = False
        self._max_ms = max_lag_ms
        self._beats = 0
        """Beats in a row that say the opposite of `is_late`."""

    def on_beat(self, late_s: float) -> None:
        """Take note of a beat of the event loop and the seconds by which it was late."""
        if not self._max_ms:
            return
        late_ms = late_s * 1000
        # Half of the limit, so that the state does not change with every beat.
        says_other = late_ms < self._max_ms / 2 if self.is_late else late_ms > self._max_ms
        self._beats = self._beats + 1 if says_other else 0
        if self._beats < (CALM_BEATS if self.is_late else LATE_BEATS):
            return
        self.is_late, self._beats = not self.is_late, 0
        if self.is_late:
            _log.error(
                "the event loop is %d ms late, %d times in a row: further calls get the busy"
                " answer until it is in time again (server.max_lag_ms)",
                late_ms,
                LATE_BEATS,
            )
        else:
            _log.warning("the event loop has recovered; new calls are accepted")


class CallLimits:
    """Limits on new calls of one server.

    Attributes:
        sessions: The budget of Deepgram sessions.
        lag: The guard that is told of the event loop's beats.
    """

    def __init__(self, capacity: int, sessions: SessionBudget, lag: LagGuard) -> None:
        """Take `capacity`, the number of calls at once."""
        self.sessions: Final = sessions
        self.lag: Final = lag
        self._capacity = capacity

    @classmethod
    def of(cls, config: Config, now: Callable[[], float]) -> "CallLimits":
        """Return the limits of a configuration, with a clock in seconds."""
        server = config.server
        budget = SessionBudget(config.deepgram.max_sessions, now)
        return cls(server.capacity, budget, LagGuard(server.max_lag_ms))

    def reached(self, live: int, without_agent: int) -> CallLimit | None:
        """Return the limit that keeps a further call out, if there is one.

        `live` is the number of live calls, `without_agent` that of those which have no session of
        Deepgram now and will dial.
        """
        if live >= self._capacity:
            return CallLimit.CAPACITY
        if not self.sessions.has_room(without_agent):
            return CallLimit.SESSIONS
        return CallLimit.LAG if self.lag.is_late else None
