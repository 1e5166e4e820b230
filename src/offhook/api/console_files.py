"""The built page of the console, from `offhook/console/static`: open to all, and without data.

The page's own paths all give index.html, which finds its view by the address.
"""

import gzip
import re
from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from offhook.errors import UserError

_VIEW: Final = re.compile(
    r"/(?:(?:agents|calls|enter|live|more|phone|quality|users)(?:/[^\x00-\x1f]*)?)?"
)
"""Pattern of the addresses of the page (web/src/shell.tsx)."""

_ASSET: Final = re.compile(r"/assets/([A-Za-z0-9_-][A-Za-z0-9._-]{0,127})")

WAVE_STYLE: Final = "sha256-GDz2FZP0i7VZaDhs1mgc43IRUXU2xajPIjvThHvZvbs="
"""Hash of the one inline style: wavesurfer.js has it in the shadow root of a call's wave. With a
version of it that has another, tests/console/test_calls.py fails and the browser names the hash."""

POLICY: Final = (
    f"default-src 'self'; style-src 'self' '{WAVE_STYLE}'; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: nothing from elsewhere, no other inline script or style."""

_OF_THE_PAGE: Final = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}

_FOR_EVER: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",  # a change has another name
    "Vary": "Accept-Encoding",
}

_KINDS: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
"""Media types of files that are text, which is worth compressing; others are bytes."""


def static_folder() -> Traversable:
    """Return where `make console` puts the page."""
    return resources.files("offhook") / "console" / "static"


class ConsoleFiles:
    """An ASGI application of the page's files."""

    def __init__(self, folder: Traversable | None = None) -> None:
        self._folder = folder or static_folder()
        self._assets: dict[str, tuple[bytes, bytes]] = {}
        """Assets that were read: as they are, and compressed. As many as the folder has."""

    def serves(self, method: str, path: str) -> bool:
        """Return whether a request is for the page or one of its files."""
        if method not in ("GET", "HEAD"):
            return False
        if _VIEW.fullmatch(path) is not None:
            return True
        asset = _ASSET.fullmatch(path)
        return asset is not None and self._file("assets", asset[1]) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that `serves` returned true for."""
        asset = _ASSET.fullmatch(scope["path"])
        accepts = Headers(scope=scope).get("accept-encoding", "")
        answer = self._page(accepts) if asset is None else self._asset(asset[1], accepts)
        await answer(scope, receive, send)

    def _page(self, accepts: str) -> Response:
        file = self._file("index.html")
        if file is None:
            problem = UserError(
                "E-API-27",
                "The console's page has not been built here.",
                "Run: make console",
            )
            return PlainTextResponse(problem.for_terminal() + "\n", 503)
        # Read each time: small, and the next build may come while this runs.
        content = file.read_bytes()
        return _response("index.html", accepts, _OF_THE_PAGE, content, lambda: _gzipped(content))

    def _asset(self, name: str, accepts: str) -> Response:
        kept = self._assets.get(name)
        if kept is None:
            file = self._file("assets", name)
            content = b"" if file is None else file.read_bytes()
            kept = self._assets[name] = (content, _gzipped(content))
        content, small = kept
        return _response(name, accepts, _FOR_EVER, content, lambda: small)

    def _file(self, *steps: str) -> Traversable | None:
        found = self._folder.joinpath(*steps)
        return found if found.is_file() else None


def _response(
    name: str, accepts: str, headers: dict[str, str], content: bytes, small: Callable[[], bytes]
) -> Response:
    kind = _KINDS.get(name[name.rfind(".") :])
    sent = dict(headers)
    if kind is not None and "gzip" in accepts:
        content, sent["Content-Encoding"] = small(), "gzip"
    return Response(content, headers=sent, media_type=kind or "application/octet-stream")


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
