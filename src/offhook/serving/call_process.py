"""The call process of `offhook serve`: it carries calls, and does nothing else.

It is started by the supervisor, as `python -m offhook.serving.call_process ARGUMENTS`.
"""

import gc
import os
import signal
import sys
from collections.abc import Mapping

if __name__ == "__main__":
    gc.disable()  # what is imported stays: looking through it takes a tenth of the start

from offhook.concurrency.event_loop import on_stop_signal
from offhook.config import load
from offhook.observability.log_format import log_to
from offhook.observability.stderr import Printer
from offhook.serving.call_serving import CallServing, check
from offhook.serving.control_pipe import ControlPipe, StopRequests
from offhook.serving.listen import public_socket
from offhook.serving.options import process_arguments
from offhook.serving.running import exit_code, run_logged


def main(arguments: str, environ: Mapping[str, str]) -> int:
    """Answer calls until told to stop; return the exit code. Raises UserError."""
    options, given = process_arguments(arguments)
    pipe = ControlPipe(given["control"])
    # Held until this process ends: by it the operator process knows that there may be more to do.
    os.set_inheritable(given["life"], False)
    # Processes in the background of a terminal may be told not to write to it.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    config = load(options.config, environ, overrides=options.overrides())
    if given["is_first"]:
        check(config)
    sock = public_socket(config, given.get("listening"))
    pipe.tell_listening(sock)

    async def answer(printer: Printer) -> None:
        server = side.server(printer)
        stop = StopRequests(server.stop, server.retire)
        on_stop_signal(stop.by_signal)
        pipe.watch(stop, server.expect_next, server.take_over)

        def on_started() -> None:
            # What is there now stays until the end: no garbage collection need look through it,
            # while every call waits.
            gc.freeze()
            gc.enable()
            pipe.tell_ready()
            side.print_banner(printer)

        await server.run(on_started, pipe.tell_ending)

    side = CallServing(config, options, sock, supervisor=os.getppid())
    with log_to(sys.stderr.fileno(), config.logs, config.secrets, "call") as printer, side:
        return run_logged("call process", answer(printer))


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1], os.environ)))
