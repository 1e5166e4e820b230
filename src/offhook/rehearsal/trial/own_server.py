"""The user's own server, run within the rehearsal: on a port of its own, its two wires in sight."""

import asyncio
import dataclasses
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from offhook.clock import Clock
from offhook.config import Config, Twilio
from offhook.server import Server, listen
from offhook.tap import NewCall, Tap


class OwnServer:
    """A server that runs."""

    def __init__(self, port: int, token: str, clock: Clock) -> None:
        self.url = f"http://127.0.0.1:{port}/twilio/voice"
        self.token = token
        self.clock = clock
        self._taps: dict[str, Tap] = {}

    def watch(self, call_sid: str, tap: Tap) -> None:
        """Have both wires of a call watched that is about to be placed."""
        self._taps[call_sid] = tap

    def tap(self, call: NewCall) -> Tap | None:
        """The tap of a call that begins."""
        return self._taps.pop(call.call_sid, None)


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
