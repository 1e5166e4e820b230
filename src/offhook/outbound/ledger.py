"""The ledger: what a dial or an admission depends on, kept in a file and never in the database.

The event loop never waits for the file: a thread of its own does each request.
"""

import asyncio
import hashlib
import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from offhook.clock import MachineClocks
from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.concurrency.thread_job import ThreadJob
from offhook.errors import UserError
from offhook.outbound.errors import TryLaterError
from offhook.outbound.ledger_database import AGAIN_S
from offhook.outbound.ledger_file import SEEN_MAX, LedgerFile, Placement
from offhook.policy.inbound_policy import USES_MAX, CallUse

_log: Final = logging.getLogger("offhook.ledger")

PATIENCE_S: Final = 5.0
"""Seconds that a request waits for the file; nobody is called after that."""

WAITING_MAX: Final = 64
"""Requests that may wait for the file; further requests are refused."""

GATHER_S: Final = 0.1
"""Seconds for which admitted calls are gathered: a killed server forgets no older ones."""

START_S: Final = 2.0
"""Seconds that a starting server waits for the calls of the earlier run."""

LATEST: Final = 2000
"""Calls of which it is read again what they have used: more than are live at once."""

_T = TypeVar("_T")


def fingerprint(to: str, agent: str, variables: Mapping[str, str]) -> str:
    """Return a digest that is equal for two requests for the same call."""
    data = json.dumps([to, agent, sorted(variables.items())]).encode()
    return hashlib.sha256(data).hexdigest()


class CallLedger(ThreadOwner):
    """The ledger of a data folder, for an event loop. A context manager that runs its thread.

    Several processes may have one each. Its methods do what those of LedgerFile do, and raise
    TryLaterError: E-OUT-23 when the file cannot be used, E-OUT-24 when that takes too long.

    Attributes:
        recent: Marks of the CallSids that were admitted lately, as far as they could be read.
    """

    def __init__(self, path: Path) -> None:
        self.recent: list[int] = []
        self._file = LedgerFile(path)
        self._jobs: deque[ThreadJob] = deque()
        self._seen: deque[int] = deque(maxlen=SEEN_MAX)
        self._clocks = MachineClocks.of_this_machine()
        self._calls_of_the_day: list[CallUse] = []
        self._used: dict[str, CallUse] = {}
        self._gathers = False
        self._is_failing = False
        self._has_started = threading.Event()
        self.thread = BackgroundThread("ledger", self._work)

    def __enter__(self) -> "CallLedger":
        super().__enter__()
        self._has_started.wait(START_S)
        return self

    def _after_stop(self, *, in_time: bool) -> None:
        if in_time:
            self._file.close()

    async def claim(self, placement: Placement) -> Placement | None:
        """Take a key. Return None if it is ours now, else the placement that has it."""
        return await self._do(lambda file: file.claim(placement))

    async def retake(self, old: Placement, new: Placement) -> bool:
        """Replace an attempt that is no call yet; on return it is on disk.

        Return False if it has changed since.
        """
        return await self._do(lambda file: file.retake(old, new))

    async def name(self, placement_id: str, sid: str) -> None:
        """Keep the CallSid of an attempt, also when the caller of this method is cancelled."""
        await self._do(lambda file: file.name(placement_id, sid), always=True)

    async def release(self, placement: Placement) -> None:
        """Free the key of an attempt that certainly became no call."""
        await self._do(lambda file: file.release(placement), always=True)

    async def named(self, sids: Sequence[str]) -> frozenset[str]:
        """Return which of these calls belong to a placement."""
        return await self._do(lambda file: file.named(sids))

    async def is_barred(self, number: str) -> bool:
        """Return whether a number is never to be called."""
        return await self._do(lambda file: file.is_barred(number))

    async def bar(self, number: str) -> None:
        """Bar a number; on return that is on disk. Done also when the caller is cancelled."""
        await self._do(lambda file: file.bar(number), always=True)

    def saw(self, mark: int) -> None:
        """Keep the mark of an admitted CallSid, soon. Does not wait, and never fails."""
        self._seen.append(mark)
        if len(self._seen) == 1:
            self.thread.wake()

    def calls_of_the_day(self, now: float) -> list[CallUse]:
        """Return what the calls of the last day had used when this began; `at` on now's clock."""
        offset = now - self._clocks.monotonic()
        return [replace(use, at=use.at + offset) for use in self._calls_of_the_day]

    async def calls_of_now(self, now: float) -> list[CallUse]:
        """Return what the latest calls of all processes have used; `at` on now's clock."""
        uses = await self._do(lambda file: file.calls_of_the_day(LATEST))
        offset = now - self._clocks.monotonic()
        return [replace(use, at=use.at + offset) for use in uses]

    def used(self, uses: Sequence[CallUse], now: float) -> None:
        """Keep what calls have used, soon. Does not wait, and never fails."""
        offset = self._clocks.monotonic() - now
        is_first = not self._used
        for use in uses:
            if len(self._used) < USES_MAX:
                self._used[use.call] = replace(use, at=use.at + offset)
        if is_first:
            self.thread.wake()

    async def _do(self, work: Callable[[LedgerFile], _T], *, always: bool = False) -> _T:
        """Do work in the thread. What begins late is not done, unless it must be `always`."""
        if len(self._jobs) >= WAITING_MAX:
            raise _too_slow()
        job = ThreadJob(lambda: work(self._file), always=always)
        self._jobs.append(job)
        self.thread.wake()
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer: _T = await job.answer
                return answer
        except TimeoutError:
            raise _too_slow() from None

    # --- the thread ----------------------------------------------------------------------------

    def _work(self) -> float | None:
        if not self._has_started.is_set():
            try:
                self.recent = self._file.recent()
                self._calls_of_the_day = self._file.calls_of_the_day()
            except UserError as error:
                self._fail(error)
            finally:
                self._has_started.set()
        while self._jobs:
            self._jobs.popleft().run()
        if not self._seen and not self._used:
            return None
        if not self._gathers and not self.thread.stopping:
            self._gathers = True
            return GATHER_S
        self._gathers = False
        return self._keep_calls()

    def _keep_calls(self) -> float | None:
        marks, uses = [], []
        while self._seen:
            marks.append(self._seen.popleft())
        while self._used:
            uses.append(self._used.popitem()[1])
        try:
            if marks:
                self._file.saw(marks)
            if uses:
                self._file.used(uses)
        except UserError as error:
            self._fail(error)
            self._seen.extendleft(reversed(marks))
            for use in uses:
                self._used.setdefault(use.call, use)
            self._gathers = True
            return AGAIN_S
        if self._is_failing:
            self._is_failing = False
            _log.warning("the ledger of calls can be used again")
        return None

    def _fail(self, error: UserError) -> None:
        if not self._is_failing:
            self._is_failing = True
            _log.error("%s %s %s", error.code, error.what, error.fix)


def _too_slow() -> TryLaterError:
    return TryLaterError(
        "E-OUT-24",
        "The ledger of calls has not answered in time. Nobody is called without it.",
        "Ask again soon, and see that the disk of records.folder works. Calls go on.",
        AGAIN_S,
    )
