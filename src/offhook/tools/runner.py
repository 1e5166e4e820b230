"""Running tools: tasks and threads, arguments in, one short text out."""

import asyncio
import json
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydantic_core

from offhook.call.inputs import ToolFinished
from offhook.tools.declare import BadArguments, Call, ToolError
from offhook.tools.files import AnyTool, Toolbox
from offhook.tools.threads import NoThread, Threads

_log: Final = logging.getLogger("offhook.tools")

RESULT_MAX: Final = 8 * 1024
"""Bytes of UTF-8 that an agent is told; beyond, the rest is cut off, visibly."""

AFTER_HANGUP_S: Final = 60.0
"""How long a tool that may finish after a hang-up has for that."""


class Runner:
    """Runs the tools of every call, in tasks of `group`."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._threads = Threads()

    @property
    def threads(self) -> int:
        """Threads in which tools run, or hang."""
        return self._threads.running.total()

    def for_call(self, toolbox: Toolbox, call: Call) -> "CallTools":
        """What runs the tools of one call."""
        return CallTools(self._group, self._threads, toolbox, call)


@dataclass(slots=True)
class _Run:
    tool: AnyTool | None
    task: asyncio.Task[None]
    begun: bool = False
    """The function itself has been entered."""


class CallTools:
    """The tools of one call: a session.Tools."""

    def __init__(
        self, group: asyncio.TaskGroup, threads: Threads, toolbox: Toolbox, call: Call
    ) -> None:
        self._group = group
        self._threads = threads
        self._toolbox = toolbox
        self._call = call
        self._runs: dict[str, _Run] = {}
        self._done: dict[tuple[str, str], str] = {}
        """Results of irreversible tools, by name and arguments."""

    def run(
        self, call_id: str, name: str, arguments: str, finished: Callable[[ToolFinished], None]
    ) -> None:
        """Begin; `finished` is told once, later, unless it is cancelled."""
        work = self._work(call_id, name, arguments, finished)
        task = self._group.create_task(work, name=f"tool {name}")
        self._runs[call_id] = _Run(self._toolbox.get(name), task)

    def cancel(self, call_id: str, *, over: bool) -> None:
        """Nobody wants the answer any more.

        What cannot be taken back and has begun runs to its end, so that a repeat finds its result.
        """
        run = self._runs.pop(call_id, None)
        if run is None:
            return
        tool = run.tool
        if tool is not None and run.begun:
            if over and tool.finish_after_hangup:
                loop = asyncio.get_running_loop()
                limit = loop.call_later(AFTER_HANGUP_S, run.task.cancel)
                run.task.add_done_callback(lambda task: limit.cancel())
                return
            if not over and tool.irreversible:
                return
        run.task.cancel()

    async def _work(
        self, call_id: str, name: str, arguments: str, finished: Callable[[ToolFinished], None]
    ) -> None:
        outcome = await self._outcome(call_id, name, arguments)
        if self._runs.pop(call_id, None) is not None:
            finished(outcome)

    async def _outcome(self, call_id: str, name: str, arguments: str) -> ToolFinished:
        tool = self._toolbox.get(name)
        if tool is None:
            names = ", ".join(self._toolbox)
            words = f"there is no function {name!r}" + (f"; there are: {names}" if names else "")
            return ToolFinished(call_id, _error(words), "unknown")
        try:
            function, canonical = tool.bind(arguments, self._call)
        except BadArguments as bad:
            return ToolFinished(call_id, _error(str(bad)), "failed")
        known = self._done.get((name, canonical))
        if known is not None:
            return ToolFinished(call_id, known, "answered")
        self._runs[call_id].begun = True
        try:
            if tool.asynchronous:
                result = await function()
            else:
                result = await self._threads.run(name, function)
            content = _text(result)
        except ToolError as told:
            return ToolFinished(call_id, _error(str(told)), "failed")
        except NoThread:
            return ToolFinished(call_id, _error("too much is going on, try later"), "failed")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's function does
            # Its words may hold what was said in the call, so only its kind and line are logged.
            _log.error("the tool %s raised %s at %s", name, type(error).__name__, _where(error))
            return ToolFinished(call_id, _error("the function failed"), "failed")
        if tool.irreversible:
            self._done[name, canonical] = content
        return ToolFinished(call_id, content, "answered")


def _text(result: Any) -> str:
    """What the agent is told: text as it is, anything else as JSON."""
    text = "done" if result is None else result
    if not isinstance(text, str):
        text = pydantic_core.to_json(text, fallback=str).decode()
    data = text.encode("utf-8", "replace")
    if len(data) <= RESULT_MAX:
        return text
    note = f" … (cut: {len(data)} bytes are more than {RESULT_MAX})"
    return data[: RESULT_MAX - len(note.encode())].decode("utf-8", "ignore") + note


def _error(words: str) -> str:
    return json.dumps({"error": words}, ensure_ascii=False)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
