"""A simulated account, a voice-agent server, and our REST client between them, on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from pydantic import SecretStr
from tests.testing.twilio.doors import ACCOUNT, SPEED, TOKEN, Request, Server, serving
from tests.waiting import until

from offhook.clock import LoopClock
from offhook.config import TwilioSettings
from offhook.testing.scenarios.caller import CallReport, SimulatedCaller
from offhook.testing.scenarios.lateness import Lateness, watching
from offhook.testing.simulator.twilio.account.account import SimulatedAccount
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.account.server import serve
from offhook.testing.simulator.twilio.call_report import CallParty, LegReport
from offhook.testing.simulator.twilio.calls.ledger import NetworkLedger
from offhook.testing.simulator.twilio.calls.network import (
    Callbacks,
    SimulatedNetwork,
    simulated_network,
)
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson, book
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.simulator.twilio.webhooks import RehearsedHost
from offhook.twilio.rest import RestCall, TwilioRest

DESK: Final = "+12025550100"
ADA: Final = "+12025550142"
BOB: Final = "+12025550111"
CAROL: Final = "+12025550122"

NOTICED_S: Final = 4.0
"""A fifth of a second of ours, for a server that is asked."""


@dataclass
class Rig:
    server: Server
    network: SimulatedNetwork
    account: SimulatedAccount
    rest: TwilioRest
    origin: str
    http: httpx2.AsyncClient
    late: Lateness

    @property
    def ledger(self) -> NetworkLedger:
        return self.network.ledger

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.server.port}{path}"

    @property
    def stream(self) -> str:
        return f"<Connect><Stream url='wss://127.0.0.1:{self.server.port}/twilio'/></Connect>"

    async def ring(self, to: str, twiml: str, **more: Any) -> RestCall:
        return await self.rest.create_call(
            to=to, from_=DESK, twiml=f"<Response>{twiml}</Response>", **more
        )

    async def over(self, call: RestCall | str) -> LegReport[CallParty]:
        sid = call if isinstance(call, str) else call.sid
        await until(lambda: self.network.legs[sid].over)
        return self.ledger.reports[sid]

    async def inbound(self, who: SimulatedCaller | None = None, **more: Any) -> CallReport:
        """Somebody calls /voice."""
        return await place_call(
            self.server.url,
            who or SimulatedCaller((), lambda text: b""),
            clock=self.network.clock,
            auth_token=TOKEN,
            account_sid=ACCOUNT,
            from_=ADA,
            to=DESK,
            network=self.network,
            **more,
        )

    def silences(self, report: LegReport[CallParty]) -> list[tuple[float, float]]:
        """What a person would call a silence, but for what this machine itself was late."""
        return report.silences(NOTICED_S + SPEED * self.late.behind)

    def statuses(self, path: str = "/status") -> list[str]:
        return [request.form["CallStatus"] for request in self.server.at(path)]


@asynccontextmanager
async def rig(
    people: Mapping[str, SimulatedPerson] | None = None,
    callbacks: Callbacks = Callbacks(),  # noqa: B008 - it is frozen
    **account: Any,
) -> AsyncIterator[Rig]:
    async with (
        serving() as server,
        httpx2.AsyncClient(timeout=None, trust_env=False, verify=False) as http,
        watching() as late,
    ):
        for path in ("/status", "/amd", "/texts"):
            server.pages[path] = nothing
        front = RehearsedHost(server.url, TOKEN)
        clock = LoopClock(asyncio.get_running_loop(), SPEED)
        async with simulated_network(
            ACCOUNT, front, clock, book(people or {}), callbacks
        ) as network:
            made = SimulatedAccount(
                network, TOKEN, **({"numbers": [AccountNumber(DESK)]} | account)
            )
            async with serve(made) as origin:
                twilio = TwilioSettings(
                    account_sid=ACCOUNT, auth_tokens=(SecretStr(TOKEN),), api_url=origin
                )
                yield Rig(
                    server,
                    network,
                    made,
                    TwilioRest(twilio.require_rest(), http),
                    origin,
                    http,
                    late,
                )


def nothing(request: Request) -> tuple[int, str, str]:
    return 204, "", ""
