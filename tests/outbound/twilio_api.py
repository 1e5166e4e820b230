"""As much of Twilio's REST API as placing calls needs, in a test's hands, over a real socket."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urldefrag, urlencode, urlsplit

import httpx2
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.api.desk import Desk
from tests.whole_server import ACCOUNT, TOKEN, RawStream

from offhook.config import Config, OutboundSettings, TwilioSettings
from offhook.net import websocket
from offhook.serving.listen import listen
from offhook.twilio.signature import sign

PUBLIC = "https://voice.example.com"
US = "+12025550100"
ADA = "+12025550142"

Form = dict[str, list[str]]


class TwilioApi:
    """`before` is awaited before a call is created, and may answer in its place; `after` when it
    is, before the answer leaves, and may replace it.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.calls: dict[str, dict[str, Any]] = {}
        self.forms: dict[str, Form] = {}
        self.updates: list[tuple[str, Form]] = []
        self.before: Callable[[Form], Any] | None = None
        self.after: Callable[[str], Any] | None = None

    def app(self) -> Starlette:
        base = f"/2010-04-01/Accounts/{ACCOUNT}"
        return Starlette(
            routes=[
                Route(f"{base}/Calls.json", self._create, methods=["POST"]),
                Route(f"{base}/Calls.json", self._list, methods=["GET"]),
                Route(f"{base}/Calls/{{sid}}.json", self._update, methods=["POST"]),
                Route(f"{base}/Calls/{{sid}}.json", self._fetch, methods=["GET"]),
            ]
        )

    async def _create(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        if self.before is not None:
            answer = await self.before(form)
            if answer is not None:
                assert isinstance(answer, Response)
                return answer
        sid = "CA" + secrets.token_hex(16)
        self.calls[sid] = {
            "sid": sid,
            "status": "queued",
            "to": form["To"][0],
            "from": form["From"][0],
            "date_created": format_datetime(datetime.now(UTC)),
        }
        self.forms[sid] = form
        if self.after is not None:
            answer = await self.after(sid)
            if answer is not None:
                assert isinstance(answer, Response)
                return answer
        return JSONResponse(self.calls[sid], 201)

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        found = [
            call
            for call in reversed(self.calls.values())
            if (call["to"], call["from"]) == (query["To"], query["From"])
        ]
        return JSONResponse({"calls": found})

    async def _fetch(self, request: Request) -> Response:
        call = self.calls.get(request.path_params["sid"])
        return JSONResponse(call or {"code": 20404}, 200 if call else 404)

    async def _update(self, request: Request) -> Response:
        sid = request.path_params["sid"]
        self.updates.append((sid, parse_qs((await request.body()).decode())))
        return JSONResponse(self.calls[sid])

    def token_of(self, sid: str) -> str:
        twiml = self.forms[sid]["Twiml"][0]
        return twiml.partition('name="token" value="')[2].partition('"')[0]


class Phone:
    """The other half of Twilio: it calls a server back, as its public host."""

    def __init__(self, api: TwilioApi, desk: Desk) -> None:
        self.api = api
        self.desk = desk

    async def report(self, sid: str, status: str, **more: str) -> httpx2.Response:
        """A status callback, to where the request wanted it."""
        self.api.calls[sid]["status"] = status
        url = self.api.forms[sid]["StatusCallback"][0]
        return await self._post(url, sid, CallStatus=status, Direction="outbound-api", **more)

    async def verdict(self, sid: str, answered_by: str) -> httpx2.Response:
        """Of answering-machine detection."""
        url = self.api.forms[sid]["AsyncAmdStatusCallback"][0]
        return await self._post(url, sid, AnsweredBy=answered_by)

    async def after(self, sid: str, status: str = "in-progress") -> str:
        """What Twilio is to do when the stream is over."""
        answer = await self._post(
            f"{PUBLIC}/twilio/after", sid, CallStatus=status, Direction="outbound-api"
        )
        return answer.text

    async def stream(self, sid: str, token: str | None = None) -> RawStream:
        stream = RawStream()
        await websocket.connect(
            f"ws://127.0.0.1:{self.desk.whole.server.port}/twilio",
            stream,
            headers={"x-twilio-signature": sign(TOKEN, "wss://voice.example.com/twilio")},
            timeout=5,
            max_size=2**20,
        )
        stream.start(sid, token or self.api.token_of(sid))
        return stream

    async def _post(self, url: str, sid: str, **form: str) -> httpx2.Response:
        form = {"CallSid": sid, "AccountSid": ACCOUNT, "From": US, "To": ADA, **form}
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        return await self.desk.whole.http.post(
            self.desk.whole.origin + target,
            content=urlencode(form),
            headers={
                "Host": "voice.example.com",
                # Connection overrides are not signed (twilio.md §3.1).
                "X-Twilio-Signature": sign(TOKEN, urldefrag(url).url, form.items()),
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )


@asynccontextmanager
async def twilio_api() -> AsyncIterator[TwilioApi]:
    sock = listen("127.0.0.1", 0)
    api = TwilioApi(sock.getsockname()[1])
    config = uvicorn.Config(api.app(), lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server._serve(sockets=[sock]))
        try:
            yield api
        finally:
            server.should_exit = True
            await serving


def outbound(api: TwilioApi, **limits: Any) -> Callable[[Config], Config]:
    """A configuration that can place calls there."""
    return configured_for(api.url, **limits)


def configured_for(api_url: str, **limits: Any) -> Callable[[Config], Config]:
    """A configuration that can place calls with the account at that origin."""

    def changed(config: Config) -> Config:
        server = config.server.model_copy(update={"public_url": PUBLIC})
        twilio = TwilioSettings(
            account_sid=ACCOUNT, auth_tokens=(SecretStr(TOKEN),), api_url=api_url
        )
        placing = OutboundSettings.model_validate(
            {"caller_id": US, "calls_per_second": 100, "concurrent": 50, **limits}
        )
        dialling = config.dialling.model_copy(
            update={"calls_per_hour": 1_000, "spend_per_hour": 1e6}
        )
        return replace(config, server=server, twilio=twilio, outbound=placing, dialling=dialling)

    return changed
