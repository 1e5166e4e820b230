"""The API as an ASGI application: FastAPI with its routes, and one form for all errors."""

import asyncio
import functools
from collections.abc import Callable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from offhook import __version__
from offhook.api import (
    after,
    agents,
    audio,
    calls,
    control,
    entrance,
    following,
    load,
    page,
    phone,
    placing,
    quality,
    users,
    wire,
)
from offhook.api.audit_log import AuditLog
from offhook.api.auth import OperatorAuth
from offhook.api.client_address import ClientAddresses
from offhook.api.console_files import ConsoleFiles
from offhook.api.links import Links
from offhook.api.live import LiveEvents
from offhook.api.live_board import LiveBoard
from offhook.api.live_fleet import LiveFleet
from offhook.api.live_snapshot import LiveSnapshots
from offhook.api.metrics_page import MetricsPage
from offhook.api.operator import Operator
from offhook.api.paths import moved_to
from offhook.api.problems import ApiError, documented, response
from offhook.api.reading import Readers
from offhook.api.signed_in import SignedIn
from offhook.api.streams import PageStreams
from offhook.api.throttle import Throttle
from offhook.clock import LoopClock, wall_clock
from offhook.config import AppConfig
from offhook.errors import UserError, fault_of
from offhook.events.types import CallEvent
from offhook.journal.entries import JournalEntry
from offhook.link.processes import CallProcesses
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.meter import Metrics
from offhook.recordings.files import LocalFiles
from offhook.records import database
from offhook.users import sessions

_ABOUT: Final = """\
The calls that were and are. All times are in milliseconds; those of a call count from its
beginning. Every error is an `application/problem+json` that says what happened, and what fixes it.
"""

_PARTS: Final = (
    calls,
    quality,
    load,
    placing,
    phone,
    audio,
    after,
    control,
    following,
    agents,
    wire,
    entrance,
    users,
)
"""Modules whose routes are for signed-in users."""


class Api:
    """The operator's application. `auth` is what its listener serves.

    `tell` takes what happens in calls, on the loop of the application, and `live` sends it.
    `streams` are the sockets of its pages. `metrics` are the operator's own; those of the call
    `processes` are added to each page. `skipped` is that of LiveSnapshots.
    """

    def __init__(
        self,
        config: AppConfig,
        token: SecretStr,
        engine: Engine,
        files: LocalFiles,
        processes: CallProcesses,
        *,
        skipped: Callable[[], Mapping[str, int] | None],
        readers: Readers | None = None,
        captures: Path | None = None,
    ) -> None:
        self.live: Final = LiveEvents()
        self.streams: Final = PageStreams()
        fleet = config.fleet
        self.board: Final = LiveBoard(None if fleet is None else fleet.node)
        self.fleet: Final = LiveFleet(self.board, self.live, is_one=fleet is not None)
        self.metrics: Final = Metrics(catalogue.OPERATOR, namespace="offhook_operator")
        self._links = Links(token, lambda: wall_clock(UTC).timestamp())
        self._readers = readers or Readers()
        self._page = MetricsPage(processes, self.metrics, "" if fleet is None else fleet.node)
        self._operator = Operator(
            engine=engine,
            files=files,
            captures=captures,
            prices=config.records.prices,
            journal=config.records.journals,
            delivers=config.records.webhook.url is not None,
            processes=processes,
            live=self.live,
            streams=self.streams,
            board=self.board,
            snapshots=LiveSnapshots(
                self.board, self.live, self.fleet, config.records.journals, skipped
            ),
            links=self._links,
            readers=self._readers,
            signed_in=SignedIn(engine, self._readers, _now, self.streams.end_session),
            throttle=Throttle(_now),
            addresses=ClientAddresses(config.server.operator_proxies),
            shares_calls=config.fleet is not None,
        )
        self.auth: Final = OperatorAuth(
            _application(self._operator, self._page),
            hosts=config.server.operator_hosts,
            token=token,
            links=self._links,
            signed_in=self._operator.signed_in,
            throttle=self._operator.throttle,
            addresses=self._operator.addresses,
            files=ConsoleFiles(),
            audit=AuditLog(engine, self._readers),
        )
        """The application, behind its authentication."""

    def tell(self, process_id: str, entry: JournalEntry) -> None:
        """Take the next entry of a call process."""
        change = self.board.take(process_id, entry)
        if entry.origin is None:
            self.live(CallEvent(entry.call_sid, entry.at_ms, entry.event), change)

    def end(self, ended: CallEvent) -> None:
        """Take the end of a call whose process has died: no journal has it."""
        is_there = self.board.drop(ended.call_sid)
        self.live(ended, None if is_there else {})

    async def sign_in_link(self, url: str) -> str:
        """Make a link to the console at `url` that signs in once.

        Raises ApiError and SQLAlchemyError when the database does not answer.
        """
        code = await self._operator.change(
            lambda connection: sessions.make_link(connection, database.clock_ms(connection))
        )
        return sessions.link_at(url, code)

    def close(self) -> None:
        """Let the threads end."""
        self._readers.close()


def _now() -> float:
    """Return the time by the clock of the loop that serves, in seconds."""
    return LoopClock(asyncio.get_running_loop()).now()


def routes(operator: Operator) -> FastAPI:
    """Return an application with the routes of the API alone, which its document describes."""
    made = [entrance.open_router(operator), *(part.router(operator) for part in _PARTS)]
    return FastAPI(
        title="Offhook",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=[route for router in made for route in router.routes],
    )


def _application(operator: Operator, metrics: MetricsPage) -> FastAPI:
    app = routes(operator)

    @functools.cache  # It takes longer than all else at the start, and few ask for it.
    def schema() -> dict[str, Any]:
        return documented(app.openapi())

    async def openapi(_: Request) -> Response:
        return JSONResponse(schema())

    async def docs(_: Request) -> Response:
        html = page.page(schema())
        return HTMLResponse(html, headers={"Content-Security-Policy": page.POLICY})

    async def scrape(_: Request) -> Response:
        return Response(await metrics.text(), media_type=Metrics.content_type)

    app.add_route("/metrics", scrape, methods=["GET"])
    app.add_route("/openapi.json", openapi, methods=["GET"])
    app.add_route("/docs", docs, methods=["GET"])
    _answer_errors(app, operator)
    return app


def _answer_errors(app: FastAPI, operator: Operator) -> None:
    """Answer every error in one form."""

    async def on_refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError | UserError)
        return response(error)

    async def on_database(_: Request, error: Exception) -> Response:
        assert isinstance(error, SQLAlchemyError)
        return response(database.unreachable(operator.engine, error))

    async def on_bad_request(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return response(
            UserError(
                "E-API-08",
                f"{where} cannot be taken: {first['msg']}.",
                "See /docs for what this path takes.",
            )
        )

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        moved = moved_to(request.url.path)
        if moved is not None:
            return response(ApiError(404, _moved(moved)))
        return response(
            ApiError(
                error.status_code,
                UserError(
                    "E-API-07",
                    f"There is nothing here that takes this request: {error.detail}.",
                    "See /docs for the paths, and the methods that they take.",
                ),
                error.headers,
            )
        )

    async def on_fault(_: Request, error: Exception) -> Response:
        return response(ApiError(500, fault_of(error)))

    app.add_exception_handler(ApiError, on_refused)
    app.add_exception_handler(UserError, on_refused)
    app.add_exception_handler(SQLAlchemyError, on_database)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_fault)


def _moved(path: str) -> UserError:
    return UserError(
        "E-API-21",
        "The API's paths begin with /api/v1 since it has versions.",
        f"Request {path}.",
    )
