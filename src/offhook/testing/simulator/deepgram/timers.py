"""Timers of one session, which are all cancelled when it ends."""

from collections.abc import Callable

from offhook.clock import Clock, Timer


class Timers:
    """Set of timers on a clock that have not fired."""

    def __init__(self, clock: Clock) -> None:
        self.now = clock.now
        self._clock = clock
        self._set: set[Timer] = set()

    def at(self, when: float, act: Callable[[], None]) -> Timer:
        """Call `act` once, at `when`, in seconds of the clock."""

        def fire() -> None:
            self._set.discard(timer)
            act()

        timer = self._clock.call_at(when, fire)
        self._set.add(timer)
        return timer

    def after(self, seconds: float, act: Callable[[], None]) -> Timer:
        """Call `act` once, that many seconds from now."""
        return self.at(self.now() + seconds, act)

    def cancel(self, timer: Timer | None) -> None:
        """Cancel a timer, if it is not None."""
        if timer is not None:
            timer.cancel()
            self._set.discard(timer)

    def cancel_all(self) -> None:
        """Cancel all timers."""
        for timer in self._set:
            timer.cancel()
        self._set.clear()
