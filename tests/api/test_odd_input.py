"""No input of the API is a fault of ours: nothing that can be asked is answered with 500."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.api.desk import TOKEN, desk
from tests.api.spec import Spec

TEXTS = (
    "",
    "%00",
    "%FF",
    "%ED%A0%80",
    "%0A",
    "-1",
    "0",
    "1e999",
    "NaN",
    "9" * 400,
    "x" * 5000,
    "%F0%9F%A4%96",
    "2026-99-99",
    "99999w",
    "0001-01-01T00:00:00%2B23:59",
    "9999-12-31T23:59:59-23:59",
    "WzEsIv8iXQ",  # a cursor whose CallSid is no UTF-8
    "+12025550142",
    "true",
    "%2Fetc%2Fpasswd",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**30,
    1e308,
    "",
    "\0",
    "\ud800",
    "x" * 5000,
    [],
    [[]],
    {},
    {"a": {}},
    "+12025550142",
)
LIVE = ("followCall", "followCalls", "listenCall")


def fields(document: Any, schema: Any) -> list[str]:
    """The names in a body."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return list(schema.get("properties", {}))


def requests(document: Any) -> list[tuple[str, str, bytes | None]]:
    made: list[tuple[str, str, bytes | None]] = []
    for method, path, operation in Spec(document).operations():
        if operation["operationId"] in LIVE:
            continue
        parameters = operation.get("parameters", [])
        plain = path
        for parameter in parameters:
            if parameter["in"] == "path":
                name = "{" + parameter["name"] + "}"
                made += [(method, path.replace(name, text), None) for text in TEXTS if text]
                plain = plain.replace(name, "CA1")
        for parameter in parameters:
            if parameter["in"] == "query":
                made += [(method, f"{plain}?{parameter['name']}={text}", None) for text in TEXTS]
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is None:
            continue
        made += [(method, plain, content) for content in (b"", b"\xff", b"[" * 20_000, b"1e999")]
        made += [(method, plain, json.dumps(value).encode()) for value in VALUES]
        for name in fields(document, body["schema"]):
            made += [(method, plain, json.dumps({name: value}).encode()) for value in VALUES]
    return made


class Line:
    """A connection on which one request follows the other: a client's own work is not tested."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, target: str, content: bytes | None) -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer."""
        if self._ends is None:
            self._ends = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._ends
        head = (
            f"{method.upper()} {target} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content or b'')}\r\n\r\n"
        )
        writer.write(head.encode() + (content or b""))
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        status = int(lines[0].split()[1])
        if "content-length" in fields or status in (204, 304):
            body = await reader.readexactly(int(fields.get("content-length", 0)))
        else:
            body = b"".join([chunk async for chunk in chunks(reader)])
        if fields.get("connection") == "close":
            self.close()
        return status, body

    def close(self) -> None:
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline(), 16):
        yield await reader.readexactly(size)
        await reader.readline()
    await reader.readline()


async def test_no_input_is_answered_with_a_fault(tmp_path: Path) -> None:
    faults, answered = [], Counter[int]()
    async with desk(tmp_path) as d:
        asked = requests((await d.ask("/openapi.json")).json())
        line = Line(d.port)
        for method, target, content in asked:
            status, body = await line.ask(method, target, content)
            answered[status] += 1
            if status == 500:
                faults.append((method, target[:120], (content or b"")[:80], body[:200]))
        line.close()
    assert faults == []
    assert len(asked) > 300
    assert min(answered[200], answered[422]) > 50, answered
