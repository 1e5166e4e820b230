"""Processes for tools that compute: such a function holds nothing of the server's interpreter.

A process runs the functions of one file, one at a time. It is started for the first call of an
agent that has such a function, kept for the next, and ended when its function is called off, dies
or never returns. The methods that block are for the functions' threads (threads.py).
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Final, Self, cast

from offhook.tools import modules
from offhook.tools.declare import Call, ToolError
from offhook.tools.files import AnyTool
from offhook.tools.process_messages import BEGUN, FunctionReply, FunctionRequest, receive, send

PROCESSES_MAX: Final = 8
"""Processes at once; further functions wait for one."""

IDLE_MAX: Final = 2
"""Processes of one file that are kept for the next function."""

PROCESS_S: Final = 300.0
"""Seconds after which a function in a process is ended that nothing else has ended."""

END_S: Final = 1.0
"""Seconds that a process may take to end when its input has ended."""


class ToolProcessDiedError(Exception):
    """Error: the process ended, with the exit code `code`, before its function returned.

    `has_begun` is False if the function certainly had not begun.
    """

    def __init__(self, code: int, *, has_begun: bool) -> None:
        super().__init__(f"exit code {code}")
        self.code = code
        self.has_begun = has_begun


class RaisedInProcessError(Exception):
    """Error: the function raised an exception of the kind `kind` at `where`, file and line."""

    def __init__(self, kind: str, where: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.where = where


class ToolProcess:
    """A process for the functions of a file, as the file was at `stamp`."""

    def __init__(self, file: str, stamp: int) -> None:
        self.file: Final = file
        self.stamp: Final = stamp
        self._process = subprocess.Popen(  # noqa: S603 - our own program, a file of the user's
            [sys.executable, "-P", "-m", "offhook.tools.process_worker", file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C must reach the server alone
        )
        self._to = cast("BinaryIO", self._process.stdin)
        self._from = cast("BinaryIO", self._process.stdout)

    @property
    def is_alive(self) -> bool:
        """True until the process has ended."""
        return self._process.poll() is None

    def ask(self, request: FunctionRequest) -> FunctionReply:
        """Have a function run. Raises ToolProcessDiedError. Blocks."""
        first, reply = b"", None
        with contextlib.suppress(OSError, ValueError):
            send(self._to, request)
            first = self._from.read(1)
            reply = receive(self._from, FunctionReply)
        if reply is None:
            self.kill()
            raise ToolProcessDiedError(self.reap(), has_begun=first == BEGUN)
        return reply

    def kill(self) -> None:
        """Kill the process, whatever it does. For any thread; the one that asks then goes on."""
        with contextlib.suppress(OSError):
            if os.name != "posix":
                self._process.kill()
            elif self.is_alive:
                os.killpg(self._process.pid, signal.SIGKILL)  # what it has started, too

    def end(self) -> None:
        """Have an idle process end by itself, or kill it. Blocks for END_S at most."""
        with contextlib.suppress(OSError):
            self._to.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self.kill()
        self.reap()

    def reap(self) -> int:
        """Wait until the process, which was killed, has ended. Return its exit code."""
        code = self._process.wait()
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()
        return code


class ProcessJob:
    """One run of a function in a process. `pool` has the process before and after it."""

    def __init__(self, pool: "ToolProcesses", file: str, request: FunctionRequest) -> None:
        self.file: Final = file
        self.process: ToolProcess | None = None
        self.is_called_off = False
        self._pool = pool
        self._request = request

    def run(self) -> str | None:
        """Return the function's result as text, or None for none. Blocks.

        Raises ToolError, RaisedInProcessError and ToolProcessDiedError.
        """
        try:
            reply = self._ask()
        except ToolProcessDiedError as died:
            if died.has_begun or self.is_called_off:
                raise
            reply = self._ask()  # the process may have died while it was idle
        if reply.outcome == "refused":
            raise ToolError(reply.text or "")
        if reply.outcome == "raised":
            raise RaisedInProcessError(reply.text or "", reply.where)
        return reply.text

    def call_off(self) -> None:
        """End the function's process. For any thread; harmless when the function has returned."""
        with self._pool.changed:
            self.is_called_off = True
            if self.process is not None:
                self.process.kill()
            self._pool.changed.notify_all()

    def _ask(self) -> FunctionReply:
        process = self._pool.take(self)
        try:
            reply = process.ask(self._request)
        except BaseException:
            self._pool.lose(self)
            raise
        self._pool.give_back(self, process)
        return reply


