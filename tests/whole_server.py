"""Our server, the stand-in agent and telephones for tests, over real sockets."""

import asyncio
import dataclasses
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
from pydantic import SecretStr
from tests.waiting import GIVEN_UP_AFTER_S, until

from offhook.call.inputs import ToolFinished
from offhook.calls.lookup import LookupResult
from offhook.calls.messaging import Messaging
from offhook.capture.tap import MakeTap
from offhook.clock import Clock, LoopClock
from offhook.config import Agent, Config, Overrides, TwilioSettings, load
from offhook.events.types import AgentSaid, CallEnded, CallerSaid, CallEvent, Event, Subscriber
from offhook.link.in_process import InProcessLink
from offhook.net import websocket
from offhook.outbound.ledger import CallLedger
from offhook.policy.dial_policy import DialPolicy, DialRules
from offhook.serving.call_serving import CallFiles
from offhook.serving.listen import listen
from offhook.serving.server import Server
from offhook.testing.scenarios.caller import CallReport, SimulatedCaller
from offhook.testing.scenarios.lateness import Lateness, watching
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.twilio.account.account import SimulatedAccount
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.account.server import serve
from offhook.testing.simulator.twilio.calls.ledger import NetworkLedger
from offhook.testing.simulator.twilio.calls.network import Callbacks, simulated_network
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson, book
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.simulator.twilio.webhooks import RehearsedHost
from offhook.tools.declare import Call
from offhook.twilio import messages
from offhook.twilio.signature import SETTINGS_HEADER, sign

TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = "AC" + "a" * 32
STREAM = "MZ" + "b" * 32
_CONNECTIONS = httpx2.Limits(keepalive_expiry=1.0)
MAX_LAG_MS = 60_000
HOURS = "What are your opening hours?"
QUICK = Script(
    turns=[ScriptTurn(hear=HOURS, say=["Of course, what else?"])], silence_ms=300, reply_ms=50
)
"""A stand-in that answers at once and briefly."""

GREET = ScenarioStep.model_validate({"wait_for_agent": {"quiet_ms": 600}})
HANG_UP = ScenarioStep.model_validate("hang_up")
ASK = ScenarioStep(say=HOURS)


def voice(text: str) -> bytes:
    name = clips.find(text)
    assert name is not None
    return clips.load(name)


def caller(*steps: ScenarioStep) -> SimulatedCaller:
    return SimulatedCaller(steps, voice)


class WholeServer:
    """What a test needs to know of a running server."""

    def __init__(self, server: Server, clock: LoopClock, http: httpx2.AsyncClient) -> None:
        self.server = server
        self.clock = clock
        self.http = http
        self.sessions: list[StandIn] = []
        self.happened: list[CallEvent] = []
        self.stopped = asyncio.Event()
        self.account: SimulatedAccount | None = None
        self.late = Lateness()

    @property
    def ledger(self) -> NetworkLedger:
        """What the simulated account has seen, of a server with `people`."""
        assert self.account is not None
        return self.account.network.ledger

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def events(self, call_sid: str | None = None) -> list[Event]:
        return [h.event for h in self.happened if call_sid in (None, h.call_sid)]

    def endings(self, call_sid: str | None = None) -> list[str]:
        return [e.slug for e in self.events(call_sid) if isinstance(e, CallEnded)]

    def silences(self, report: CallReport) -> list[tuple[float, float]]:
        """What a caller would call a silence, but for what this machine itself was late."""
        return report.silences(1.0 + self.late.behind)

    async def until_stopped(self) -> None:
        await self.stopped.wait()

    async def until_ended(self, count: int = 1) -> None:
        await until(lambda: len(self.endings()) >= count)

    async def call(
        self, *steps: ScenarioStep, path: str = "/twilio/voice", **options: Any
    ) -> CallReport:
        origin = self.origin if path == "/twilio/voice" else self.origin.replace("http", "ws")
        options.setdefault("auth_token", TOKEN)
        options.setdefault("from_", "+12025550142")
        options.setdefault("to", "+12025550100")
        if self.account is not None:
            options.setdefault("network", self.account.network)
        return await place_call(
            origin + path,
            caller(*steps),
            clock=self.clock,
            account_sid=ACCOUNT,
            **options,
        )

    async def post(
        self,
        path: str,
        signature: str | None = None,
        host: str | None = None,
        settings: str | None = None,
        **form: str,
    ) -> httpx2.Response:
        """A webhook, signed as Twilio would unless a signature is given.

        `settings` are what it says of the signature, for one that a shared key has made.
        """
        form = {"CallSid": "CA" + "1" * 32, "AccountSid": ACCOUNT, "To": "+12025550100", **form}
        name = host or f"127.0.0.1:{self.server.port}"
        if signature is None:
            signature = sign(TOKEN, f"https://{name}{path}", form.items())
        headers = {"X-Twilio-Signature": signature, "Host": name}
        if settings is not None:
            headers[SETTINGS_HEADER] = settings
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return await self.http.post(self.origin + path, content=urlencode(form), headers=headers)

    async def stream(
        self,
        *,
        signature: str | None = None,
        path: str = "/twilio",
        settings: str | None = None,
    ) -> "RawStream":
        """A bare media stream, to misbehave on."""
        if signature is None:
            signature = sign(TOKEN, f"wss://127.0.0.1{path}")
        stream = RawStream()
        await websocket.connect(
            f"ws://127.0.0.1:{self.server.port}{path}",
            stream,
            headers={"x-twilio-signature": signature}
            | ({SETTINGS_HEADER: settings} if settings is not None else {}),
            timeout=GIVEN_UP_AFTER_S,
            max_size=2**20,
        )
        return stream


