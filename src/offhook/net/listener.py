"""Connections to one port: limits on their number and on their share of the event loop.

Live calls come first. Requests of unknown clients are read, answered and refused within fixed
shares of the loop: docs/design/engine.md has the reasons and the figures.
"""

import asyncio
import errno
import logging
import socket
import ssl
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from offhook.clock import Clock, LoopClock
from offhook.concurrency.deadline_timer import DeadlineTimer
from offhook.net.handshakes import Handshakes

_log: Final = logging.getLogger("offhook.refused")

CONNECTIONS_MAX: Final = 256
"""Connections that are not streams; fewer where the process may open few files."""

FILES_ELSEWHERE: Final = 64
"""Open files that no connection may take: journal, database, log, requests of our own."""

FILES_OF_CALL: Final = 3
"""Open files of a call: its sockets to Twilio and to the agent, and its live file."""

FILES_OF_RECORDED_CALL: Final = FILES_OF_CALL + 1
"""Open files of a call that is recorded."""

TURN_S: Final = 0.001
"""Seconds from the beginning of one request to that of the next one."""

TURNS_MAX: Final = 2
"""Requests that begin in one turn of the loop, at most, when it is late or was idle: audio waits
for all of them."""

ACCEPTED_AT_ONCE: Final = 8
"""Connections taken from the system in one turn of the loop."""

PAUSE_S: Final = 0.1
"""Seconds without accepting when the process or the system has no file or memory left."""

FRESH_S: Final = 0.05
FRESH_TURNS: Final = 5
"""Seconds from its acceptance, and turns in which others are accepted, before a connection may be
dropped: its request may be there, unread. A turn of a loop that is late may take longer than that.
"""

FULL_S: Final = 0.01
"""Seconds without accepting while no connection may be dropped."""

HANDSHAKE_S: Final = 5.0
"""Seconds that a TLS handshake may take, with the wait for its turn."""

_SCARCE: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class ConnectionState(IntEnum):
    """The activity of a connection; of two, the earlier in this order is dropped for a new one."""

    SILENT = 0
    """State: nothing has come, or no more than a part of a TLS handshake."""
    LEAVING = 1
    """State: the connection has its last answer."""
    ASKING = 2
    """State: a part of a request has come."""
    IDLE = 3
    """State: the connection has had a good answer and may ask again."""
    BUSY = 4
    """State: a request is waiting or being answered. Never dropped."""


class Connection(asyncio.Protocol):
    """The interface between a Listener and a connection."""

    def step(self) -> None:
        """Do the work for which `Listener.soon` was called."""
        raise NotImplementedError

    def drop(self) -> None:
        """Cut the connection at once."""
        raise NotImplementedError


