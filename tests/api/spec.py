"""The OpenAPI document as a test holds answers against it."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import httpx2
from jsonschema import Draft202012Validator

_DOCUMENT: Final[dict[str, Any]] = {}
"""The document, once a server of this process has made it."""


async def spec_of_servers(ask: Callable[[str], Awaitable[httpx2.Response]]) -> "Spec":
    """Return the document of every server, which `ask` gets from the first one.

    To make the document takes a server longer than to start.
    """
    if not _DOCUMENT:
        _DOCUMENT.update((await ask("/openapi.json")).json())
    return Spec(_DOCUMENT)


class Spec:
    """A document, and which of its operations were seen to answer as it says."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.answered: set[str] = set()

    def operations(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                yield method, path, operation

    def check(self, answer: httpx2.Response) -> None:
        """An answer is one that the document has, down to the fields of its body."""
        method, path = answer.request.method.lower(), answer.request.url.path
        operation = self._operation(method, path)
        documented = operation["responses"][str(answer.status_code)]
        content = documented.get("content", {})
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if not content:
            assert not answer.content
        else:
            assert kind in content, (kind, content)
        if kind in ("application/json", "application/problem+json"):
            schema = {**content[kind]["schema"], "components": self.document["components"]}
            Draft202012Validator(schema).validate(answer.json())
        if answer.is_success:
            self.answered.add(operation["operationId"])

    def _operation(self, method: str, path: str) -> Mapping[str, Any]:
        for each, template, operation in self.operations():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if each == method and re.fullmatch(pattern, path):
                return operation
        raise AssertionError(f"{method} {path} is not in the document")
