"""The operator process of `offhook serve`: everything that only reads or follows.

It is started by the supervisor, as `python -m offhook.serving.operator_process ARGUMENTS`. It
ends when its pipe `life` ends: by then there is neither a supervisor nor a call process. At SIGHUP
it ends, too: the supervisor starts it anew, as the configuration or the version is now.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

if __name__ == "__main__":
    gc.disable()  # what is imported stays: looking through it takes a tenth of the start

from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import load_app
from offhook.observability.log_format import log_to
from offhook.observability.stderr import Printer
from offhook.serving.heartbeat import beat
from offhook.serving.operator_server import OperatorServer
from offhook.serving.options import process_arguments
from offhook.serving.record_keeping import RecordKeeping
from offhook.serving.running import exit_code, run_logged

SWITCH_S: Final = 0.001
"""Seconds that a thread may keep the interpreter while the event loop waits for it.

Ten threads follow, query and deliver. By Python's own 5 ms each, a command waits for several.
"""


def main(arguments: str, environ: Mapping[str, str]) -> int:
    """Serve the operator until the pipe ends; return the exit code. Raises UserError."""
    # The signals are for the call process: what it has yet to tell must be recorded.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    _give_way()
    options, given = process_arguments(arguments)
    life, beats = given["life"], given["beats"]
    for descriptor in (life, beats):
        os.set_inheritable(descriptor, False)
    sys.setswitchinterval(SWITCH_S)
    config = load_app(options.config, environ, overrides=options.overrides())
    keeping = RecordKeeping(config, captures=options.capture)
    secrets = (*config.secrets, keeping.api_token.get_secret_value())
    server = OperatorServer(config, keeping)
    gc.freeze()  # modules, models, routes
    gc.enable()
    with log_to(sys.stderr.fileno(), config.logs, secrets, "operator") as printer, keeping:
        return run_logged("operator process", _until_over(server, printer, life, beats))


def _give_way() -> None:
    """Have this process never interrupt another one when it wakes up (Linux, sched(7)).

    A caller's audio may not wait; what only reads or follows may. It keeps its share of a busy
    processor, which a lower priority would take from it. Elsewhere, and where it is forbidden,
    nothing is done.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def _until_over(server: OperatorServer, printer: Printer, life: int, beats: int) -> None:
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        """Stop at the end of the pipe, into which nothing is ever written."""
        loop.remove_reader(life)
        server.stop()

    loop.set_exception_handler(server.on_loop_fault)
    loop.add_reader(life, on_readable)
    loop.add_signal_handler(signal.SIGHUP, server.stop)
    async with asyncio.TaskGroup() as group:
        beside = ServerTasks(group)
        beating = beside.keep("heartbeat", lambda: beat(beats))
        await server.run(printer, [printer], beside)
        beating.cancel()


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1], os.environ)))
