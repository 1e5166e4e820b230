"""One direction of a connection through the fault rig."""

import asyncio

import pytest

from offhook.clock import LoopClock
from offhook.testing.faults.pipe import Pipe


async def test_a_connection_that_its_reader_has_closed_takes_no_more() -> None:
    """The rig's faults go on for a moment after the server has hung up."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        pipe = Pipe(LoopClock(asyncio.get_running_loop()), reader, writer, masked=False)
        assert await reader.read() == b""
        writer.transport.abort()
        await asyncio.sleep(0)
        pipe.push(b"now")
        assert pipe.slow_down(rate=400.0)
        pipe.push(b"byte by byte")
        with pytest.raises(ConnectionError):
            await pipe.deliver()
        server.close()