class RawStream:
    """The client's end of a media stream, in a test's hands: a wire.Receiver."""

    def __init__(self) -> None:
        self.channel: websocket.Channel
        self.received: list[bytes] = []
        self.closed: asyncio.Future[websocket.Closed] = asyncio.get_running_loop().create_future()

    def on_open(self, socket: websocket.Channel) -> None:
        self.channel = socket

    def on_text(self, text: bytes) -> None:
        self.received.append(text)

    def on_binary(self, data: bytes) -> None:
        self.received.append(data)

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: websocket.Closed) -> None:
        self.closed.set_result(closed)

    def send(self, message: messages.FromTwilio) -> None:
        self.channel.send_text(messages.write(message))

    def start(
        self,
        call_sid: str,
        token: str | None = None,
        account: str = ACCOUNT,
        media_format: messages.MediaFormat = messages.MediaFormat(),  # noqa: B008 - it is frozen
    ) -> None:
        parameters = {"token": token} if token is not None else {}
        self.send(messages.Connected())
        self.send(
            messages.Start(
                stream_sid=STREAM,
                start=messages.StartDetails(
                    account_sid=account,
                    call_sid=call_sid,
                    custom_parameters=parameters,
                    media_format=media_format,
                ),
            )
        )

    def speak(self, frames: int = 1, stream_sid: str = STREAM) -> None:
        for _ in range(frames):
            self.send(
                messages.Media(
                    stream_sid=stream_sid, media=messages.MediaDetails(payload=b"\xff" * 160)
                )
            )

    async def end(self) -> websocket.Closed:
        async with asyncio.timeout(240):
            return await self.closed


def configured(
    deepgram_url: str,
    *,
    unsigned: bool = False,
    capacity: int = 100,
    max_sessions: int | None = None,
    **agent: Any,
) -> Config:
    """The seed's configuration with a test's own agent parts, and no file."""
    config = load(
        Path("/dev/null"),
        {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN},
        overrides=Overrides(deepgram_url=deepgram_url, unsigned=unsigned or None),
    )
    default = config.lines["default"]
    made = Agent.model_validate(
        {**default.model_dump(exclude={"settings"}), **agent, "settings": 0}
    )
    made = made.model_copy(update={"settings": default.settings})
    # A test machine may be as busy as it likes: no call is refused for that.
    server = config.server.model_copy(update={"capacity": capacity, "max_lag_ms": MAX_LAG_MS})
    deepgram = config.deepgram.model_copy(update={"max_sessions": max_sessions})
    return dataclasses.replace(config, server=server, deepgram=deepgram, lines={"default": made})


