"""An account's REST API on a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from offhook.rehearsal.account.account import Account
from offhook.uvicorn_server import OwnedUvicorn


@asynccontextmanager
async def serve(account: Account) -> AsyncIterator[str]:
    """Serve it on a free loopback port: the origin, for `twilio.api_url`."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        started = asyncio.Event()
        config = uvicorn.Config(
            app(account), ws="none", lifespan="off", log_config=None, access_log=False
        )
        server = OwnedUvicorn(config, started)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[sock]), name="Twilio's REST API")
            await started.wait()
            try:
                yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            finally:
                server.should_exit = True
                server.force_exit = True
                await serving


def app(account: Account) -> Starlette:
    """It, as an ASGI application."""

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
