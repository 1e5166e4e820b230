"""A watchdog of the interpreter: names a function that stops every call of this process.

An async tool that computes, or waits without `await`, stops the event loop. A sync tool in a thread
stops it by a call into C that keeps Python's lock, or by computing beside many others that do. So
the loop beats ten times a second, and a thread checks the beat.

While a call into C keeps the lock, no other thread of Python runs, this one included: such a
function is named when that call returns. It is the one whose thread had a core meanwhile.
"""

import asyncio
import logging
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final

import offhook
from offhook.clock import Clock
from offhook.concurrency.background_thread import BackgroundThread
from offhook.concurrency.deadline_timer import DeadlineTimer
from offhook.tools.places import outward, place
from offhook.tools.runner import ToolRun
from offhook.tools.threads import Running

_log: Final = logging.getLogger("offhook.tools")

BEAT_S: Final = 0.1
STOP_S: Final = 5.0
HELD_S: Final = 0.3
"""Seconds after which a beat is late. The function is named within that and two beats."""

HOG_SHARE: Final = 0.5
HOG_MIN_S: Final = 0.1
"""Seconds of CPU that functions' threads must have used, and HOG_SHARE of the process's CPU time,
to be named. Wall time does not count: other processes may have had the cores."""

_NOT_USERS: Final = (
    str(Path(offhook.__file__).parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<",
)
"""Beginnings of the names of files that hold no code of a user."""


@dataclass(frozen=True, slots=True)
class Held:
    """A hold of the interpreter for `held_ms`, by `tool` at `where` (file and line).

    `call_sid` is empty where the call is not known.
    """

    tool: str
    where: str
    call_sid: str
    held_ms: int


class Watchdog:
    """Watches the loop on which it is entered, until it is left.

    The thread calls `runs` and `threads` for the functions that may hold it. The loop calls `late`
    at each beat with the seconds by which it was late, and `held` after each hold.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        runs: Callable[[], Sequence[ToolRun]],
        threads: Callable[[], Sequence[Running]],
        late: Callable[[float], None],
        held: Callable[[Held], None],
    ) -> None:
        self._clock = clock
        self._runs = runs
        self._threads = threads
        self._late = late
        self._held = held
        self._beat_at = 0.0
        self._latest_s = 0.0
        """Seconds by which the latest beat was late, of those since the thread looked."""
        self._timer: Final = DeadlineTimer(clock, self._beat, goes_on=True)
        self._found: Held | None = None
        self._outside: frozenset[FrameType] = frozenset()
        """Frames that are on the stack of the loop's thread whatever runs on the loop."""
        self._cpu: dict[Running | None, float] = {}
        """CPU seconds by thread, and under None those of the process."""
        self._named = False
        self.thread: Final = BackgroundThread("watchdog", self._look, stop_s=STOP_S)

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beat_at = self._clock.now()
        self._loop.call_soon(self._note_outside)
        self._timer.arm(self._beat_at)
        self._cpu = self._cpu_now()
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self._timer.end()
        self.thread.stop()
        self._outside = frozenset()

    # --- on the loop ---

    def _note_outside(self) -> None:
        self._outside = frozenset(outward(sys._getframe().f_back))

    def _beat(self) -> None:
        now = self._clock.now()
        late = max(0.0, now - self._beat_at - BEAT_S)
        self._latest_s = max(self._latest_s, late)
        self._beat_at = now
        self._timer.arm(now + BEAT_S)
        found, self._found = self._found, None
        self._late(late)
        if found is not None:
            self._held(replace(found, held_ms=max(found.held_ms, round(late * 1000))))

    # --- in the thread ---

    def _look(self) -> float:
        silent = self._clock.now() - self._beat_at
        # `late` is the only sign when the lock was kept and the loop was first to get it.
        late, self._latest_s = self._latest_s, 0.0
        held = max(silent, late + BEAT_S)
        if held < HELD_S:
            self._named = False
            self._cpu = self._cpu_now()
        elif not self._named:
            found = self._find(held)
            self._named = found is not None
            if found is not None:
                self._tell(found, over=silent < HELD_S)
        return BEAT_S

    def _tell(self, found: Held, *, over: bool) -> None:
        _log.error(
            "%s %s the interpreter: nothing of any call moved for %d ms; it is at %s",
            found.tool,
            "held" if over else "holds",
            found.held_ms,
            found.where,
            extra={"call_sid": found.call_sid} if found.call_sid else {},
        )
        self._found = found  # the next beat tells, when it is over

    def _find(self, held: float) -> Held | None:
        held_ms = round(held * 1000)
        frames = sys._current_frames()
        frame = frames.get(self._loop_thread)
        inside = []
        for each in outward(frame):
            if each in self._outside:
                break
            inside.append(each)
        if inside:
            found = self._on_loop(inside)
            if found is not None:
                tool, where, call_sid = found
                return Held(tool, where, call_sid, held_ms)
        return self._in_thread(held_ms)

    def _on_loop(self, stack: Sequence[FrameType]) -> tuple[str, str, str] | None:
        """Return tool, place and CallSid of a stack, innermost frame first; None: no user code."""
        runs = [(run, run.tool.file) for run in self._runs() if run.tool is not None]
        task = asyncio.current_task(self._loop)
        for run, file in sorted(runs, key=lambda each: each[0].task is not task):
            for frame in stack:
                if frame.f_code.co_filename == file:
                    others = [each for each, its_file in runs if its_file == file]
                    known = run.task is task or len(others) == 1
                    name = run.name if known else frame.f_code.co_name
                    return name, place(frame, file), run.call_sid if known else ""
        for frame in stack:
            file = frame.f_code.co_filename
            if not file.startswith(_NOT_USERS):  # a lookup, or a file of tools that is read again
                return frame.f_code.co_name, place(frame, file), ""
        return None

    def _in_thread(self, held_ms: int) -> Held | None:
        """Return the hold by the thread that used a core the longest since the last look in time.

        None: functions' threads did not use enough of the CPU time.
        """
        used = {each: cpu - self._cpu.get(each, 0.0) for each, cpu in self._cpu_now().items()}
        whole = used.pop(None, 0.0)
        threads = {each: cpu for each, cpu in used.items() if each is not None}
        if sum(threads.values()) < max(HOG_SHARE * whole, HOG_MIN_S):
            return None
        hog = max(threads, key=threads.__getitem__)
        return Held(hog.name, hog.where(), hog.call_sid, held_ms)

    def _cpu_now(self) -> dict[Running | None, float]:
        now: dict[Running | None, float] = {None: time.process_time()}
        for each in self._threads():
            cpu = each.cpu_s()
            if cpu is not None:
                now[each] = cpu
        return now
