"""A small server of OpenAI's chat completions, which does as a test says, good or bad."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event(delta: dict[str, Any] | None = None, finish: str | None = None) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def texts(*pieces: str) -> list[bytes]:
    """A good answer in these pieces."""
    said = [event({"content": piece}) for piece in pieces]
    return [HEAD, event({"role": "assistant"}), *said, event(finish="stop"), b"data: [DONE]\n\n"]


def calls(*made: tuple[str, str, str], text: str = "") -> list[bytes]:
    """An answer that calls functions: (id, name, arguments), the arguments in two pieces."""
    answer = [HEAD]
    if text:
        answer.append(event({"content": text}))
    for index, (id_, name, arguments) in enumerate(made):
        middle = len(arguments) // 2
        first = {"index": index, "id": id_, "type": "function"}
        head = {**first, "function": {"name": name, "arguments": arguments[:middle]}}
        rest = {"index": index, "function": {"arguments": arguments[middle:]}}
        answer += [event({"tool_calls": [head]}), event({"tool_calls": [rest]})]
    return [*answer, event(finish="tool_calls"), b"data: [DONE]\n\n"]


def status(code: int, *headers: str) -> list[bytes]:
    lines = [f"HTTP/1.1 {code} X", "Content-Length: 0", "Connection: close", *headers, "", ""]
    return ["\r\n".join(lines).encode()]


Step = bytes | Callable[[], Awaitable[object]]


class OpenAI:
    """Answers the n-th request with the n-th plan: bytes to send, and things to wait for."""

    def __init__(self) -> None:
        self.plans: list[list[Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[bytes] = []
        self.cut = 0
        """How many answers the client did not want to the end."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            self.headers.append(head)
            self.requests.append(json.loads(await reader.readexactly(length)))
            plan = self.plans.pop(0) if self.plans else status(500)
            gone = asyncio.ensure_future(reader.read())  # noqa: TID251 - ends with the connection
            for step in plan:
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                    continue
                waits = asyncio.ensure_future(step())  # noqa: TID251 - ended below
                await asyncio.wait([waits, gone], return_when=asyncio.FIRST_COMPLETED)
                if not waits.done():
                    self.cut += 1
                    waits.cancel()
                    break
            gone.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.cut += 1
        finally:
            writer.close()


@asynccontextmanager
async def openai() -> AsyncIterator[OpenAI]:
    made = OpenAI()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None
        await server.wait_closed()