class Listener:
    """A listening socket. `make` makes the connections' protocols.

    `files_of_stream` is how many files a stream needs in all, with its own socket.
    """

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[["Listener"], Connection],
        *,
        tls: ssl.SSLContext | None = None,
        files_of_stream: int = 2,
    ) -> None:
        self.port: Final[int] = sock.getsockname()[1]
        self.dropped = 0
        """Number of connections that were cut to make room."""
        self._sock = sock
        self._make = make
        self._tls = tls
        self._handshakes: Handshakes | None = None
        files = file_limit()
        self.places: Final = places_of(files)
        self.streams_max: Final = streams_of(files, files_of_stream)
        self._by_state: dict[ConnectionState, OrderedDict[Connection, None]] = {
            state: OrderedDict() for state in ConnectionState
        }
        self._states: dict[Connection, ConnectionState] = {}
        self._sockets: dict[Connection, socket.socket] = {}
        self._taken_at: dict[Connection, tuple[float, int]] = {}
        """Time of each connection's acceptance, by the clock of the loop, and its turn."""
        self._turns = 0
        """Turns of the loop in which connections were accepted."""
        self._opening: dict[Connection, asyncio.Task[object]] = {}
        self._streams: list[socket.socket] = []
        self._sweep_at = 64
        self._ready: deque[Connection] = deque()
        self._free_at = 0.0
        self._credit = float(self.places)
        self._credit_at = 0.0
        self._listening = self._is_paused = False
        self._loop: asyncio.AbstractEventLoop
        self._clock: Clock
        self._turn: DeadlineTimer
        self._resume: DeadlineTimer

    def open(self) -> None:
        """Begin to accept."""
        self._loop = asyncio.get_running_loop()
        self._clock = LoopClock(self._loop)
        self._turn = DeadlineTimer(self._clock, self._next, goes_on=True)
        self._resume = DeadlineTimer(self._clock, self._go_on, goes_on=True)
        self._credit_at = self._clock.now()
        if self._tls is not None:
            self._handshakes = Handshakes(self._tls, self._clock)
        self._sock.setblocking(False)
        self._listening = True
        self._loop.add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Stop accepting. Open connections go on."""
        if self._listening:
            self._listening = False
            self._resume.end()
            if not self._is_paused:
                self._loop.remove_reader(self._sock)
        self._sock.close()

    @property
    def is_closed(self) -> bool:
        """True once it accepts no connection any more."""
        return self._sock.fileno() < 0

    def cut(self) -> None:
        """Cut every connection that is not a stream."""
        for connection in list(self._states):
            self._cut(connection)

    # --- calls from connections ---

    @property
    def connections(self) -> int:
        """Number of connections that are not streams."""
        return len(self._states)

    @property
    def streams(self) -> int:
        """Number of WebSockets that are open."""
        self._streams = [sock for sock in self._streams if sock.fileno() >= 0]
        self._sweep_at = 2 * len(self._streams) + 64
        return len(self._streams)

    def moved(self, connection: Connection, state: ConnectionState) -> None:
        """Take note of a connection's new state."""
        before = self._states.get(connection)
        if before is not None and before is not state:
            del self._by_state[before][connection]
            self._by_state[state][connection] = None
            self._states[connection] = state

    def left(self, connection: Connection) -> None:
        """Forget a connection that is gone or has become a stream."""
        state = self._states.pop(connection, None)
        if state is not None:
            del self._by_state[state][connection]
        self._sockets.pop(connection, None)
        self._taken_at.pop(connection, None)

    def became_stream(self, connection: Connection) -> None:
        """Count a connection as a stream: it is a WebSocket from now on, with its own protocol.

        Whether it is open is asked of its socket, which the loop detaches or closes with it: the
        engine does not tell of every connection that ends.
        """
        sock = self._sockets.get(connection)
        if sock is not None:
            self._streams.append(sock)
            if len(self._streams) >= self._sweep_at:
                _ = self.streams
        self.left(connection)

    def soon(self, connection: Connection) -> None:
        """Schedule a connection's `step`, in its turn: one in TURN_S seconds over all of them."""
        self._ready.append(connection)
        self._turn.arm(self._free_at)

    def charge(self) -> None:
        """Count a bad connection, or a stream. As many as there are places may come in a second."""
        self._credit -= 1

    # --- the loop calls ---

    def _next(self) -> None:
        now = self._clock.now()
        turns = min(TURNS_MAX, 1 + int((now - self._free_at) / TURN_S))
        self._free_at = now + TURN_S
        for _ in range(turns):
            if self._ready:
                self._step(self._ready.popleft())
        if self._ready:
            self._turn.arm(self._free_at)

    def _step(self, connection: Connection) -> None:
        try:
            connection.step()
        except Exception:  # noqa: BLE001 - it ends this connection alone
            _log.exception("a fault in answering a connection")
            self._cut(connection)

    def _accept(self) -> None:
        self._turns += 1
        for _ in range(ACCEPTED_AT_ONCE):
            wait_s = self._wait_s()
            if wait_s <= 0 and len(self._states) >= self.places and self._droppable() is None:
                # A place is free within seconds, as each request is answered. A webhook that waits
                # for it in the system's queue is answered; one that is sent away is not.
                _log.warning("%d connections are being answered: others wait", self.places)
                wait_s = FULL_S
            if wait_s > 0:
                self._pause(wait_s)
                return
            try:
                sock, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _SCARCE:
                    self._scarce(error)
                    return
                continue  # that connection broke before it was taken
            self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        if len(self._states) >= self.places:
            self._make_room()
        sock.setblocking(False)
        connection = self._make(self)
        self._states[connection] = ConnectionState.SILENT
        self._by_state[ConnectionState.SILENT][connection] = None
        self._sockets[connection] = sock
        self._taken_at[connection] = self._clock.now(), self._turns
        task = self._loop.create_task(self._open(connection, sock), name="a connection opens")
        self._opening[connection] = task
        task.add_done_callback(lambda task: self._on_opened(connection, sock, task))

    async def _open(self, connection: Connection, sock: socket.socket) -> None:
        try:
            if self._handshakes is None:
                await self._loop.connect_accepted_socket(lambda: connection, sock)
                return
            async with asyncio.timeout(HANDSHAKE_S):
                await self._handshakes.turn(sock)
                await self._loop.connect_accepted_socket(
                    lambda: connection, sock, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_S
                )
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - one connection's
            # Cut during the handshake, or not TLS. Only `_cut` and the loop's end cancel.
            self.left(connection)
            sock.close()
            self.charge()
            if isinstance(error, Exception):
                _log.info("a connection could not be opened: %s", type(error).__name__)

    def _on_opened(
        self, connection: Connection, sock: socket.socket, task: asyncio.Task[object]
    ) -> None:
        del self._opening[connection]
        if task.cancelled():
            sock.close()  # It was cut before its task took a step, and nothing else closes it.

    def _make_room(self) -> None:
        connection = self._droppable()
        if connection is not None:
            state = self._states[connection]
            self.dropped += 1
            self._cut(connection)
            _log.warning(
                "dropped a connection (%s) for a new one: %d are open",
                state.name.lower(),
                self.places,
            )

    def _droppable(self) -> Connection | None:
        """Return the connection that goes first when a place is needed; None if none may go."""
        since, since_turn = self._clock.now() - FRESH_S, self._turns - FRESH_TURNS
        for state in ConnectionState:
            oldest = next(iter(self._by_state[state]), None)
            if oldest is None or state is ConnectionState.BUSY:
                continue
            at, turn = self._taken_at[oldest]
            if state is ConnectionState.SILENT and (at > since or turn > since_turn):
                continue
            return oldest
        return None

    def _cut(self, connection: Connection) -> None:
        self.left(connection)
        opening = self._opening.get(connection)
        if opening is not None:
            opening.cancel()
        connection.drop()

    # --- how fast ---

    def _wait_s(self) -> float:
        """Return the seconds until the next connection may be accepted."""
        now = self._clock.now()
        gained = (now - self._credit_at) * self.places
        self._credit = min(float(self.places), self._credit + gained)
        self._credit_at = now
        return 0.0 if self._credit >= 1 else (1 - self._credit) / self.places

    def _scarce(self, error: OSError) -> None:
        _log.error(
            "no connection can be accepted: %s. Raise the limit of open files (ulimit -n)",
            error.strerror,
        )
        self._pause(PAUSE_S)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock)
        self._is_paused = True
        self._resume.arm(self._clock.now() + max(seconds, TURN_S))

    def _go_on(self) -> None:
        self._is_paused = False
        self._loop.add_reader(self._sock, self._accept)


def places_of(files: int) -> int:
    """Return how many connections that are not streams fit a process that may open `files`."""
    return max(8, min(CONNECTIONS_MAX, files // 4))


def streams_of(files: int, files_of_stream: int) -> int:
    """Return how many streams fit a process that may open `files`."""
    return max(1, (files - places_of(files) - FILES_ELSEWHERE) // files_of_stream)


def file_limit() -> int:
    """Return how many files this process may have open."""
    if sys.platform == "win32":
        return 8192
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft
