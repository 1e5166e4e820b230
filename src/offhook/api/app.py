"""The API as an ASGI application: FastAPI with its routes, and one form for all errors."""

from datetime import UTC
from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp

from offhook import __version__
from offhook.api import after, audio, calls, control, following, page, placing
from offhook.api.auth import OperatorAuth
from offhook.api.links import Links
from offhook.api.live import LiveEvents
from offhook.api.models import ProblemResponse
from offhook.api.operator import Operator
from offhook.api.problems import ApiError, response
from offhook.api.reading import Readers
from offhook.calls.registry import CallRegistry
from offhook.clock import Clock, wall_clock
from offhook.config import Config
from offhook.errors import UserError
from offhook.observability.metrics.meter import Metrics
from offhook.outbound.outbound_calls import OutboundCalls
from offhook.recordings.files import LocalFiles
from offhook.records import database
from offhook.webhooks.routes import PUBLIC

_ABOUT: Final = """\
The calls that were and are. All times are in milliseconds; those of a call count from its
beginning. Whatever is not done is answered with a problem: what and why, and what fixes it.
"""

_EVERYWHERE: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": ProblemResponse, "description": "The token is missing or wrong."},
    403: {
        "model": ProblemResponse,
        "description": "The request comes from a page of another site.",
    },
    413: {"model": ProblemResponse, "description": "The body is too long."},
    422: {"model": ProblemResponse, "description": "Something is asked that cannot be."},
    429: {"model": ProblemResponse, "description": "There were too many wrong tokens."},
    503: {
        "model": ProblemResponse,
        "description": "The database does not answer, or too many ask.",
    },
}


class Api:
    """The operator's part of a server that keeps records in `engine` and `files`.

    `live` is a subscriber. `around` puts the API in front of what the port serves already.
    """

    def __init__(
        self,
        config: Config,
        token: SecretStr,
        engine: Engine,
        files: LocalFiles,
        *,
        readers: Readers | None = None,
    ) -> None:
        self.live: Final = LiveEvents()
        self._hosts = config.server.operator_hosts
        self._token = token
        self._engine = engine
        self._files = files
        self._config = config
        self._records = config.records
        self._links = Links(token, lambda: wall_clock(UTC).timestamp())
        self._readers = readers or Readers()

    def around(
        self,
        others: ASGIApp,
        calls: CallRegistry,
        clock: Clock,
        placing: OutboundCalls | None = None,
        *,
        metrics: Metrics,
    ) -> ASGIApp:
        """Return the application that answers on the port.

        It is `others` on PUBLIC; on every other path it is the operator's application,
        behind its authentication.
        """
        operator = Operator(
            engine=self._engine,
            files=self._files,
            journal=self._records.folder / "journal",
            delivers=self._records.webhook.url is not None,
            calls=calls,
            placing=placing,
            config=self._config,
            live=self.live,
            links=self._links,
            readers=self._readers,
        )
        return OperatorAuth(
            _application(operator, metrics),
            others,
            public=PUBLIC,
            hosts=self._hosts,
            token=self._token,
            links=self._links,
            clock=clock,
        )

    def close(self) -> None:
        """Let the threads end."""
        self._readers.close()


def _application(operator: Operator, metrics: Metrics) -> FastAPI:
    app = FastAPI(
        title="Offhook",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    bearer = HTTPBearer(auto_error=False, scheme_name="token", description="See docs/api.md.")
    for part in (calls, placing, audio, after, control, following):
        app.include_router(
            part.router(operator),
            prefix="/api",
            responses=_EVERYWHERE,
            dependencies=[Depends(bearer)],
        )
    schema = app.openapi()
    html = page.page(schema)

    async def openapi(_: Request) -> Response:
        return JSONResponse(schema)

    async def docs(_: Request) -> Response:
        return HTMLResponse(html, headers={"Content-Security-Policy": page.POLICY})

    async def scrape(_: Request) -> Response:
        return Response(await metrics.text(), media_type=metrics.content_type)

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

    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
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
        return response(
            ApiError(
                500,
                UserError(
                    "E-API-15",
                    f"Offhook has a fault ({type(error).__name__}); its log has more.",
                    "Report it, with those lines of the log.",
                ),
            )
        )

    app.add_exception_handler(ApiError, on_refused)
    app.add_exception_handler(UserError, on_refused)
    app.add_exception_handler(SQLAlchemyError, on_database)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_fault)
