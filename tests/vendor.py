"""Twilio's REST API as a small local server: it answers as each test wants, and keeps what came."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

SENT = {"sid": "SM" + "1" * 32, "status": "queued", "num_segments": "1"}


class Vendor:
    """`answer` is a status and a JSON body; `forms` are what it was asked, with their paths."""

    def __init__(self, status: int = 201, body: Any = SENT) -> None:
        self.status = status
        self.body = body
        self.url = ""
        self.forms: list[dict[str, str]] = []
        self.server: asyncio.Server | None = None

    async def close(self) -> None:
        """Nobody listens any more."""
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {k.lower(): v for k, v in (x.split(": ", 1) for x in head[1:] if x)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                path = head[0].split(" ")[1]
                self.forms.append({"path": path, **dict(parse_qsl(body.decode()))})
                answer = json.dumps(self.body).encode()
                writer.write(
                    f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
                    + answer
                )
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def vendor(status: int = 201, body: Any = SENT) -> AsyncIterator[Vendor]:
    made = Vendor(status, body)
    server = made.server = await asyncio.start_server(made.connected, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