class ToolProcesses:
    """The processes of one server. A context manager that ends them.

    Attributes:
        changed: Lock of the processes; notified when there may be room for one.
        count: Number of processes.
        died: Number of processes that have died and were not called off.
    """

    def __init__(self) -> None:
        self.changed: Final = threading.Condition()
        self.count = 0
        self.died = 0
        self._idle: list[ToolProcess] = []
        self._jobs: set[ProcessJob] = set()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self.count -= len(idle)
            jobs = tuple(self._jobs)
            self.changed.notify_all()
        for job in jobs:
            job.call_off()
        for process in idle:
            process.kill()
            process.reap()

    def job(self, tool: AnyTool, arguments: str, call: Call) -> ProcessJob:
        """Return a run of a function that has not begun."""
        request = FunctionRequest(
            tool.name,
            arguments,
            call.sid,
            call.agent,
            call.caller,
            call.called,
            dict(call.variables),
            call.direction,
        )
        return ProcessJob(self, tool.file, request)

    def warm(self, file: str) -> None:
        """Start a process for a file if it is missing, so that its first function need not wait.

        Blocks for some ms.
        """
        with self.changed:
            has_one = any(process.file == file for process in self._idle)
            if has_one or self._is_closed or self.count >= PROCESSES_MAX:
                return
            self.count += 1
        self._keep(self._start(file))

    # --- for the jobs --------------------------------------------------------------------------

    def take(self, job: ProcessJob) -> ToolProcess:
        """Give a job a process, once there is room for one. Blocks.

        Raises ToolProcessDiedError if the job is called off meanwhile, or the server stops.
        """
        stale: list[ToolProcess] = []
        try:
            with self.changed:
                while True:
                    if job.is_called_off or self._is_closed:
                        raise ToolProcessDiedError(0, has_begun=False)
                    process = self._take_idle(job.file, stale)
                    if process is not None:
                        self._give(job, process)
                        return process
                    if self.count < PROCESSES_MAX:
                        self.count += 1
                        break
                    self.changed.wait()
        finally:
            for each in stale:
                each.kill()
                each.reap()
        process = self._start(job.file)
        with self.changed:
            self._give(job, process)
        return process

    def give_back(self, job: ProcessJob, process: ToolProcess) -> None:
        """Take a job's process back, for the next one. Blocks for some ms."""
        with self.changed:
            self._jobs.discard(job)
            job.process = None
        self._keep(process, is_killed=job.is_called_off)

    def lose(self, job: ProcessJob) -> None:
        """Note that a job's process has ended."""
        with self.changed:
            self._jobs.discard(job)
            job.process = None
            self.count -= 1
            self.died += not job.is_called_off
            self.changed.notify_all()

    # --- inside --------------------------------------------------------------------------------

    def _give(self, job: ProcessJob, process: ToolProcess) -> None:
        job.process = process
        self._jobs.add(job)
        if job.is_called_off or self._is_closed:
            process.kill()

    def _take_idle(self, file: str, stale: list[ToolProcess]) -> ToolProcess | None:
        """Return an idle process for a file as it is now; move those of no use to `stale`."""
        stamp, before = modules.stamp(Path(file)), len(stale)
        found = None
        for process in tuple(self._idle):
            of_file = process.file == file
            if not process.is_alive or (of_file and process.stamp != stamp):
                self._idle.remove(process)
                stale.append(process)
            elif of_file and found is None:
                self._idle.remove(process)
                found = process
        self.count -= len(stale) - before
        if found is None and self._idle and self.count >= PROCESSES_MAX:
            stale.append(self._idle.pop(0))  # of another file
            self.count -= 1
        return found

    def _start(self, file: str) -> ToolProcess:
        try:
            return ToolProcess(file, modules.stamp(Path(file)))
        except BaseException:
            with self.changed:
                self.count -= 1
                self.changed.notify_all()
            raise

    def _keep(self, process: ToolProcess, *, is_killed: bool = False) -> None:
        """Keep an idle process, or end it if there are enough."""
        with self.changed:
            kept = sum(each.file == process.file for each in self._idle) < IDLE_MAX
            kept = kept and not is_killed and not self._is_closed
            if kept:
                self._idle.append(process)
            else:
                self.count -= 1
            self.changed.notify_all()
        if not kept:
            process.end()
