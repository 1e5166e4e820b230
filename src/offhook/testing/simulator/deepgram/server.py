"""Server of the stand-in agent, with Deepgram's path and Deepgram's kinds of credential.

Every key is accepted, but its scheme is checked (deepgram.md §1.2, §11), because the wrong scheme
is the commonest reason for a refusal.
"""

import asyncio
import socket
import uuid
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from offhook.clock import Clock
from offhook.net import websocket
from offhook.net.addresses import is_this_machine
from offhook.net.first_request import FirstRequestRouter
from offhook.net.listener import Listener
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.deepgram.script_policy import agent_of
from offhook.testing.simulator.deepgram.standin import StandIn

PATH: Final = "/v1/agent/converse"

MAX_MESSAGE: Final = 1024 * 1024
"""Bytes that one message from a client may have."""

_CLOSE_S: Final = websocket.CLOSE_WAIT_S + 1.0
"""Seconds that `StandInServer.close` waits for sessions, whose sockets time out earlier."""

_REFUSALS: Final[Mapping[int, tuple[str, str]]] = {
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: ("ASR_PAYMENT_REQUIRED", "Project does not have enough credits."),
    403: ("INSUFFICIENT_PERMISSIONS", "User does not have sufficient permissions."),
    404: ("NOT_FOUND", "There is no such path."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later."),
}


class StandInServer:
    """Listening socket with its sessions. `serve` makes one."""

    def __init__(
        self,
        sock: socket.socket,
        agent: StandInAgent,
        clock: Clock,
        on_session: Callable[[StandIn], None] | None,
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._on_session = on_session
        self._address: Final = sock.getsockname()
        self._listener: Final = Listener(
            sock,
            lambda listener: FirstRequestRouter(listener, self._decide, MAX_MESSAGE),
            files_of_stream=1,
        )
        self._none_left = asyncio.Event()
        self._none_left.set()
        self.sessions: Final = set[StandIn]()
        """Sessions that are open."""

    @property
    def port(self) -> int:
        """Port on which the server listens."""
        port: int = self._address[1]
        return port

    @property
    def url(self) -> str:
        """WebSocket URL of the server, for `offhook serve --deepgram-url`."""
        host: str = self._address[0]
        return f"ws://{f'[{host}]' if ':' in host else host}:{self.port}{PATH}"

    async def close(self) -> None:
        """Stop listening and close every session, within a few seconds."""
        self._listener.close()
        self._listener.cut()
        for session in list(self.sessions):
            session.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._none_left.wait()
        except TimeoutError:
            return

    def _decide(self, upgrade: websocket.Upgrade) -> websocket.Acceptance | websocket.Refusal:
        request_id = str(uuid.uuid4())
        if upgrade.path.partition("?")[0] != PATH:
            return _refusal(404, request_id)
        if _is_of_foreign_page(upgrade.headers):
            return _refusal(403, request_id, "Pages of this machine alone may use the stand-in.")
        scheme, subprotocol = _scheme(upgrade.headers)
        if scheme is None:
            return _refusal(401, request_id)
        status = self._agent.conduct.upgrade_status
        if status is not None:
            return _refusal(status, request_id)
        session = StandIn(self._agent, self._clock, request_id, ended=self._ended)
        self.sessions.add(session)
        self._none_left.clear()
        if self._on_session is not None:
            self._on_session(session)
        return websocket.Acceptance(session, subprotocol, {"dg-request-id": request_id})

    def _ended(self, session: StandIn) -> None:
        self.sessions.discard(session)
        if not self.sessions:
            self._none_left.set()


async def serve(
    host: str,
    port: int,
    agent: StandInAgent | Script,
    clock: Clock,
    on_session: Callable[[StandIn], None] | None = None,
) -> StandInServer:
    """Listen on `host` and `port` (0 for any free port). Raises OSError if that is not possible.

    The maker of the agent owns its parts: its SpeechToText and TextToSpeech processes outlive the
    server. `on_session` is called with each session before it opens.
    """
    family = (await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    sock = socket.create_server(family[4][:2], family=family[0])
    server = StandInServer(sock, agent_of(agent), clock, on_session)
    server._listener.open()
    return server


def _scheme(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the scheme of the client's key ("token" or "bearer") and the subprotocol to select.

    The scheme is None if the client must be refused. A key needs `token` and a short-lived JWT
    needs `bearer`; Deepgram accepts neither the other way round. Browsers, which cannot set
    headers, offer scheme and key as subprotocols.
    """
    scheme, _, credential = headers.get("Authorization", "").partition(" ")
    subprotocol = None
    if not scheme:
        offered = [word.strip() for word in headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if len(offered) < 2:
            return None, None
        scheme, credential = offered[:2]
        subprotocol = scheme
    scheme = scheme.lower()
    is_jwt = credential.count(".") == 2
    if credential.strip() and scheme == ("bearer" if is_jwt else "token"):
        return scheme, subprotocol
    return None, None


def _is_of_foreign_page(headers: Mapping[str, str]) -> bool:
    """Return whether a page of another host asks: its scripts reach this machine's ports, too.

    A session would have requests made to this machine, and use a model at the cost of its user.
    """
    origin = headers.get("Origin")
    if origin is None:
        return False  # no browser
    try:
        return not is_this_machine(urlsplit(origin).hostname or "")
    except ValueError:
        return True


def _refusal(status: int, request_id: str, words: str = "") -> websocket.Refusal:
    code, text = _REFUSALS.get(status, ("INTERNAL_SERVER_ERROR", "The script says so."))
    body = {"err_code": code, "err_msg": words or text, "request_id": request_id}
    headers = {"Content-Type": "application/json", "dg-request-id": request_id}
    return websocket.Refusal(status, msgspec.json.encode(body).decode(), headers)
