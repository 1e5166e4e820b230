"""A relay of TCP connections that can hold what passes, or cut them: the way to a database."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

PIECE: Final = 65536


class Relay:
    """A listening relay to a Unix socket, or to a port of loopback. `relay` makes one."""

    def __init__(self, target: str | int) -> None:
        self.address: tuple[str, int]
        self.connections = 0
        """Connections that were asked for."""
        self._target = target
        self._passes = asyncio.Event()
        self._passes.set()
        self._refuses = False
        self._open: set[asyncio.StreamWriter] = set()

    def hold(self) -> None:
        """Pass nothing on and answer nothing, as when packets are dropped."""
        self._passes.clear()

    def cut(self) -> None:
        """Break all connections, and refuse others, as when nothing listens there."""
        self._refuses = True
        for writer in list(self._open):
            writer.transport.abort()

    def restore(self) -> None:
        """Pass everything on again, also what was held."""
        self._refuses = False
        self._passes.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refuses:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            await self._passes.wait()
            upstream = await self._open_target()
        except OSError:
            writer.transport.abort()
            self._open.discard(writer)
            return
        self._open.add(upstream[1])
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, upstream[1]))
                group.create_task(self._pump(upstream[0], writer))
        finally:
            for one in (writer, upstream[1]):
                self._open.discard(one)
                one.transport.abort()

    async def _open_target(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, int):
            return await asyncio.open_connection("127.0.0.1", self._target)
        return await asyncio.open_unix_connection(self._target)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(PIECE):
                await self._passes.wait()
                sink.write(data)
                await sink.drain()
        sink.close()


@asynccontextmanager
async def relay(
    target: str | int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Relay]:
    """Relay a free port of `host`, with TLS or without, to a Unix socket or a port of loopback."""
    made = Relay(target)
    server = await asyncio.start_server(made.serve, host, 0, ssl=tls)
    made.address = server.sockets[0].getsockname()[:2]
    try:
        yield made
    finally:
        server.close()
        made.restore()
        made.cut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
