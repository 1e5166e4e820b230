"""Uvicorn as a part of a program, which handles the signals and learns when Uvicorn listens."""

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn


class OwnedUvicorn(uvicorn.Server):
    """Uvicorn without its signals: on SIGTERM it cuts every socket.

    `started` is set when it listens.
    """

    def __init__(self, config: uvicorn.Config, started: asyncio.Event) -> None:
        super().__init__(config)
        self._listening = started

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture no signals: the owner handles them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets=sockets)
        self._listening.set()
