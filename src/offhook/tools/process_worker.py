"""The process that runs the functions of one file: `python -m offhook.tools.process_worker FILE`.

What the file prints goes to stderr: stdout carries messages. The process ends when its input does.
"""

import contextlib
import os
import queue
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Final

from offhook.tools import modules
from offhook.tools.declare import Call, Tool, ToolArgumentsError, ToolError
from offhook.tools.files import AnyTool
from offhook.tools.places import place_of
from offhook.tools.process_messages import (
    BEGUN,
    NOT_BEGUN,
    FunctionReply,
    FunctionRequest,
    receive,
    send,
)
from offhook.tools.results import as_text

NICE: Final = 10
"""Steps by which these processes yield to those that carry calls."""

_FIRST_TO_GO: Final = "1000"
"""Score with which Linux ends this process before any other when memory runs out."""


def main() -> None:
    """Run functions until the input ends."""
    # What the file prints, reads or starts must not meet the messages.
    asked, messages = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    _yield_to_calls()
    requests: queue.SimpleQueue[FunctionRequest] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(asked, requests), daemon=True).start()
    worker = _Worker(Path(sys.argv[1]), messages)
    while True:
        send(messages, worker.reply_to(requests.get()))


class _Worker:
    """Runs functions of a file."""

    def __init__(self, path: Path, messages: BinaryIO) -> None:
        self._path = path
        self._messages = messages
        self._tools: dict[str, AnyTool] | None = None
        self._has_begun = False
        with contextlib.suppress(BaseException):  # loaded again, and told, for the first function
            self._load()

    def reply_to(self, request: FunctionRequest) -> FunctionReply:
        """Run a function. Raises nothing but what ends the process."""
        self._has_begun = False
        try:
            reply = self._run(request)
        except (ToolArgumentsError, ToolError) as told:
            reply = FunctionReply("refused", as_text(str(told)))
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            where = place_of(error, str(self._path))
            reply = FunctionReply("raised", type(error).__name__, where)
        if not self._has_begun:
            self._messages.write(NOT_BEGUN)
        return reply

    def _load(self) -> dict[str, AnyTool]:
        found = vars(modules.load(self._path)).values()
        self._tools = {each.name: each for each in found if isinstance(each, Tool)}
        return self._tools

    def _run(self, request: FunctionRequest) -> FunctionReply:
        tools = self._tools or self._load()
        call = Call(
            request.sid,
            request.agent,
            request.caller,
            request.called,
            request.variables,
            direction=request.direction,
        )
        function, _ = tools[request.tool].bind(request.arguments, call)
        self._has_begun = True
        self._messages.write(BEGUN)
        self._messages.flush()
        result = function()
        return FunctionReply("returned", None if result is None else as_text(result))


def _read(asked: BinaryIO, requests: "queue.SimpleQueue[FunctionRequest]") -> None:
    """Read requests; end the process with its input, whatever function runs."""
    try:
        while (request := receive(asked, FunctionRequest)) is not None:
            requests.put(request)
    finally:
        os._exit(0)


def _yield_to_calls() -> None:
    """Yield processor and memory to the processes that carry calls, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


if __name__ == "__main__":
    main()
