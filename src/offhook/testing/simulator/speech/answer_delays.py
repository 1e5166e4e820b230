"""Delays of the answers of recognisers and synthesisers, which run in processes of their own.

On a busy machine such a process waits for a processor, and the agent or the judge waits for it. The
event loop of the rehearsal is in time meanwhile, so that its lateness does not show that.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from offhook.clock import LoopClock

Told: TypeAlias = Callable[[float], None]


class AnswerDelays:
    """Delays of all answers of a rehearsal's processes, in seconds, for those who watch them.

    `now` returns the time; by default it is that of the running event loop.
    """

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self._now = now or _loop_time
        self._told: list[Told] = []
        self._pending: set[PendingAnswer] = set()

    def ask(self, usual_s: float) -> "PendingAnswer":
        """Note a request that a process with time would answer within `usual_s`."""
        pending = PendingAnswer(self, usual_s, self._now)
        self._pending.add(pending)
        return pending

    @contextmanager
    def watched(self, told: Told) -> Iterator[None]:
        """Have `told` called with each delay until the end of the block.

        Then it is called with those of the requests that have no answer yet.
        """
        self._told.append(told)
        try:
            yield
        finally:
            self._told.remove(told)
            for pending in self._pending:
                told(pending.delay_s)

    def settle(self, pending: "PendingAnswer", delay_s: float) -> None:
        """Report the delay of a request that waits no more."""
        if pending in self._pending:
            self._pending.remove(pending)
            for told in self._told:
                told(delay_s)


class PendingAnswer:
    """A request to a process that has not answered it."""

    def __init__(self, delays: AnswerDelays, usual_s: float, now: Callable[[], float]) -> None:
        self._delays = delays
        self._usual_s = usual_s
        self._now = now
        self._asked_at = now()

    @property
    def delay_s(self) -> float:
        """Delay so far."""
        return max(0.0, self._now() - self._asked_at - self._usual_s)

    def answered(self, work_s: float) -> None:
        """Note the answer, on which the process has worked for `work_s` since it was asked."""
        self._delays.settle(self, max(0.0, self._now() - self._asked_at - work_s))

    def given_up(self) -> None:
        """Note that nobody waits for the answer any more."""
        self._delays.settle(self, self.delay_s)


def _loop_time() -> float:
    return LoopClock(asyncio.get_running_loop()).now()
