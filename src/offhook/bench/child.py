"""Common parts of a run's processes: report the port, answer the runner, end with it."""

import argparse
import asyncio
import os
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec

from offhook.net import websocket

UPGRADE_S: Final = 5.0
HOST: Final = "127.0.0.1"
_PAGE: Final = 4096 if sys.platform == "win32" else os.sysconf("SC_PAGE_SIZE")


class Usage(msgspec.Struct, frozen=True):
    """Resources of a process. `rss` in bytes and `fds` are 0 where the system does not tell."""

    at_ns: int
    cpu_ns: int
    """CPU time in ns: user and system, all threads."""
    rss: int
    tasks: int
    fds: int


def usage() -> Usage:
    """Return the resources that this process has used until now."""
    statm, fds = Path("/proc/self/statm"), Path("/proc/self/fd")
    return Usage(
        at_ns=time.perf_counter_ns(),
        cpu_ns=time.process_time_ns(),
        rss=int(statm.read_text().split()[1]) * _PAGE if statm.exists() else 0,
        tasks=len(asyncio.all_tasks()),
        fds=sum(1 for _ in fds.iterdir()) if fds.exists() else 0,
    )


def tell(message: msgspec.Struct | dict[str, Any]) -> None:
    """Send a line to the runner."""
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


async def told() -> AsyncIterator[bytes]:
    """Yield the runner's lines, until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            yield line
    finally:
        transport.close()


async def answer(port: int) -> None:
    """Report the port; then report usage whenever the runner sends a line."""
    tell({"port": port})
    async for _ in told():
        tell(usage())


def arguments() -> argparse.Namespace:
    """Parse the arguments of a bridge, which may ignore all but the first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--agent-url", required=True)
    parser.add_argument("--capacity", type=int, default=50)
    parser.add_argument("--token", default="")
    parser.add_argument("--config", type=Path)
    return parser.parse_args()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop, where there is one."""
    if sys.platform == "win32":
        asyncio.run(main)
    else:
        import uvloop

        uvloop.run(main)


def verifying() -> ssl.SSLContext:
    """Return a baseline's TLS context: the system's authorities, or SSL_CERT_FILE's."""
    return ssl.create_default_context()


class Upgrading(asyncio.Protocol):
    """A connection until its WebSocket upgrade is whole: the minimum of `first_request`."""

    def __init__(self, decide: websocket.Decide, max_size: int) -> None:
        self._decide = decide
        self._max_size = max_size
        self._received = b""
        self._transport: Any
        self._timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the request."""
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(UPGRADE_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer: the connection went before its request was whole."""
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Add a part of the request; accept it when it is whole."""
        self._received += data
        if b"\r\n\r\n" in self._received:
            self._timer.cancel()
            websocket.accept(self._transport, self._received, self._decide, max_size=self._max_size)


def shared_listener(port: int) -> socket.socket:
    """Open a listening socket on loopback whose port other processes may share; 0 is any port."""
    listener = socket.socket()
    if hasattr(socket, "SO_REUSEPORT"):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((HOST, port))
    listener.listen(1024)
    return listener
