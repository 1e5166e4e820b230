"""The call process's end of the supervisor's control socket."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from offhook.clock import LoopClock
from offhook.concurrency.deadline_timer import DeadlineTimer
from offhook.serving.call_runs import (
    ALIVE,
    BESIDE,
    ENDING,
    LISTENING,
    READY,
    RETIRE,
    STOP,
    TAKE_OVER,
)
from offhook.serving.heartbeat import BEAT_S

_log: Final = logging.getLogger("offhook.server")


class ControlPipe:
    """The socket to the supervisor: tells it of the listening socket, and receives its stops.

    Nothing here waits: the socket has room for every message that is ever sent.
    """

    def __init__(self, descriptor: int) -> None:
        # Programs that a tool starts must not keep the supervisor's sockets open.
        os.set_inheritable(descriptor, False)
        self._socket: Final = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._clock: LoopClock
        self._beat: DeadlineTimer

    def tell_listening(self, sock: socket.socket) -> None:
        """Give the supervisor a copy of the listening socket."""
        with contextlib.suppress(OSError):  # the supervisor is gone, which the loop will notice
            socket.send_fds(self._socket, [LISTENING], [sock.fileno()])

    def tell_ready(self) -> None:
        """Tell the supervisor that calls are answered."""
        with contextlib.suppress(OSError):
            self._socket.send(READY + ALIVE)

    def tell_ending(self) -> None:
        """Tell the supervisor that the event loop ends, and the process some time later."""
        with contextlib.suppress(OSError):
            self._socket.send(ENDING)

    def _tell_alive(self) -> None:
        """Tell the supervisor that the event loop goes on, and again every BEAT_S."""
        self._beat.arm(self._clock.now() + BEAT_S)
        with contextlib.suppress(OSError):
            self._socket.send(ALIVE)

    def watch(
        self, stop: "StopRequests", beside: Callable[[], None], take_over: Callable[[], None]
    ) -> None:
        """Pass on what the supervisor tells, and its end, on the running loop.

        `beside` is called when another call process starts, `take_over` when one has ended.
        """
        loop = asyncio.get_running_loop()
        self._clock = LoopClock(loop)
        self._beat = DeadlineTimer(self._clock, self._tell_alive, goes_on=True)

        def on_readable() -> None:
            try:
                received = self._socket.recv(64)
            except BlockingIOError:
                return
            except OSError:
                received = b""
            for number in received:
                try:
                    self._obey(bytes((number,)), stop, beside, take_over)
                except Exception:  # noqa: BLE001 - a stop may be behind it
                    _log.exception("a fault in a message of the supervisor")
            if not received:
                self._beat.end()
                loop.remove_reader(self._socket)
                stop.by_signal()

        loop.add_reader(self._socket, on_readable)

    def _obey(
        self,
        message: bytes,
        stop: "StopRequests",
        beside: Callable[[], None],
        take_over: Callable[[], None],
    ) -> None:
        if message == STOP:
            stop.by_supervisor()
        elif message == RETIRE:
            self._beat.arm(self._clock.now())
            stop.by_next_process()
        elif message == BESIDE:
            beside()
        elif message == TAKE_OVER:
            take_over()


class StopRequests:
    """Requests to stop a call process, from wherever they come: the second one ends the calls.

    A service manager signals every process of a service at once, and the supervisor passes its
    own signal on. So signals of this process, and the end of the supervisor, are one request.
    """

    def __init__(self, stop: Callable[[], None], retire: Callable[[], None]) -> None:
        """Take `stop`, and `retire`, called in place of the first stop if the next one answers."""
        self._stop = stop
        self._retire = retire
        self._done = 0
        self._by_supervisor = 0

    def by_supervisor(self) -> None:
        """Take a stop that the supervisor was told."""
        self._by_supervisor += 1
        self._at_least(self._by_supervisor)

    def by_next_process(self) -> None:
        """Take the first stop, of a process in whose place another one answers."""
        try:
            self._retire()
        finally:
            self.by_supervisor()

    def by_signal(self) -> None:
        """Take a signal of this process, or the end of the supervisor."""
        self._at_least(1)

    def _at_least(self, count: int) -> None:
        while self._done < count:
            self._done += 1
            self._stop()
