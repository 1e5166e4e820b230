"""Call side and operator side of `offhook serve` in one process, for Windows and debuggers."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from offhook.api.reading import Readers
from offhook.concurrency.event_loop import on_stop_signal
from offhook.concurrency.parts_owner import PartsOwner
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import AppConfig, load
from offhook.link.in_process import InProcessLink
from offhook.observability.log_format import log_to
from offhook.observability.stderr import Printer
from offhook.serving.call_serving import CallServing, check
from offhook.serving.listen import public_socket
from offhook.serving.operator_server import OperatorServer
from offhook.serving.options import ServeOptions
from offhook.serving.record_keeping import RecordKeeping
from offhook.serving.running import run_logged


class OperatorSide(PartsOwner):
    """The operator's side of a server in the same process. A context manager that runs its threads.

    Attributes:
        keeping: The followers of the journals, and the API.
        link: The link to the Server of the call side.
        server: The operator's server, which `run` runs, and restarts after a fault.
    """

    def __init__(
        self, config: AppConfig, readers: Readers | None = None, captures: Path | None = None
    ) -> None:
        """Compose the parts. Raises UserError for a configuration that cannot be served."""
        self.link: Final = InProcessLink(lambda: self.failing)
        self.keeping: Final = RecordKeeping(config, self.link, readers, captures)
        self.server: Final = OperatorServer(config, self.keeping)
        self._tasks: ServerTasks | None = None
        self._fault: Exception | None = None
        self._faulted: Final = asyncio.Event()

    def _enter_parts(self, stack: ExitStack) -> None:
        stack.enter_context(self.keeping)

    @asynccontextmanager
    async def run(self, printer: Printer | None = None) -> AsyncIterator[None]:
        """Run the operator's server beside the call side; a fault in it ends no call."""
        async with asyncio.TaskGroup() as group:
            tasks = self._tasks = ServerTasks(group)
            stopping = self.server.stopping
            _ = tasks.keep("operator's server", lambda: self._serve(printer), until=stopping)
            try:
                yield
            finally:
                self.server.stop()

    async def _serve(self, printer: Printer | None) -> None:
        try:
            await self.server.run(printer)
        except Exception as fault:
            self._fault = fault
            self._faulted.set()
            raise

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of what has failed within the last minute: the operator's server, or nothing."""
        return () if self._tasks is None else self._tasks.failing

    async def until_started(self) -> None:
        """Wait until the operator's server answers. Raises its first fault if that comes before."""
        loop = asyncio.get_running_loop()
        waits = [loop.create_task(each.wait()) for each in (self.server.started, self._faulted)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if self._fault is not None and not self.server.started.is_set():
            raise self._fault


def serve_in_process(
    options: ServeOptions, environ: Mapping[str, str], listening: int | None
) -> int:
    """Serve until told to stop; return the exit code. Raises UserError."""
    config = load(options.config, environ, overrides=options.overrides())
    check(config)
    sock = public_socket(config, listening)
    operator = OperatorSide(config, captures=options.capture)
    calls = CallServing(config, options, sock)
    secrets = (*config.secrets, operator.keeping.api_token.get_secret_value())

    async def answer(printer: Printer) -> None:
        server = calls.server(printer, operator.link)
        on_stop_signal(server.stop)
        async with operator.run(printer):
            await server.run(lambda: calls.print_banner(printer))

    # The call side ends first, so that its last events are followed.
    with log_to(sys.stderr.fileno(), config.logs, secrets) as printer, operator, calls:
        return run_logged("server", answer(printer))
