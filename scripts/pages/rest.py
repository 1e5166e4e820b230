"""docs/rest.md: the API's OpenAPI document as a page."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

from offhook.api.app import routes
from offhook.api.operator import Operator
from offhook.api.problems import documented

Json: TypeAlias = Mapping[str, Any]

INTRO: Final = """\
# Routes of the API

For whoever writes a program against [the API](api.md). Made from the API's OpenAPI document by
`make pages`; a running server has the same at `/docs`, and for programs at `/openapi.json`. How to
authenticate, filters, pages and errors are described in [api.md](api.md).
"""

COMMON: Final = frozenset({"401", "403", "413", "422", "429", "503"})
"""Statuses that every route can answer with."""

DONE: Final = "Successful Response"
"""FastAPI's word for an answer that needs none."""


def page() -> str:
    """Return the page. No server is needed: the routes say what they are by themselves."""
    schema = documented(routes(cast("Operator", None)).openapi())
    return "\n\n".join(_parts(schema)) + "\n"


def _parts(schema: Json) -> Iterator[str]:
    operations = [
        (path, method.upper(), operation)
        for path, item in schema["paths"].items()
        for method, operation in item.items()
    ]
    yield INTRO.strip()
    yield _table(
        ("Route", "What it does"),
        [
            (f"[`{method} {path}`](#{_anchor(operation)})", operation["summary"])
            for path, method, operation in operations
        ],
    )
    first = operations[0][2]["responses"]
    yield "Every route can also answer with one of these, as `application/problem+json`:"
    yield _table(
        ("Status", "Means"),
        [(status, _words(first[status]["description"])) for status in sorted(COMMON)],
    )
    for path, method, operation in operations:
        yield from _operation(path, method, operation)
    yield "## Bodies"
    for name, shape in schema["components"]["schemas"].items():
        yield from _shape(name, shape)


def _anchor(operation: Json) -> str:
    return str(operation["operationId"]).lower()


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    yield f"## {operation['operationId']}"
    yield f"```\n{method} {path}\n```"
    yield _words(operation["description"], paragraphs=True)
    taken = [
        (f"`{each['name']}`", each["in"], _type(each["schema"]), _words(each.get("description")))
        for each in operation.get("parameters", [])
    ]
    if "requestBody" in operation:
        taken.append(("the body", "body", _content(operation["requestBody"]), ""))
    if taken:
        yield _table(("Takes", "In", "Type", "Meaning"), taken)
    yield _table(
        ("Answers", "With", "Meaning"),
        [
            (status, _content(answer), _words(answer["description"].replace(DONE, "")))
            for status, answer in operation["responses"].items()
            if status not in COMMON
        ],
    )


def _shape(name: str, shape: Json) -> Iterator[str]:
    yield f"### {name}"
    yield _words(shape.get("description"), paragraphs=True)
    fields = shape.get("properties", {})
    if fields:
        yield _table(
            ("Field", "Type", "Meaning"),
            [
                (f"`{field}`", _type(kind), _words(kind.get("description")))
                for field, kind in fields.items()
            ],
        )


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _content(holder: Json) -> str:
    return ", ".join(
        _type(content["schema"]) if kind == "application/json" else f"`{kind}`"
        for kind, content in holder.get("content", {}).items()
    )


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(map(_type, schema[several]))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"`{json.dumps(value)}`" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("type", "anything"))


def _words(text: str | None, *, paragraphs: bool = False) -> str:
    parts = (" ".join(part.split()) for part in (text or "").split("\n\n"))
    return ("\n\n" if paragraphs else " ").join(parts).replace("|", r"\|")
