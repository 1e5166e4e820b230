"""The thread of the operator's side that computes the peaks of recordings that have ended."""

import logging
from collections import deque
from typing import Final, NamedTuple

from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.errors import UserError
from offhook.events.types import (
    CallEnded,
    Event,
    RecordingEnded,
    RecordingFailed,
    RecordingStarted,
)
from offhook.recordings import reading
from offhook.recordings.files import LocalFiles

_log: Final = logging.getLogger("offhook.recordings")

LOOK_S: Final = 1.0
"""Seconds until a recording that has ended is looked at, and between looks: its last audio is
written, and its header gets the sizes, soon after the event."""

LOOKS_MAX: Final = 30
"""Looks at one recording. Peaks that were not computed then are computed by the first reader."""

WAITING_MAX: Final = 10_000
"""Recordings that go on, and that wait; beyond, the oldest is left to its first reader."""


class _Ended(NamedTuple):
    name: str
    looks: int


class PeaksThread(ThreadOwner):
    """Computes the peaks of recordings in `store` that end, while entered.

    `told` takes the events of calls, in any thread, and does not wait.
    """

    def __init__(self, store: LocalFiles) -> None:
        self._store = store
        self._names: dict[str, str] = {}
        self._ended: deque[_Ended] = deque(maxlen=WAITING_MAX)
        self.thread: BackgroundThread = BackgroundThread("peaks", self._work, gather_s=LOOK_S)

    def told(self, call_sid: str, event: Event) -> None:
        """Take an event of a call: its recording may have begun or ended."""
        match event:
            case RecordingStarted():
                if len(self._names) >= WAITING_MAX:  # calls that have ended on another machine
                    del self._names[next(iter(self._names))]
                self._names[call_sid] = event.name
            case RecordingEnded() | RecordingFailed() | CallEnded():
                name = self._names.pop(call_sid, None)
                if name is not None:
                    self._ended.append(_Ended(name, 0))
                    self.thread.wake()

    def _work(self) -> float | None:
        """Compute what can be computed; return the seconds until the next look, if one is due."""
        for _ in range(len(self._ended)):
            if self.thread.stopping:
                return None
            name, looks = self._ended.popleft()
            if not self._is_done(name) and looks + 1 < LOOKS_MAX:
                self._ended.append(_Ended(name, looks + 1))
        return LOOK_S if self._ended else None

    def _is_done(self, name: str) -> bool:
        try:
            if reading.find(self._store, name).growing:
                return False
            reading.peaks(self._store, name)
        except (UserError, OSError) as error:  # erased, or on the disk of another node
            _log.debug("the peaks of %s are left to its first reader: %s", name, error)
        return True
