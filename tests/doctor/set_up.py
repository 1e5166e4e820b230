"""A set-up that is good in all of its parts, over real sockets, and ways to break each."""

import dataclasses
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme
from tests.whole_server import ACCOUNT, TOKEN, WholeServer, configured, telephones, whole_server

from offhook.clock import LoopClock
from offhook.config import Overrides, RecordsSettings
from offhook.doctor.check import Check
from offhook.doctor.configuration import read_set_up
from offhook.doctor.examination import examine
from offhook.serving.call_serving import CallFiles
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.twilio.account.account import SimulatedAccount
from offhook.testing.simulator.twilio.calls.network import Callbacks

NUMBER = "+12025550100"
SETTINGS = {
    "listen": {"provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}},
    "think": {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}, "prompt": "Be brief."},
    "speak": {"provider": {"type": "deepgram", "version": "v2", "model": "flux-kit-en"}},
    "greeting": "Hello, this is {{agent}}.",
}


@dataclasses.dataclass
class SetUp:
    """What a person has: two files, an environment, an account, and a server that runs."""

    folder: Path
    file: dict[str, Any]
    agent: dict[str, Any]
    env: dict[str, str]
    account: SimulatedAccount
    server: WholeServer
    authority: trustme.CA
    ahead_s: float = 0.0

    async def examine(self) -> list[Check]:
        (self.folder / "shop.yaml").write_text(json.dumps(self.agent))
        path = self.folder / "offhook.yaml"
        path.write_text(json.dumps(self.file))
        read = read_set_up(path, self.env, Overrides())
        clock = self.server.clock
        return await examine(read, clock, wall_s=lambda: _wall_s() + self.ahead_s)

    def number(self, **settings: str) -> None:
        """Set the number in Twilio's console."""
        (number,) = self.account.numbers
        number.settings.clear()
        number.settings |= settings


def _wall_s() -> float:
    return datetime.now(UTC).timestamp()


@contextmanager
def trusted_here(folder: Path) -> Iterator[trustme.CA]:
    """An authority that this process trusts while entered."""
    authority = trustme.CA()
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(path)
    try:
        yield authority
    finally:
        if before is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = before


@asynccontextmanager
async def running_server(folder: Path, authority: trustme.CA) -> AsyncIterator[WholeServer]:
    """A server with TLS for `localhost`, and its journal in a folder."""
    folder.mkdir()  # noqa: ASYNC240
    issued = authority.issue_cert("localhost")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    config = configured("ws://127.0.0.1:1/")
    server = config.server.model_copy(update={"tls_cert": chain, "tls_key": key})
    records = RecordsSettings(folder=folder / "data", database=f"sqlite:///{folder}/db")
    config = dataclasses.replace(config, server=server, records=records)
    with CallFiles(config) as files:
        async with whole_server(config=config, files=files) as running:
            yield running


@asynccontextmanager
async def set_up(folder: Path) -> AsyncIterator[SetUp]:
    """A good set-up in a folder."""
    async with AsyncExitStack() as stack:
        authority = stack.enter_context(trusted_here(folder))
        server = await stack.enter_async_context(running_server(folder / "one", authority))
        port = server.server.port
        account, api_url = await stack.enter_async_context(
            telephones({}, Callbacks(), port, server.clock)
        )
        agent_url = await stack.enter_async_context(deepgram(server.clock, Script()))
        origin = f"https://localhost:{port}"
        file = {
            "server": {
                "public_url": origin,
                "capacity": 5,
                "tls_cert": "one/chain.pem",
                "tls_key": "one/key.pem",
            },
            "deepgram": {"url": agent_url, "max_sessions": 5},
            "twilio": {"api_url": api_url, "account_sid": ACCOUNT},
            "records": {"folder": "one/data", "journal_limit": 16_000_000},
            "outbound": {"agents": ["shop.yaml"]},
            "lines": {NUMBER: "shop.yaml"},
        }
        env = {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN}
        made = SetUp(folder, file, {"settings": SETTINGS}, env, account, server, authority)
        made.number(**webhooks(origin))
        yield made


def webhooks(origin: str) -> dict[str, str]:
    return {
        "VoiceUrl": f"{origin}/twilio/voice",
        "VoiceMethod": "POST",
        "StatusCallback": f"{origin}/twilio/status",
    }


@asynccontextmanager
async def deepgram(clock: LoopClock, script: Script) -> AsyncIterator[str]:
    """A stand-in agent, and the URL of its socket."""
    standin = await standin_server.serve("127.0.0.1", 0, script, clock)
    try:
        yield standin.url
    finally:
        await standin.close()
