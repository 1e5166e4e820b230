"""The local socket of a server whose two sides are one process."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from offhook.link.lines import LineConnection, OnLine, OnLost, adopt


class InProcessLink:
    """Connections from the operator's side to the call side, on one event loop.

    Each is a pair of sockets: Windows has no Unix sockets. `failing` returns the names of what
    fails on the operator's side, which only the call side can tell.
    """

    def __init__(self, failing: Callable[[], Sequence[str]] = tuple) -> None:
        self.failing: Final = failing
        self._serve: Callable[[socket.socket], Awaitable[None]] | None = None
        self._is_served = asyncio.Event()

    def serve(self, serve: Callable[[socket.socket], Awaitable[None]]) -> None:
        """Have the call side serve each new connection with `serve`, as LinkServer.connect."""
        self._serve = serve
        self._is_served.set()

    async def connect(self, on_line: OnLine, on_lost: OnLost) -> LineConnection:
        """Connect to the call side, once it is there. Raises OSError when it has ended."""
        await self._is_served.wait()
        assert self._serve is not None, "it is served"
        ours, theirs = socket.socketpair()
        try:
            await self._serve(theirs)
        except OSError:
            ours.close()
            theirs.close()
            raise
        lines = LineConnection(on_line, on_lost)
        await adopt(ours, lines)
        return lines
