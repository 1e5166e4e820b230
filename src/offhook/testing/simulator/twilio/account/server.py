"""Servers of small applications on loopback: that of an account's REST API, above all."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from offhook.net import websocket
from offhook.net.first_request import HttpServer
from offhook.testing.simulator.twilio.account.account import SimulatedAccount


@asynccontextmanager
async def serve(account: SimulatedAccount) -> AsyncIterator[str]:
    """Serve the API on a free loopback port and yield its origin, for `twilio.api_url`."""
    async with on_loopback(app(account), "Twilio's REST API") as origin:
        yield origin


@asynccontextmanager
async def on_loopback(served: ASGIApp, name: str) -> AsyncIterator[str]:
    """Serve an application on a free loopback port and yield its origin. `name` is its task's."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        started = asyncio.Event()
        config = uvicorn.Config(
            served,
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        server = HttpServer(config, sock, decide=_no_upgrade, max_size=0, started=started)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(), name=name)
            await started.wait()
            try:
                yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            finally:
                server.should_exit = True
                server.force_exit = True
                await serving


def _no_upgrade(upgrade: websocket.Upgrade) -> websocket.Refusal:
    return websocket.Refusal(404, "Not found.\n")


def app(account: SimulatedAccount) -> Starlette:
    """Return the account as an ASGI application."""

    async def answer(request: Request) -> Response:
        reply = account.answer(
            request.method,
            request.url.path,
            request.url.query,
            (await request.body()).decode("utf-8", "replace"),
            request.headers.get("authorization"),
        )
        return JSONResponse(reply.body, reply.status, reply.headers)

    methods = ["GET", "POST", "DELETE", "PUT"]
    return Starlette(routes=[Route("/{path:path}", answer, methods=methods)])
