"""The HTTP server of Offhook: uvicorn with our limits, and a bounded shutdown."""

import asyncio
import socket
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from offhook.config import ServerSettings
from offhook.net import websocket
from offhook.net.first_request import HttpServer

STREAM_MESSAGE_MAX: Final = 64 * 1024
"""Bytes that a message of a media stream may have. Twilio's messages are smaller than 1 KB."""

LINGER_S: Final = 2.0
"""Seconds that a stopping server goes on with responses that a client is still reading."""

HANDLERS_S: Final = 4
"""Seconds after which a stopping server cancels unanswered requests.

Without a limit, a request that waits for ever would keep the server running.
"""


class GracefulHttpServer(HttpServer):
    """HTTP server that ends responses LINGER_S after it was stopped."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and give open responses LINGER_S to finish."""
        cut = asyncio.get_running_loop().call_later(LINGER_S, self._cut)
        await super().shutdown(sockets=sockets)
        cut.cancel()

    def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def http_server(
    app: ASGIApp,
    sock: socket.socket,
    settings: ServerSettings,
    *,
    decide: websocket.Decide,
    started: asyncio.Event,
    files_of_stream: int,
) -> GracefulHttpServer:
    """Return a server of `app` on a socket; `decide` routes WebSocket requests."""
    config = uvicorn.Config(
        app,
        http=HttpToolsProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=HANDLERS_S,
        # Clients can forge these headers; api/client_address.py reads one, of trusted proxies.
        proxy_headers=False,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    return GracefulHttpServer(
        config,
        sock,
        decide=decide,
        max_size=STREAM_MESSAGE_MAX,
        started=started,
        files_of_stream=files_of_stream,
    )
