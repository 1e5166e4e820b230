"""Tasks of the server: a fault in one ends at most the call that needs it.

A task that raises would end its TaskGroup, and with it every other task of the server and every
live call. So the server has one owner of tasks, which starts every task of its group.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, TypeVar

from offhook.call_context import current_call, of_call

_log: Final = logging.getLogger("offhook.tasks")

RESTART_S: Final = (0.1, 1.0, 5.0, 30.0)
"""Seconds to wait before kept work restarts: after its first fault, and each further one."""

CALM_S: Final = 60.0
"""Seconds after its last fault for which kept work counts as failing."""

_T = TypeVar("_T")


def _nobody(call_sid: str, what: str) -> None:
    """Report a fault to no call."""


class ServerTasks:
    """Owner of the tasks of `group`, which logs and counts an exception and ends no other task.

    After a fault in a task that a call needs, `failed` gets the CallSid and the kind of the
    exception.
    """

    def __init__(
        self, group: asyncio.TaskGroup, failed: Callable[[str, str], None] = _nobody
    ) -> None:
        self._group = group
        self._failed = failed
        self._failing: dict[str, asyncio.TimerHandle] = {}
        self.faults = 0
        """Number of unexpected exceptions."""

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of kept work that has failed within the last CALM_S seconds."""
        return tuple(self._failing)

    def start(
        self,
        name: str,
        work: Coroutine[Any, Any, _T],
        *,
        call_sid: str = "",
        ends_call: bool = True,
    ) -> asyncio.Task[_T | None]:
        """Do `work` in a task, whose result is None when the work has raised.

        `name` is the kind of work, for the log. Without a `call_sid` the task belongs to
        the call for which it was started, if any (call_context.of_call). With `ends_call` False
        the call goes on without the task: a fault is logged with the call, and `failed` not called.
        """
        call_sid = call_sid or current_call.get()
        with of_call(call_sid):
            contained = self._contain(name, work, call_sid, ends_call=ends_call)
            task = self._group.create_task(contained, name=name)
        # A task that is cancelled before its first step never enters the coroutine it was given.
        task.add_done_callback(lambda _: work.close())
        return task

    def keep(
        self,
        name: str,
        make: Callable[[], Coroutine[Any, Any, None]],
        *,
        until: asyncio.Event | None = None,
    ) -> asyncio.Task[None]:
        """Do the work that `make` returns until it ends by itself; restart it after each fault.

        Once `until` is set nothing is restarted: a fault ends the work.
        """
        return self._group.create_task(self._keep(name, make, until or asyncio.Event()), name=name)

    def contained(self, name: str, *, call_sid: str = "") -> "_Contained":
        """Return a context manager for a step of the server's own, or of a call, which may fail.

        A fault in it is logged and counted, and what follows it is done. `name` is the step.
        """
        return _Contained(self, name, call_sid, ends_call=True)

    async def _contain(
        self, name: str, work: Coroutine[Any, Any, _T], call_sid: str, *, ends_call: bool
    ) -> _T | None:
        with _Contained(self, name, call_sid, ends_call=ends_call):
            return await work
        return None

    async def _keep(
        self, name: str, make: Callable[[], Coroutine[Any, Any, None]], until: asyncio.Event
    ) -> None:
        faults = 0
        while not until.is_set():
            with self.contained(name):
                await make()
                return
            if until.is_set():
                _log.error("%s ended by a fault, and is not started again", name)
                return
            faults = faults + 1 if name in self._failing else 0
            self._count_as_failing(name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESTART_S[min(faults, len(RESTART_S) - 1)]):
                    await until.wait()

    def _count_as_failing(self, name: str) -> None:
        before = self._failing.pop(name, None)
        if before is not None:
            before.cancel()
        loop = asyncio.get_running_loop()
        self._failing[name] = loop.call_later(CALM_S, self._failing.pop, name, None)

    def _on_fault(self, name: str, error: BaseException, call_sid: str, *, ends_call: bool) -> None:
        self.faults += 1
        extra = {"call_sid": call_sid} if call_sid else {}
        _log.error("a fault in the task %r", name, exc_info=error, extra=extra)
        if not call_sid or not ends_call:
            return
        try:
            self._failed(call_sid, type(error).__name__)
        except Exception:  # noqa: BLE001 - as in _contain
            self.faults += 1
            _log.exception("a fault while a call was ended for a fault", extra=extra)


class _Contained:
    """Context manager that reports any exception to its owner, and lets none through.

    It lets through the cancellation of the running task: work may raise one by itself, too.
    """

    __slots__ = ("_call_sid", "_ends_call", "_name", "_owner")

    def __init__(self, owner: ServerTasks, name: str, call_sid: str, *, ends_call: bool) -> None:
        self._owner = owner
        self._name = name
        self._call_sid = call_sid
        self._ends_call = ends_call

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None or isinstance(error, GeneratorExit):
            return False
        if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
            return False
        self._owner._on_fault(self._name, error, self._call_sid, ends_call=self._ends_call)
        return True


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
