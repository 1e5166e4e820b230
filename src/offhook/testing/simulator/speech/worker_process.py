"""Worker processes for recognition and synthesis, and the messages to and from them.

A message has a number (of a session, or of a sentence), a kind, and bytes; each worker has its own
kinds. The first message of a process is READY.
"""

import asyncio
import contextlib
import logging
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import BinaryIO, ClassVar, Final, ParamSpec

from offhook.errors import UserError
from offhook.text.extras import install_command

HEADER: Final = struct.Struct("<IIB")
"""Header of a message: number, size of the bytes that follow, and kind."""

READY: Final = 255
"""Kind of the first message of a process."""

START_S: Final = 120.0
"""Wall-clock seconds that a process may take to start, on a machine that is very busy too."""

HANG_S: Final = 60.0
"""Wall-clock seconds without an answer after which a process is killed and started anew."""

LEAVE_S: Final = 2.0
"""Wall-clock seconds that a process may take to end when its input has ended."""

DEATHS_MAX: Final = 3
"""Number of deaths in a row, without a message in between, that ends the restarts."""

_log: Final = logging.getLogger("offhook.testing.local")
_Given = ParamSpec("_Given")


class WorkerProcess:
    """Process that `running` starts, restarts when it dies, and ends."""

    name: ClassVar[str]
    """Name of the process in log lines and errors."""
    missing: ClassVar[str]
    """Code of the error for a process that does not start."""
    extra: ClassVar[str] = "local"
    """Extra that installs what the process needs."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = (sys.executable, "-m", module, *arguments)
        self._process: Process | None = None
        self._is_ready = False
        self._owes_answer = False
        self._hung: asyncio.TimerHandle | None = None
        self.deaths = 0

    def send(
        self, number: int, kind: int, data: bytes = b"", *, backlog_max: float = float("inf")
    ) -> bool:
        """Send a message. Return False if the process is gone or over `backlog_max` bytes wait."""
        if self._process is None:
            return False
        assert self._process.stdin is not None  # it was started with a pipe
        pipe = self._process.stdin
        if pipe.is_closing() or pipe.transport.get_write_buffer_size() > backlog_max:
            return False
        pipe.write(HEADER.pack(number, len(data), kind) + data)
        return True

    async def has_room(self) -> None:
        """Wait until the process has room for more messages, or is gone."""
        if self._process is not None:
            assert self._process.stdin is not None  # it was started with a pipe
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.drain()

    def on_message(self, number: int, kind: int, data: bytes) -> None:
        """Process a message of the worker process."""
        raise NotImplementedError

    def on_death(self) -> None:
        """Fail the open requests, because the process has died."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start the process. Raises UserError when it does not start."""
        self._is_ready = False
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,  # Ctrl-C must reach only the parent
        )
        ready = None
        try:
            async with asyncio.timeout(START_S):
                ready = await self._read()
        except TimeoutError:
            await self.close()
            raise UserError(
                self.missing,
                f"The {self.name} has not started within {START_S:g} s.",
                "Stop other programs, and try again.",
            ) from None
        if ready is None:
            await self.close()
            assert process.stderr is not None  # it was started with a pipe
            said = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
            raise UserError(
                self.missing,
                f"The {self.name} does not start: {said[-1] if said else 'it said nothing'}.",
                f"Install it: {install_command(self.extra)}",
            )
        self._is_ready = True
        if self._owes_answer:  # it was asked while it started, which may take longer
            self.expect_answer()

    async def run(self) -> None:
        """Process messages; restart the process when it dies, until DEATHS_MAX deaths in a row."""
        deaths = 0
        while True:
            while (message := await self._read()) is not None:
                deaths = 0
                self.on_message(*message)
            deaths += 1
            self._process = None
            self.deaths += 1
            self.on_death()
            if deaths == DEATHS_MAX:
                _log.error("the %s has died again, and is not started any more", self.name)
                return
            _log.error("the process of the %s has died: it is started anew", self.name)
            try:
                await self.start()
            except UserError as problem:
                _log.error("%s %s %s", problem.code, problem.what, problem.fix)
                self.on_death()  # of what was asked meanwhile
                return

    def expect_answer(self) -> None:
        """Have the process killed if it sends nothing for HANG_S, unless that is so already.

        The time begins when the process has started: START_S bounds that.
        """
        self._owes_answer = True
        if self._is_ready and self._hung is None:
            self._hung = asyncio.get_running_loop().call_later(HANG_S, self.kill)

    def expect_nothing(self) -> None:
        """Let the process be silent: it has answered, or has died."""
        self._owes_answer = False
        if self._hung is not None:
            self._hung.cancel()
            self._hung = None

    def kill(self) -> None:
        """Kill the process, because it hangs: `run` starts it anew."""
        if self._process is not None and self._process.returncode is None:
            _log.error("the %s does not answer: it is killed", self.name)
            self._process.kill()

    async def close(self) -> None:
        """End the process: close its input, and kill it after LEAVE_S."""
        self.expect_nothing()
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None  # it was started with a pipe
        process.stdin.close()
        try:
            async with asyncio.timeout(LEAVE_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _read(self) -> tuple[int, int, bytes] | None:
        assert self._process is not None  # start() was called before
        assert self._process.stdout is not None  # it was started with a pipe
        pipe = self._process.stdout
        try:
            number, size, kind = HEADER.unpack(await pipe.readexactly(HEADER.size))
            return number, kind, await pipe.readexactly(size)
        except asyncio.IncompleteReadError:
            return None


@contextlib.asynccontextmanager
async def running(
    workers: Sequence[WorkerProcess], later: Sequence[WorkerProcess] = ()
) -> AsyncIterator[None]:
    """Run processes until the end of the block. Raises UserError when one does not start.

    Those in `later` start by themselves, and one that does not start ends nothing.
    """
    try:
        for worker in workers:
            await worker.start()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(worker.run(), name=worker.name) for worker in (*workers, *later)
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        for worker in (*workers, *later):
            await worker.close()


def call_back(
    callback: Callable[_Given, None], *given: _Given.args, **named: _Given.kwargs
) -> None:
    """Call a callback, and log its exceptions, which must not end a process that others share."""
    try:
        callback(*given, **named)
    except Exception:  # noqa: BLE001 - a callback may raise any exception
        _log.exception("a fault in a callback of the local engines")


# --- within the process ---


def requests(source: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, kind and bytes of each message, until the input ends."""
    while len(head := source.read(HEADER.size)) == HEADER.size:
        number, size, kind = HEADER.unpack(head)
        yield number, kind, source.read(size)


def answer(sink: BinaryIO, number: int, kind: int, data: bytes = b"") -> None:
    """Send a message to the owner of this process."""
    sink.write(HEADER.pack(number, len(data), kind) + data)
    sink.flush()
