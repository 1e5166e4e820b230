"""The call process's end of the local socket, and of the links of other nodes."""

import asyncio
import contextlib
import errno
import logging
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from offhook.concurrency.server_tasks import ServerTasks
from offhook.errors import UserError, fault_of
from offhook.link.channel import JoinStream, LinkChannel, ending_line
from offhook.link.lines import LineConnection, Lines, LinesT, MakeLines, adopt
from offhook.link.messages import (
    LINE_MAX,
    LinkError,
    NumberedOrder,
    NumberedReply,
    PlaceCall,
    ReloadAgents,
    Withdraw,
    other_version,
    too_late,
)
from offhook.link.orders import LinkOrders
from offhook.link.streams import OfferedStreams
from offhook.tools.declare import ToolError

_log: Final = logging.getLogger("offhook.link")

REQUESTS_MAX: Final = 1000
"""Open requests of one connection; further requests are refused."""

_FINISHED: Final = (PlaceCall, ReloadAgents)
"""Requests that are finished although they are withdrawn: a call may be placed already."""

REFUSED_STREAM: Final = 1008
"""Code with which a stream is closed whose token is not valid (RFC 6455 §7.4.1)."""

_request: Final = msgspec.json.Decoder(NumberedOrder)
_join: Final = msgspec.json.Decoder(JoinStream)


class _Number(msgspec.Struct):
    """The number of a request of which the rest is not understood."""

    number: int


class LinkServer:
    """Takes requests from other processes, over as many connections as there are.

    A fault in a request is logged and counted by `tasks`, is answered with an error, and ends no
    other request and no call. A connection that begins with the token of one of the `streams` is
    that stream from then on.
    """

    def __init__(
        self,
        orders: LinkOrders,
        tasks: ServerTasks,
        streams: OfferedStreams,
        now_ms: Callable[[], int],
    ) -> None:
        """Take `now_ms`, the database's clock, by which other nodes say how long an order holds."""
        self._orders = orders
        self._tasks = tasks
        self._streams = streams
        self._now_ms = now_ms
        self._connections: set[_ServedConnection] = set()
        self._server: asyncio.AbstractServer | None = None
        self._folder: Path | None = None
        self._is_closed = False

    async def listen(self) -> Path:
        """Listen on a new Unix socket, and return its path.

        The socket is in a private temporary folder: the path of a data folder may be longer than
        the address of a socket. `close` removes both.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="offhook-"))  # its mode is 0700
        path = self._folder / "control"
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: self.attend(LineConnection), path)
        path.chmod(0o600)
        return path

    async def connect(self, sock: socket.socket) -> None:
        """Serve a socket that is connected already. Raises OSError once this is closed."""
        if self._is_closed:
            raise OSError(errno.ECONNREFUSED, "the call side has ended")
        await adopt(sock, self.attend(LineConnection))

    def close(self) -> None:
        """End all connections, with their requests and streams, and remove the socket."""
        self._is_closed = True
        if self._server is not None:
            self._server.close()
        for connection in [*self._connections]:
            connection.lines.abort()
        self._streams.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def attend(self, make: MakeLines[LinesT]) -> LinesT:
        """Return the lines of a new connection, which `make` makes: its requests are answered."""
        connection = _ServedConnection(
            self._orders, self._tasks, self._streams, self._connections.discard, self._now_ms
        )
        lines = make(connection.on_first_line, connection.on_lost)
        connection.lines = lines
        self._connections.add(connection)
        return lines


class _ServedConnection:
    """A connection of an operator's process, and its open requests by their numbers."""

    def __init__(
        self,
        orders: LinkOrders,
        tasks: ServerTasks,
        streams: OfferedStreams,
        lost: Callable[["_ServedConnection"], None],
        now_ms: Callable[[], int],
    ) -> None:
        self.lines: Lines
        self._now_ms = now_ms
        self._orders = orders
        self._tasks = tasks
        self._streams = streams
        self._lost = lost
        self._open: dict[int, tuple[NumberedOrder, asyncio.Task[None]]] = {}

    def on_first_line(self, line: bytes) -> None:
        """Take the first line: the token of a stream, or a request."""
        try:
            token = _join.decode(line).stream
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.lines.on_line = self._on_line
            self._on_line(line)
            return
        receiver = self._streams.take(token)
        if receiver is None:
            _log.warning("a stream was refused: its token has expired, was used or is unknown")
            self.lines.send(ending_line(REFUSED_STREAM, "this stream has expired, or was used"))
            self.lines.end()
        else:
            LinkChannel(self.lines, receiver, lambda: self._lost(self)).open()

    def _on_line(self, line: bytes) -> None:
        try:
            request = _request.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(line, error)
            return
        if isinstance(request.order, Withdraw):
            self._withdraw(request.number)
            return
        # A number that is taken would be withdrawn with the other one.
        if len(self._open) >= REQUESTS_MAX or request.number in self._open:
            self._reply_error(request.number, _too_many())
            return
        task = self._tasks.start("request of the operator", self._answer(request))
        self._open[request.number] = request, task
        task.add_done_callback(lambda _: self._open.pop(request.number, None))

    def _refuse(self, line: bytes, error: Exception) -> None:
        """Refuse one request that is not understood, or a connection that sends no requests."""
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            number = msgspec.json.decode(line, type=_Number).number
            self._reply_error(number, other_version("the request is not known"))
            return
        _log.error("a connection that sends no requests is closed: %s", type(error).__name__)
        self.lines.abort()

    async def _answer(self, request: NumberedOrder) -> None:
        try:
            # First: who asked was told by now that it was not done.
            if request.until_ms is not None and self._now_ms() > request.until_ms:
                raise too_late()
            result = await self._orders.obey(request.order)
            line = msgspec.json.encode(
                NumberedReply(request.number, msgspec.Raw(msgspec.json.encode(result)))
            )
            if len(line) > LINE_MAX:
                raise other_version(f"the result has {len(line)} bytes")
            self.lines.send(line)
        except (UserError, ToolError) as error:
            self._reply_error(request.number, error)
        except Exception as error:
            self._reply_error(request.number, fault_of(error))
            raise

    def _reply_error(self, number: int, error: UserError | ToolError) -> None:
        self.lines.send(msgspec.json.encode(NumberedReply(number, error=LinkError.of(error))))

    def _withdraw(self, number: int) -> None:
        request, task = self._open.get(number, (None, None))
        if task is not None and request is not None and not isinstance(request.order, _FINISHED):
            task.cancel()

    def on_lost(self) -> None:
        """Withdraw all requests: the connection has ended."""
        for number in [*self._open]:
            self._withdraw(number)
        self._lost(self)


def _too_many() -> UserError:
    return UserError(
        "E-LINK-04",
        f"The call process has {REQUESTS_MAX} open requests of the operator's process.",
        "Ask again when some of them have been answered.",
    )
