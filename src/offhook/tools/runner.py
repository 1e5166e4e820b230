"""Running tools: tasks and threads, arguments in, one short text out."""

import asyncio
import contextlib
import dataclasses
import inspect
import json
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from offhook.call.inputs import ToolBegan, ToolFinished, ToolFinishedLate
from offhook.call.phrases import fill
from offhook.concurrency.server_tasks import ServerTasks
from offhook.events.types import FunctionOutcome
from offhook.tools.declare import Call, ToolArgumentsError, ToolError
from offhook.tools.files import AnyTool, Toolbox
from offhook.tools.places import place_of
from offhook.tools.processes import (
    PROCESS_S,
    RaisedInProcessError,
    ToolProcessDiedError,
    ToolProcesses,
)
from offhook.tools.results import as_text
from offhook.tools.threads import STUCK_S, NoThreadError, Threads

_log: Final = logging.getLogger("offhook.tools")

ONCE_MAX: Final = 256
"""Irreversible functions with different arguments that may be run in one call."""

AFTER_HANGUP_S: Final = 60.0
"""Seconds that a tool may go on after a hang-up, if it may finish after one."""

_Answer = tuple[str, FunctionOutcome]

Told: TypeAlias = ToolBegan | ToolFinished | ToolFinishedLate
"""Reports about a function that runs."""


@dataclass(eq=False, slots=True)
class ToolRun:
    """A run of a function for an agent, until nothing of it runs any more."""

    name: str
    tool: AnyTool | None
    call_sid: str
    irrevocable: Callable[[], None]
    """Called when something has begun that cannot be taken back."""
    arguments: str = field(repr=False)
    task: asyncio.Task[None] = field(init=False)
    begun: bool = False
    """True if the function itself has been entered."""
    left: bool = False
    """True if the answer is not awaited any more, while the function runs to its end."""


class Runner:
    """Runs the tools of every call, each in one of the server's `tasks`."""

    def __init__(self, tasks: ServerTasks) -> None:
        self._tasks = tasks
        self._runs: dict[asyncio.Task[None], ToolRun] = {}
        self.threads: Final = Threads()
        self.processes: Final = ToolProcesses()

    @property
    def runs(self) -> tuple[ToolRun, ...]:
        """The runs of all calls that have a task, wanted or not. For any thread."""
        return tuple(self._runs.values())

    def for_call(self, toolbox: Toolbox, call: Call) -> "CallTools":
        """Return a runner of one call's tools."""
        loop = asyncio.get_running_loop()
        for file in {tool.file for tool in toolbox.values() if tool.process}:
            _ = self._tasks.start("start a process for tools", self._warm(file), call_sid=call.sid)
        return CallTools(self, toolbox, dataclasses.replace(call, _loop=loop))

    async def _warm(self, file: str) -> None:
        with contextlib.suppress(NoThreadError, OSError):  # the function will tell of it
            await self.threads.run("process", lambda: self.processes.warm(file))

    def start(self, run: ToolRun, work: Coroutine[Any, Any, None]) -> None:
        """Start the task of a run."""
        run.task = self._tasks.start(f"tool {run.name}", work, call_sid=run.call_sid)
        self._runs[run.task] = run
        run.task.add_done_callback(self._runs.pop)


