"""End of a process of `offhook serve`: an error of the user is printed, a fault is logged."""

import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from offhook.concurrency.event_loop import run
from offhook.errors import UserError

_log: Final = logging.getLogger("offhook.server")


def exit_code(serve: Callable[[], int]) -> int:
    """Return the exit code of `serve`; print the UserError that it raises."""
    try:
        return serve()
    except UserError as problem:
        sys.stderr.write(problem.for_terminal() + "\n")
        return 1


def run_logged(what: str, main: Coroutine[Any, Any, None]) -> int:
    """Run the coroutine of a process to its end; return the exit code. Raises UserError."""
    try:
        run(main)
    except UserError:
        raise
    except Exception:  # noqa: BLE001 - it ends the process, and the supervisor starts another
        # Python would print the exception's text, which may be what a caller said.
        _log.exception("a fault has ended the %s", what)
        return 1
    return 0
