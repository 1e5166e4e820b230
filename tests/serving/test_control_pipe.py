"""The call process's end of the control socket, whose other end a test has."""

import asyncio
import socket
import sys

import pytest

from offhook.serving.call_runs import ALIVE, RETIRE
from offhook.serving.control_pipe import ControlPipe, StopRequests

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is one process on Windows")


async def test_a_fault_in_a_beat_ends_neither_the_beats_nor_the_retirement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without beats the supervisor kills a process that drains, with all of its calls."""
    tell = ControlPipe._tell_alive
    faults: list[int] = []
    told: list[str] = []

    def once_broken(pipe: ControlPipe) -> None:
        if not faults:
            faults.append(1)
            raise ZeroDivisionError
        tell(pipe)

    monkeypatch.setattr(ControlPipe, "_tell_alive", once_broken)
    supervisor, its = socket.socketpair()
    with supervisor:
        supervisor.setblocking(False)
        pipe = ControlPipe(its.detach())
        with pipe._socket:
            stops = StopRequests(lambda: told.append("stop"), lambda: told.append("retire"))
            pipe.watch(stops, lambda: None, lambda: None)
            loop = asyncio.get_running_loop()
            supervisor.send(RETIRE)
            async with asyncio.timeout(240):
                assert await loop.sock_recv(supervisor, 16) == ALIVE
            assert faults
            assert told == ["retire", "stop"]
            loop.remove_reader(pipe._socket)
            pipe._beat.end()
