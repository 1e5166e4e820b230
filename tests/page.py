"""A page of the console as a client: its sockets, and a softphone that speaks as the browser's."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from tests.waiting import GIVEN_UP_AFTER_S
from tests.whole_server import RawStream, caller

from offhook.clock import LoopClock
from offhook.net import websocket
from offhook.testing.scenarios.caller import SimulatedCaller
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.twilio import stream_socket
from offhook.testing.simulator.twilio.stream import SimulatedStream
from offhook.twilio import messages


@dataclass(frozen=True)
class OpenedPhone:
    """The answer to POST /api/v1/phone-calls."""

    call_sid: str
    account_sid: str
    stream_sid: str
    stream: str
    announcement: Any


@dataclass(frozen=True)
class PhoneCall:
    """A call that has a softphone on the line. `ended` is set when its socket is closed."""

    call_sid: str
    stream: SimulatedStream
    caller: SimulatedCaller
    ended: asyncio.Event


class ConsolePage:
    """A page of the console at the operator's listener, signed in with `headers`."""

    def __init__(self, url: str, http: httpx2.AsyncClient, headers: Mapping[str, str]) -> None:
        self.url = url
        self.http = http
        self.headers = dict(headers)

    async def post(self, path: str, body: Any = None) -> httpx2.Response:
        return await self.http.post(self.url + path, json=body, headers=self.headers, timeout=240)

    async def open_phone(self, agent: str = "", **variables: str) -> OpenedPhone:
        answer = await self.post(
            "/api/v1/phone-calls", {"agent": agent, "variables": dict(variables)}
        )
        assert answer.status_code == 201, answer.text
        return OpenedPhone(**answer.json())

    async def socket(self, path: str, headers: Mapping[str, str] | None = None) -> RawStream:
        """A bare socket of that path, to listen on or to misbehave on."""
        raw = RawStream()
        await websocket.connect(
            self.url.replace("http", "ws", 1) + path,
            raw,
            headers=self.headers if headers is None else headers,
            timeout=GIVEN_UP_AFTER_S,
            max_size=2**20,
        )
        return raw

    async def dial(self, opened: OpenedPhone, *steps: ScenarioStep) -> PhoneCall:
        """Open the stream of a call, and have a simulated caller take the steps on it."""
        ended = asyncio.Event()
        made = caller(*steps)
        stream = SimulatedStream(
            made,
            LoopClock(asyncio.get_running_loop()),
            account_sid=opened.account_sid,
            call_sid=opened.call_sid,
            stream_sid=opened.stream_sid,
            on_end=ended.set,
        )
        url = self.url.replace("http", "ws", 1) + opened.stream
        await stream_socket.connect(url, stream, self.headers)
        return PhoneCall(opened.call_sid, stream, made, ended)

    async def call(self, *steps: ScenarioStep, agent: str = "", **variables: str) -> PhoneCall:
        """Call an agent, and return when the call is over."""
        call = await self.dial(await self.open_phone(agent, **variables), *steps)
        async with asyncio.timeout(GIVEN_UP_AFTER_S):
            await call.ended.wait()
        return call


def begin(raw: RawStream, opened: OpenedPhone) -> None:
    """Send `connected` and `start` of a call."""
    raw.send(messages.Connected())
    raw.send(
        messages.Start(
            stream_sid=opened.stream_sid,
            start=messages.StartDetails(account_sid=opened.account_sid, call_sid=opened.call_sid),
        )
    )
