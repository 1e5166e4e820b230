"""The user's own server, run within the rehearsal: on a port of its own, its two wires in sight."""

import asyncio
import dataclasses
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pydantic import SecretStr

from offhook.clock import Clock
from offhook.config import Config, Twilio
from offhook.rehearsal.trial.from_the_wire import FromTheWire
from offhook.server import Server, listen
from offhook.tap import NewCall, Tap


class OwnServer:
    """A server that runs. `hear` is told of a call before it is placed."""

    def __init__(self, port: int, token: str, clock: Clock) -> None:
        self.url = f"http://127.0.0.1:{port}/twilio/voice"
        self.token = token
        self._clock = clock
        self._calls: dict[str, FromTheWire] = {}

    def hear(self, call_sid: str, ended: Callable[[], None]) -> FromTheWire:
        """What that call's caller hears, from the wire; `ended` when the server's call is over."""
        heard = self._calls[call_sid] = FromTheWire(self._clock, ended)
        return heard

    def tap(self, call: NewCall) -> Tap | None:
        """The tap of a call that begins."""
        return self._calls.pop(call.call_sid, None)


@asynccontextmanager
async def run(config: Config, clock: Clock) -> AsyncIterator[OwnServer]:
    """Run that configuration on a free loopback port, signed with a token that nobody knows."""
    token = secrets.token_hex(16)
    sock = listen("127.0.0.1", 0)
    own = OwnServer(sock.getsockname()[1], token, clock)
    config = dataclasses.replace(
        config,
        server=config.server.model_copy(
            update={"public_url": None, "tls_cert": None, "tls_key": None, "unsigned": False}
        ),
        twilio=Twilio(auth_tokens=(SecretStr(token),)),
    )
    server = Server(config, sock, [], own.tap)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.run(), name="server")
        await server.started.wait()
        try:
            yield own
        finally:
            server.stop()
            server.stop()
            await serving
