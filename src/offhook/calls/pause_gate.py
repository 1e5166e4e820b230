"""Gate of one session: what comes in after a pause of its process waits until its owner is known.

A process that was stopped for longer than its lease, by a debugger, a suspended machine or SIGSTOP,
may have lost its calls to another one meanwhile. So nothing is said, done or dialled before it has
read who owns them: then the session goes on with what waited, or is dropped (Session.fence).
"""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from offhook.fleet.pulse import Pulse

HELD_BYTES: Final = 256 * 1024
"""Bytes of audio that wait, of both sides; later audio is dropped."""
HELD_MAX: Final = 5000
"""Inputs that wait; later ones are dropped. Both sides of a call send some 100 a second."""


class PauseGate:
    """Gate of one session. `start` runs a task of the session's call."""

    __slots__ = ("_bytes", "_held", "_is_open", "_now", "_pulse", "_start")

    def __init__(
        self,
        pulse: Pulse,
        now: Callable[[], float],
        start: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._pulse = pulse
        self._now = now
        self._start = start
        self._held: deque[Callable[[], None]] = deque()
        self._bytes = 0
        self._is_open = True

    def is_shut(self, now: float) -> bool:
        """Return whether an input must wait: after a pause, and behind those that wait already."""
        return not self._is_open or self._pulse.is_late(now)

    def hold(self, work: Callable[[], None], size: int = 0) -> None:
        """Keep an input for later; `size` is that of its audio, in bytes."""
        if len(self._held) >= HELD_MAX or (size and self._bytes + size > HELD_BYTES):
            return
        self._bytes += size
        self._held.append(work)
        if self._is_open:
            self._is_open = False
            self._start(self._pass_on())

    async def until_open(self) -> None:
        """Wait while inputs must wait."""
        if self.is_shut(self._now()):
            await self._pulse.settled(self._now)

    def drop(self) -> None:
        """Forget what waits, as the call is another process's."""
        self._held.clear()
        self._is_open = True

    async def _pass_on(self) -> None:
        await self._pulse.settled(self._now)
        self._is_open = True
        self._bytes = 0
        for _ in range(len(self._held)):
            if self._held:
                self._held.popleft()()
