"""The call for which a task or a thread runs, for its log lines and its failures."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

current_call: Final = ContextVar("current_call", default="")
"""CallSid of the call for which the current task or thread runs; empty: no call.

Tasks and threads that are started in a context inherit it.
"""


@contextlib.contextmanager
def of_call(call_sid: str) -> Iterator[None]:
    """Attribute everything that is started within the block to the call `call_sid`."""
    token = current_call.set(call_sid)
    try:
        yield
    finally:
        current_call.reset(token)
