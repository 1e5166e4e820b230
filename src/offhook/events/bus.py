"""Publication of events: no subscriber can harm a call or another subscriber."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from offhook.events.types import CallEvent, Subscriber

_log: Final = logging.getLogger("offhook.publisher")

SAID_EVERY_S: Final = 60.0
"""Seconds between two log lines about a subscriber that fails at every event."""


class Publisher:
    """A subscriber that passes each event on to many, in their order. `now` is a clock's."""

    def __init__(self, subscribers: Sequence[Subscriber], now: Callable[[], float]) -> None:
        self._each = [_Guarded(subscriber, now) for subscriber in subscribers]

    @property
    def failures(self) -> int:
        """Number of failures of subscribers."""
        return sum(guarded.failures for guarded in self._each)

    def __call__(self, call_event: CallEvent) -> None:
        """Pass an event on to every subscriber."""
        for guarded in self._each:
            guarded.tell(call_event)


class _Guarded:
    def __init__(self, subscriber: Subscriber, now: Callable[[], float]) -> None:
        self._subscriber = subscriber
        self._now = now
        self._say_again_at = 0.0
        self._unsaid = 0
        self.failures = 0

    def tell(self, call_event: CallEvent) -> None:
        try:
            self._subscriber(call_event)
        except Exception:  # noqa: BLE001 - whatever it is, it is not the call's business
            self.failures += 1
            now = self._now()
            if self.failures > 1 and now < self._say_again_at:
                self._unsaid += 1
                return
            _log.exception(
                "the subscriber %s failed on %s, and %d times since this was last said",
                getattr(self._subscriber, "__qualname__", type(self._subscriber).__qualname__),
                type(call_event.event).__name__,
                self._unsaid,
                extra={"call_sid": call_event.call_sid},
            )
            self._say_again_at = now + SAID_EVERY_S
            self._unsaid = 0
