"""/docs: the OpenAPI document as one HTML page, without scripts or external resources."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""Content-Security-Policy of the page."""

_STYLE: Final = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; } h3 { margin-top: 2.5rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { overflow-x: auto; padding: 0.5rem; border: 1px solid #8886; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.2rem 1rem 0.2rem 0;
  border-bottom: 1px solid #8886; }
:root { color-scheme: light dark; }
"""

Json = Mapping[str, Any]


def page(schema: Json) -> str:
    """Return the HTML page of an OpenAPI document."""
    return "".join(_page(schema))


def _page(schema: Json) -> Iterator[str]:
    info = schema["info"]
    yield "<!doctype html><html lang=en><meta charset=utf-8>"
    yield "<meta name=viewport content='width=device-width'>"
    yield f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>"
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
    yield f"<p>{escape(info['description'])}"
    yield "<p>For programs: <a href=/openapi.json>/openapi.json</a>"
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            yield from _operation(path, method, operation)
    yield "<h2>What goes in and comes out</h2>"
    for name, shape in schema["components"]["schemas"].items():
        yield from _shape(name, shape)


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    name = operation["operationId"]
    yield f"<h3 id={escape(name)}>{escape(operation['summary'])}</h3>"
    yield f"<pre>{method.upper()} {escape(path)}</pre><p>{_words(operation.get('description'))}"
    taken = [
        (each["name"], each["in"], _type(each["schema"]), each.get("description"))
        for each in operation.get("parameters", [])
    ]
    if "requestBody" in operation:
        taken.append(("", "body", _content(operation["requestBody"]), None))
    if taken:
        yield "<table><tr><th>Takes<th>in<th>type<th>"
        for name, where, kind, about in taken:
            yield f"<tr><td><code>{escape(name)}</code><td>{where}<td>{kind}<td>{_words(about)}"
        yield "</table>"
    yield "<table><tr><th>Answers<th>with<th>"
    for status, answer in operation["responses"].items():
        yield f"<tr><td>{status}<td>{_content(answer)}<td>{_words(answer.get('description'))}"
    yield "</table>"
    for kind, content in operation["responses"].get("200", {}).get("content", {}).items():
        if "example" in content:
            yield f"<p>{escape(kind)}:<pre>{escape(content['example'])}</pre>"


def _shape(name: str, shape: Json) -> Iterator[str]:
    yield f"<h3 id={escape(name)}>{escape(name)}</h3><p>{_words(shape.get('description'))}"
    if "properties" in shape:
        yield "<table>"
        for field, kind in shape["properties"].items():
            about = _words(kind.get("description"))
            yield f"<tr><td><code>{escape(field)}</code><td>{_type(kind)}<td>{about}"
        yield "</table>"


def _content(holder: Json) -> str:
    return ", ".join(
        f"{escape(kind)} {_type(content['schema'])}" if kind == "application/json" else escape(kind)
        for kind, content in holder.get("content", {}).items()
    )


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href=#{name}>{name}</a>"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(map(_type, schema[several]))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return escape(str(schema.get("type", "anything")))


def _words(text: str | None) -> str:
    """Return text as HTML with its paragraphs and `code`."""
    parts = escape(text or "").replace("\n\n", "<p>").split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))
