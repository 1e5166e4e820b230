"""The built page with a server of a few scripted answers: for what a real one does rarely."""

import json
import mimetypes
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, Request, Route
from scripts.build_console import STATIC
from tests.console import chromium
from tests.console.chromium import Watched

URL = "http://127.0.0.1:9"
SID = "CA" + "0" * 32
POLICY = "default-src 'self'"

Answer = tuple[int, Any]
"""A status, and a body: text is an event stream, anything else becomes JSON."""


def call(**fields: Any) -> dict[str, Any]:
    """Return a row of the snapshot."""
    return {
        "call_sid": SID,
        "agent": "reception",
        "tier": "standard",
        "direction": "inbound",
        "by": "webhook",
        "from": "+12025550142",
        "to": "+12025550100",
        "began_ms": 0,
        "speaking": "nobody",
        "last_words": None,
        "turn_ms": None,
        "turns": 0,
        "interruptions": 0,
        "functions": 0,
        "trouble": None,
        "agent_state": "connected",
        "caller_state": "connected",
        "taken_by": None,
        "listeners": [],
        "node": None,
        **fields,
    }


def problem(status: int, detail: str, fix: str = "Do this.") -> Answer:
    return status, {"detail": detail, "fix": fix, "code": "E-API-99"}


@dataclass
class ScriptedServer:
    """What the page is answered, by method and path, and what it has asked for."""

    answers: dict[str, Answer | Callable[[], Answer]]
    asked: list[tuple[str, str, Any, Mapping[str, str]]] = field(default_factory=list)

    async def handle(self, route: Route) -> None:
        request = route.request
        path = urlsplit(request.url).path
        if not path.startswith("/api/"):
            await self._file(route, path)
            return
        self.asked.append((request.method, path, _body(request), request.headers))
        found = self.answers.get(f"{request.method} {path}", problem(404, "There is no such path."))
        status, body = found() if callable(found) else found
        kind = "text/event-stream" if isinstance(body, str) else "application/json"
        text = body if isinstance(body, str) else json.dumps(body)
        await route.fulfill(status=status, body=text, content_type=kind)

    async def _file(self, route: Route, path: str) -> None:
        file = STATIC / path.lstrip("/") if path.startswith("/assets/") else STATIC / "index.html"
        kind = mimetypes.guess_type(file)[0] or "text/plain"
        headers = {"Content-Security-Policy": POLICY, "Content-Type": kind}
        await route.fulfill(body=file.read_bytes(), headers=headers)

    def sent(self, method: str, path: str) -> list[Any]:
        """Return the bodies of requests that the page has sent."""
        return [body for m, p, body, _ in self.asked if (m, p) == (method, f"/api/v1{path}")]


def scripted(
    *rows: dict[str, Any],
    role: str = "admin",
    nodes: Sequence[dict[str, Any]] = (),
    **answers: Any,
) -> ScriptedServer:
    """Return a server with these live calls, and nodes of a fleet, to a person of that role."""
    snapshot = {"last_event_id": "r-1", "calls": list(rows), "nodes": list(nodes)}
    session = {"name": "ada", "role": role, "csrf": "a-token", "version": "1"}
    return ScriptedServer(
        {
            "GET /api/v1/session": (200, session),
            "POST /api/v1/session": (200, session),
            "GET /api/v1/live/snapshot": (200, snapshot),
            # It ends at once: the page then says so, and tries again.
            "GET /api/v1/live": (200, "id: r-1\n\n"),
            f"GET /api/v1/calls/{SID}": (200, {"timeline": []}),
            **answers,
        }
    )


@asynccontextmanager
async def scripted_page(
    browser: Browser, server: ScriptedServer, path: str, **options: Any
) -> AsyncIterator[Watched]:
    """Open a path of the console that this server answers."""
    async with (
        chromium.context(browser, **options) as context,
        chromium.watched(context) as watched,
    ):
        await watched.page.route(f"{URL}/**", server.handle)
        await watched.page.goto(URL + path)
        yield watched


async def is_wider_than_its_window(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def _body(request: Request) -> Any:
    return json.loads(request.post_data) if request.post_data else None
