"""The one timer of a call."""

from collections.abc import Callable

from offhook.clock import Clock, Timer


class DeadlineTimer:
    """Calls `fire` when a deadline falls due, or earlier.

    Deadlines mostly move away, with every frame of audio: the timer is left to fire early then,
    and is armed anew only when something falls due sooner.
    """

    def __init__(self, clock: Clock, fire: Callable[[], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._timer: Timer | None = None
        self._at = 0.0

    def arm(self, due: float | None) -> None:
        """Fire at `due` at the latest; None: nothing falls due."""
        if due is None or (self._timer is not None and self._at <= due):
            return
        self.cancel()
        self._at = due
        self._timer = self._clock.call_at(due, self._on_due)

    def cancel(self) -> None:
        """Do not fire."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_due(self) -> None:
        self._timer = None
        self._fire()