class CallTools:
    """The tools of one call: a session.Tools.

    Attributes:
        fault: The last exception that a function raised, with file and line; no agent is told it.
    """

    def __init__(self, runner: Runner, toolbox: Toolbox, call: Call) -> None:
        self._runner = runner
        self._toolbox = toolbox
        self._call = call
        self._runs: dict[str, ToolRun] = {}
        self._first: Final = call._once
        self.fault = ""

    def run(self, call_id: str, name: str, arguments: str, told: Callable[[Told], None]) -> None:
        """Start a function; `told` gets its end, and its beginning if it cannot be taken back.

        A cancelled function reports nothing more, unless it must not be stopped: then `told` gets
        its end as ToolFinishedLate.
        """
        tool = self._toolbox.get(name)
        run = ToolRun(name, tool, self._call.sid, lambda: told(ToolBegan(call_id)), arguments)
        self._runs[call_id] = run

        async def work() -> None:
            content, outcome = await self._outcome(run)
            if self._runs.get(call_id) is run:
                del self._runs[call_id]
                told(ToolFinished(call_id, content, outcome))
            elif run.left:
                told(ToolFinishedLate(call_id, content, outcome))

        self._runner.start(run, work())

    def cancel(self, call_id: str, *, over: bool) -> None:
        """Cancel the run: its answer is not wanted any more.

        What cannot be taken back and has begun runs to its end, so that a repeat finds its result.
        """
        run = self._runs.pop(call_id, None)
        if run is None:
            return
        tool = run.tool
        if tool is not None and run.begun:
            if over and tool.finish_after_hangup:
                run.left = True
                loop = asyncio.get_running_loop()
                limit = loop.call_later(AFTER_HANGUP_S, run.task.cancel)
                run.task.add_done_callback(lambda task: limit.cancel())
                return
            if not over and tool.irreversible and not tool.repeatable:
                run.left = True
                return
        run.task.cancel()
        asyncio.get_running_loop().call_later(STUCK_S, _name_unstoppable, run)

    async def _outcome(self, run: ToolRun) -> _Answer:
        """Return the agent's answer, whatever the function does. Raises only CancelledError."""
        tool, phrases = run.tool, self._call._phrases
        if tool is None:
            names = ", ".join(self._toolbox)
            words = fill(phrases.no_function, name=repr(run.name))
            if names:
                words += fill(phrases.functions_are, names=names)
            return _error(words), "unknown"
        try:
            function, canonical = tool.bind(run.arguments, self._call)
            if tool.irreversible and not tool.repeatable:
                return await self._only_once(run, tool, function, canonical)
            return await self._result(run, tool, function), "answered"
        except ToolProcessDiedError as died:
            return self._died(tool, died)
        except ToolArgumentsError as wrong:
            return _error(wrong.words(phrases)), "failed"
        except ToolError as told:
            return _error(str(told)), "failed"
        except NoThreadError:
            return _error(phrases.functions_busy), "failed"
        except asyncio.CancelledError as error:
            if run.task.cancelling():
                raise
            # Something that the function waited for was cancelled.
            return self._failed(tool, error)
        except (Exception, SystemExit, BaseExceptionGroup) as error:  # noqa: BLE001 - user code
            return self._failed(tool, error)

    async def _only_once(
        self, run: ToolRun, tool: AnyTool, function: Callable[[], Any], canonical: str
    ) -> _Answer:
        key = (tool.file, tool.name, canonical)
        known = self._first.get(key)
        if known is not None:
            # The first run may still go on: it was given up or cancelled, and this is a repeat.
            if not known.done():
                run.irrevocable()
            return await asyncio.shield(known)
        if len(self._first) >= ONCE_MAX:
            raise ToolError(self._call._phrases.functions_used_up)
        first = self._first[key] = asyncio.get_running_loop().create_future()
        try:
            answer: _Answer = await self._result(run, tool, function), "answered"
        except ToolProcessDiedError as died:
            if not died.has_begun:
                del self._first[key]
            answer = self._died(tool, died)
        except BaseException as error:
            # The agent may try again; a repeat that waits for this run is told that it failed.
            del self._first[key]
            failed = self._call._phrases.function_failed
            words = str(error) if isinstance(error, ToolError) else failed
            first.set_result((_error(words), "failed"))
            raise
        first.set_result(answer)
        return answer

    async def _result(self, run: ToolRun, tool: AnyTool, function: Callable[[], Any]) -> str:
        def begun() -> None:
            run.begun = True
            if tool.irreversible:
                run.irrevocable()

        if tool.asynchronous:
            begun()
            result = await function()
        elif tool.process:
            result = await self._in_process(tool, run.arguments, begun)
        else:
            result = await self._runner.threads.run(
                tool.name, lambda: _unless_awaited(function()), code=tool.code, begun=begun
            )
            if inspect.isawaitable(result):  # a sync function around an async one
                result = await result
        return self._call._phrases.function_done if result is None else as_text(result)

    async def _in_process(
        self, tool: AnyTool, arguments: str, begun: Callable[[], None]
    ) -> str | None:
        """Return a function's result from a process, which is ended if that is not awaited."""
        job = self._runner.processes.job(tool, arguments, self._call)
        limit = asyncio.get_running_loop().call_later(PROCESS_S, job.call_off)
        try:
            text: str | None = await self._runner.threads.run(
                tool.name, job.run, code=tool.code, begun=begun
            )
        finally:
            limit.cancel()
            job.call_off()
        return text

    def _died(self, tool: AnyTool, died: ToolProcessDiedError) -> _Answer:
        phrases = self._call._phrases
        self.fault = f"its process has ended, with the exit code {died.code}"
        _log.error(
            "the process of the tool %s has ended, with the exit code %d", tool.name, died.code
        )
        if tool.irreversible and died.has_begun:
            return _error(phrases.outcome_unknown), "outcome_unknown"
        return _error(phrases.function_failed), "failed"

    def _failed(self, tool: AnyTool, error: BaseException) -> _Answer:
        # The error's message may hold what was said, so only its kind and line are told.
        kind, where = type(error).__name__, place_of(error, tool.file)
        if isinstance(error, RaisedInProcessError):
            kind, where = error.kind, error.where
        self.fault = f"{kind} at {where}"
        _log.error("the tool %s raised %s at %s", tool.name, kind, where)
        return _error(self._call._phrases.function_failed), "failed"


def _unless_awaited(result: Any) -> Any:
    """Return a result as text, in the thread of the function, since that may run user code."""
    return result if result is None or inspect.isawaitable(result) else as_text(result)


def _name_unstoppable(run: ToolRun) -> None:
    if not run.task.done():
        extra = {"call_sid": run.call_sid}
        _log.warning("the tool %s was cancelled, and does not stop", run.name, extra=extra)


def _error(words: str) -> str:
    return as_text(json.dumps({"error": words}, ensure_ascii=False))