@asynccontextmanager
async def whole_server(
    script: Script = QUICK,
    *,
    config: Config | None = None,
    deepgram_url: str | None = None,
    twilio: TwilioSettings | None = None,
    make_tap: MakeTap | None = None,
    watchers: Sequence[Subscriber] = (),
    files: CallFiles | None = None,
    ledger: CallLedger | None = None,
    operator: InProcessLink | None = None,
    supervisor: int = 0,
    people: Mapping[str, SimulatedPerson] | None = None,
    callbacks: Callbacks = Callbacks(),  # noqa: B008 - it is frozen
    **options: Any,
) -> AsyncIterator[WholeServer]:
    """Run it all, and leave nothing behind: checked by whoever counts tasks and sockets.

    With `files` it keeps a journal; `operator` is connected to its operator's side. With `people`
    there is a simulated account whose REST requests act on the calls, and whoever
    is dialled is one of them.
    """
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop)
    sessions: list[StandIn] = []
    happened: list[CallEvent] = []
    standin = await standin_server.serve("127.0.0.1", 0, script, clock, sessions.append)
    config = config or configured(deepgram_url or standin.url, **options)
    url = config.deepgram.model_copy(update={"url": deepgram_url or standin.url})
    config = dataclasses.replace(config, deepgram=url, twilio=twilio or config.twilio)
    sock = listen("127.0.0.1", 0)
    async with (
        AsyncExitStack() as around,
        # It speaks plain HTTP, and gives up an idle connection before the server does.
        httpx2.AsyncClient(
            trust_env=False, verify=False, limits=_CONNECTIONS, timeout=GIVEN_UP_AFTER_S
        ) as http,
        asyncio.TaskGroup() as group,
    ):
        account = None
        if people is not None:
            port = sock.getsockname()[1]
            account, api_url = await around.enter_async_context(
                telephones(people, callbacks, port, clock)
            )
            given = {"account_sid": ACCOUNT, "api_url": api_url}
            config = dataclasses.replace(config, twilio=config.twilio.model_copy(update=given))
        server = Server(
            config,
            sock,
            [happened.append],
            make_tap,
            watchers=watchers,
            journal=files.journal if files is not None else None,
            ledger=files.ledger if files is not None else ledger,
            operator=operator,
            supervisor=supervisor,
        )
        serving = group.create_task(server.run())
        await server.started.wait()
        made = WholeServer(server, clock, http)
        made.sessions, made.happened, made.account = sessions, happened, account
        made.late = await around.enter_async_context(watching())
        serving.add_done_callback(lambda _: made.stopped.set())
        try:
            yield made
        finally:
            server.stop()
            server.stop()
            await serving
            await standin.close()


@asynccontextmanager
async def telephones(
    people: Mapping[str, SimulatedPerson], callbacks: Callbacks, port: int, clock: Clock
) -> AsyncIterator[tuple[SimulatedAccount, str]]:
    """A simulated account in front of the server at that port, and where its REST API is."""
    front = RehearsedHost(f"http://127.0.0.1:{port}/twilio/voice", TOKEN)
    async with simulated_network(ACCOUNT, front, clock, book(people), callbacks) as network:
        account = SimulatedAccount(network, TOKEN, numbers=[AccountNumber("+12025550100")])
        async with serve(account) as api_url:
            yield account, api_url


def tokens(*values: str) -> TwilioSettings:
    return TwilioSettings(auth_tokens=tuple(SecretStr(value) for value in values))


def fresh_sid() -> str:
    return "CA" + secrets.token_hex(16)


def texts(events: Sequence[Event], kind: type[AgentSaid] | type[CallerSaid]) -> list[str]:
    """What was said, by one side."""
    return [
        event.text
        for event in events
        if isinstance(event, AgentSaid | CallerSaid) and isinstance(event, kind)
    ]


class NoTools:
    """A session.Tools for agents without tools, on any clock: whatever is called is unknown."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def run(
        self, call_id: str, name: str, arguments: str, finished: Callable[[ToolFinished], None]
    ) -> None:
        unknown = ToolFinished(call_id, '{"error": "there is no such function"}', "unknown")
        self._clock.call_at(self._clock.now(), lambda: finished(unknown))

    def cancel(self, call_id: str, *, over: bool) -> None:
        pass


def empty_office(clock: Clock) -> Messaging:
    """Nothing can be done there."""
    return Messaging(DialPolicy(DialRules()), None, clock, recorded=False)


async def nothing_known(agent: Agent, call: Call) -> LookupResult:
    """A LookUp that asks nobody."""
    return LookupResult()
