"""No input of the API is a fault of ours: nothing that can be asked is answered with 500."""

import json
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


async def test_no_input_is_answered_with_a_fault(tmp_path: Path) -> None:
    faults = []
    async with desk(tmp_path) as d:
        document = (await d.ask("/openapi.json")).json()
        asked = requests(document)
        for method, target, content in asked:
            answer = await d.whole.http.request(
                method.upper(),
                d.url + target,
                content=content,
                headers={
                    "Authorization": f"Bearer {TOKEN}",
                    "Content-Type": "application/json",
                },
                timeout=30,
            )
            if answer.status_code == 500:
                faults.append((method, target[:120], (content or b"")[:80], answer.text[:200]))
    assert faults == []
    assert len(asked) > 300
