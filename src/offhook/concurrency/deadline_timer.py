"""Timer of an owner's next deadline."""

from collections.abc import Callable
from typing import Final

from offhook.clock import Clock, Timer

AGAIN_S: Final = 0.1
"""Seconds after a fault at which a timer that `goes_on` fires again."""


class DeadlineTimer:
    """Timer that calls `fire` when a deadline falls due, or earlier.

    Most deadlines move away with every frame of audio. So the timer is left to fire early, and
    is set again only when something falls due sooner.

    What `fire` raises is passed on to the event loop, which counts it, and the timer can be set
    again. One that `goes_on` fires again AGAIN_S later: it is for work that others wait for, and
    that sets the timer itself.
    """

    def __init__(self, clock: Clock, fire: Callable[[], None], *, goes_on: bool = False) -> None:
        self._clock = clock
        self._fire = fire
        self._goes_on = goes_on
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
        try:
            self._fire()
        except Exception:
            if self._goes_on:
                self.arm(self._clock.now() + AGAIN_S)
            raise


def _nothing() -> None:
    """Do nothing: the owner has ended."""
