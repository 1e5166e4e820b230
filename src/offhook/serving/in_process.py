"""Call side and operator side of `offhook serve` in one process, for Windows and debuggers."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from offhook.api.reading import Readers
from offhook.concurrency.event_loop import on_stop_signal
from offhook.concurrency.parts_owner import PartsOwner
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

_log: Final = logging.getLogger("offhook.server")


class OperatorSide(PartsOwner):
    """The operator's side of a server in the same process. A context manager that runs its threads.

    Attributes:
        keeping: The followers of the journals, and the API.
        link: The link to the Server of the call side.
        server: The operator's server, which `run` runs.
    """

    def __init__(
        self, config: AppConfig, readers: Readers | None = None, captures: Path | None = None
    ) -> None:
        """Compose the parts. Raises UserError for a configuration that cannot be served."""
        self.link: Final = InProcessLink()
        self.keeping: Final = RecordKeeping(config, self.link, readers, captures)
        self.server: Final = OperatorServer(config, self.keeping)

    def _enter_parts(self, stack: ExitStack) -> None:
        stack.enter_context(self.keeping)

    @asynccontextmanager
    async def run(self, printer: Printer | None = None) -> AsyncIterator[None]:
        """Run the operator's server beside the call side; a fault in it ends no call."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._contained(printer), name="operator")
            try:
                yield
            finally:
                self.server.stop()

    async def _contained(self, printer: Printer | None) -> None:
        try:
            await self.server.run(printer)
        except Exception:  # noqa: BLE001 - any fault of the operator's side ends no call
            _log.exception("a fault ended the operator's server; calls go on")


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
