"""Routers of the API's parts: path, common errors, and who may ask.

The application takes their routes as they are. FastAPI's `include_router` would build each route
once more, at the first request.
"""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Depends
from fastapi.security import APIKeyCookie, HTTPBearer

from offhook.api.paths import PREFIX
from offhook.api.principal import require_role
from offhook.api.signed_in import COOKIE

_EVERYWHERE: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "The token is missing or wrong."},
    403: {
        "description": "The request comes from a page of another site, or needs another role.",
    },
    413: {"description": "The body is too long."},
    422: {"description": "Something is asked that cannot be."},
    429: {"description": "There were too many wrong tokens."},
    503: {"description": "The database does not answer, or too many ask."},
}
"""Errors of every route. `problems.documented` adds their body."""

_SIGNED_IN: Final[Sequence[Any]] = (
    Depends(
        HTTPBearer(auto_error=False, scheme_name="token", description="See docs/api.md."),
    ),
    Depends(
        APIKeyCookie(
            name=COOKIE, auto_error=False, scheme_name="session", description="See docs/console.md."
        ),
    ),
    Depends(require_role),
)


def open_to_all(tag: str) -> APIRouter:
    """Return a router for routes that need no session and no token."""
    return APIRouter(prefix=PREFIX, tags=[tag], responses=_EVERYWHERE)


def for_users(tag: str, *dependencies: Any) -> APIRouter:
    """Return a router for routes of signed-in users, who have the role that each route needs."""
    return APIRouter(
        prefix=PREFIX,
        tags=[tag],
        responses=_EVERYWHERE,
        dependencies=[*_SIGNED_IN, *dependencies],
    )
