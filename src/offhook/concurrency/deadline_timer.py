"""Timer of a call's next deadline."""

from collections.abc import Callable

from offhook.clock import Clock, Timer


class DeadlineTimer:
    """Timer that calls `fire` when a deadline falls due, or earlier.

    Most deadlines move away with every frame of audio. So the timer is left to fire early, and
    is set again only when something falls due sooner.
    """

    def __init__(self, clock: Clock, fire: Callable[[], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._timer: Timer | None = None
        self._at = 0.0

    def arm(self, due: float | None) -> None:
        """Set the timer to fire at `due` at the latest, in seconds; None: no deadline."""
        if due is None or (self._timer is not None and self._at <= due):
            return
        self._cancel()
        self._at = due
        self._timer = self._clock.call_at(due, self._on_due)

    def end(self) -> None:
        """Stop the timer for good: it refers to its owner no more."""
        self._cancel()
        self._fire = _nothing

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_due(self) -> None:
        self._timer = None
        self._fire()


def _nothing() -> None:
    """Do nothing: the call is over."""
