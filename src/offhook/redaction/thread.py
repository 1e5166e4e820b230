"""The thread that redacts: what a text takes, however much, keeps no call's audio waiting."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.config import RedactionSettings
from offhook.events.bus import Publisher
from offhook.events.types import CallEvent, CallReleased, Subscriber
from offhook.redaction.redactor import Redaction

WAITING_MAX: Final = 10_000
"""Events that wait for the thread. At more, the event loop redacts the oldest ones itself."""


class RedactionThread(ThreadOwner):
    """A subscriber that passes every event on without personal data, in the order of their coming.

    While it is entered a thread redacts, and the event loop passes on what is done. When the thread
    does not run the event loop does both at once. So it does where a call's lines are given to
    another process: with the last event of the call in this one, and when `settle` is called.
    """

    def __init__(
        self,
        wanted: RedactionSettings,
        publish: Subscriber,
        now: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._redaction = Redaction(wanted)
        self._publish = publish
        self._loop = loop
        self._redact = Publisher([self._redact_one], now)
        self._waiting: deque[CallEvent] = deque()
        self._redacted: deque[CallEvent] = deque()
        self._lock = threading.Lock()
        """Held while one event is redacted: two at once would change their order."""
        self.thread = BackgroundThread("redaction", self._work)

    @property
    def failures(self) -> int:
        """Number of events that were lost, as a fault kept them from being redacted."""
        return self._redact.failures

    def __call__(self, call_event: CallEvent) -> None:
        """Pass an event on without personal data, some ms from now."""
        self._waiting.append(call_event)
        is_last = isinstance(call_event.event, CallReleased)
        if is_last or not self.thread.is_running:
            self.settle()
            return
        self.thread.wake()
        if len(self._waiting) > WAITING_MAX:
            self._redact_next()
            self._pass_on()

    def _after_stop(self, *, in_time: bool) -> None:
        self.settle()

    def settle(self) -> None:
        """Redact and pass on whatever waits. On the event loop."""
        while self._redact_next():
            pass
        self._pass_on()

    def _pass_on(self) -> None:
        while self._redacted:
            self._publish(self._redacted.popleft())

    # --- any thread ---

    def _work(self) -> None:
        while self._redact_next():
            self._loop.call_soon_threadsafe(self._pass_on)

    def _redact_next(self) -> bool:
        """Redact the oldest event that waits; return False if none does."""
        with self._lock:
            if not self._waiting:
                return False
            self._redact(self._waiting.popleft())
            return True

    def _redact_one(self, call_event: CallEvent) -> None:
        self._redacted.extend(self._redaction.redacted(call_event))
