"""Canaries in all that a server knows or hears, and its log at every level, in both forms.

A real `offhook serve`, with a lookup, an after-call webhook and a Twilio account, on plain HTTP.
"""

import asyncio
import os
import pty
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, get_args
from urllib.parse import quote, urlencode

import httpx2
import pytest
from tests import migrated
from tests.cli.served import CLEAN, COMMAND, OPERATOR, operator_url
from tests.forms import sized
from tests.outbound.twilio_api import PUBLIC, US
from tests.target import Target, answer, target
from tests.test_canary import (
    AGENT,
    CARD,
    EMAIL,
    NUMBER,
    PRESSED,
    PRIVATE,
    SCRIPT,
    Left,
    ask_what_cannot_be_answered,
)
from tests.waiting import ASKS_EVERY_S
from tests.whole_server import ACCOUNT, ASK, GREET, HANG_UP, TOKEN, caller, fresh_sid

import offhook
from offhook.clock import LoopClock
from offhook.config import LogSettings, environment
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.twilio.account.account import SimulatedAccount
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.account.server import serve
from offhook.testing.simulator.twilio.calls.network import Callbacks, simulated_network
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson, book
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.simulator.twilio.webhooks import RehearsedHost
from offhook.twilio.signature import sign

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no pty"),
]

SECRETS = {
    "DEEPGRAM_API_KEY": "canary-deepgram-0123456789abcdef",
    "TWILIO_AUTH_TOKEN": f"{TOKEN},canary-second-token-0123456789",
    "TWILIO_API_KEY": "SK" + "ab01" * 8,
    "TWILIO_API_SECRET": "canary-rest-0123456789abcdef",
    "OFFHOOK_API_TOKEN": "canary-api-0123456789abcdef",
    "OFFHOOK_WEBHOOK_SECRET": "whsec_canaryhook0123456789abcdefghijkl,"
    "whsec_canaryhookabcdefghijklmnopqrstuv",
    "TWILIO_SIGNING_SECRETS": "k1=canary-shared-0123456789,k2=canary-shared-abcdefghij",
    "OFFHOOK_FLEET_KEY": "canary-fleet-0123456789abcdef0123456789abcdef",
    "CANARY_LOOKUP": "canary-lookup-0123456789",
}
IN_URLS = {
    "lookup": "canary-query-of-lookup",
    "hook": "canary-query-of-hook",
    "deepgram": "canary-query-of-deepgram",
    "header": "canary-header-of-an-endpoint",
}
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Logged:
    """What a server wrote to its stderr, and what must not be in it besides SECRETS."""

    text: str = ""
    tokens: list[str] = field(default_factory=list)
    """Those of streams."""

    def leaks(self, *more: str) -> list[str]:
        every = [one for value in SECRETS.values() for one in value.split(",")]
        secrets = [one.rpartition("=")[2] for one in every]
        basic = f"{SECRETS['TWILIO_API_KEY']}:{SECRETS['TWILIO_API_SECRET']}"
        canaries = [*secrets, *IN_URLS.values(), *self.tokens, basic, *more]
        canaries.remove(SECRETS["TWILIO_API_KEY"])  # it is a name, as an AccountSid is
        return [canary for canary in canaries if canary in self.text]


class Process:
    """A server process whose stderr is read all the time."""

    def __init__(self, process: asyncio.subprocess.Process, reading: int) -> None:
        self.process = process
        self.said = ""
        self._reading = asyncio.create_task(  # noqa: TID251 - ended below
            asyncio.to_thread(self._read, reading)
        )

    def _read(self, reading: int) -> None:
        with suppress(OSError):  # what a closed terminal answers
            while got := os.read(reading, 65536):
                self.said += got.decode()
        os.close(reading)

    async def answers(self, url: str, http: httpx2.AsyncClient) -> None:
        """Wait until it does. Its log says so at some levels only."""
        async with asyncio.timeout(150):
            while True:
                assert self.process.returncode is None, self.said
                with suppress(httpx2.TransportError):
                    if (await http.get(f"{url}/healthz")).status_code == 200:
                        return
                await asyncio.sleep(ASKS_EVERY_S)

    async def end(self) -> None:
        ended = asyncio.create_task(self.process.wait())  # noqa: TID251 - awaited below
        async with asyncio.timeout(150):
            while not ended.done():  # the first has live calls finish
                with suppress(ProcessLookupError):
                    self.process.send_signal(signal.SIGTERM)
                # Not wait_for: it would cancel what waits for the process.
                await asyncio.wait([ended], timeout=0.1)
            await self._reading


@asynccontextmanager
async def served(folder: Path, terminal: bool, *arguments: str) -> AsyncIterator[Process]:
    reading, writing = pty.openpty() if terminal else os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, *OPERATOR, *arguments), env=CLEAN | SECRETS, cwd=folder, stderr=writing
    )
    os.close(writing)
    made = Process(process, reading)
    try:
        yield made
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await made._reading


def configure(folder: Path, logs: str, lookup: Target, hook: Target, api_url: str) -> None:
    (folder / "agent.yaml").write_text(
        AGENT.replace(
            "gpt-4o-mini}",
            "gpt-4o-mini}, endpoint: {url: 'https://llm.example/v1',"
            f" headers: {{x-api-key: {IN_URLS['header']}}}}}",
        )
        + f"lookup: {{url: '{lookup.url}?k={IN_URLS['lookup']}', secret_env: CANARY_LOOKUP}}\n"
    )
    (folder / "offhook.yaml").write_text(
        f"logs: {logs}\n"
        "lines: {default: agent.yaml}\n"
        f"server: {{public_url: '{PUBLIC}'}}\n"
        f"twilio: {{account_sid: {ACCOUNT}, api_url: '{api_url}'}}\n"
        f"outbound: {{caller_id: '{US}'}}\n"
        f"records: {{webhook: {{url: '{hook.url}?k={IN_URLS['hook']}'}}}}\n"
    )


async def everything(
    folder: Path, logs: str, *, terminal: bool, show: bool = False, is_first: bool = False
) -> Logged:
    """One server, and all that may put a secret into its log.

    Its database is there, as at every start but the first.
    """
    if not is_first:
        migrated.put(folder / "offhook-data" / "offhook.db")
    logged = Logged()
    clock = LoopClock(asyncio.get_running_loop())
    standin = await standin_server.serve("127.0.0.1", 0, SCRIPT, clock)
    host = RehearsedHost("http://127.0.0.1:1/twilio/voice", TOKEN, PUBLIC)
    people = book({f"+{NUMBER}": SimulatedPerson("busy", after_s=0.1)})
    async with (
        httpx2.AsyncClient(
            trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        ) as http,
        simulated_network(ACCOUNT, host, clock, people, Callbacks()) as network,
    ):
        account = SimulatedAccount(
            network,
            TOKEN,
            numbers=[AccountNumber(US)],
            api_key=SECRETS["TWILIO_API_KEY"],
            api_secret=SECRETS["TWILIO_API_SECRET"],
        )
        with target(answer(204), answer(500)) as lookup, target(answer(500)) as hook:
            async with serve(account) as origin:
                configure(folder, logs, lookup, hook, origin)
                with socket.create_server(("127.0.0.1", 0)) as free:
                    port = free.getsockname()[1]
                url = f"http://127.0.0.1:{port}"
                more = ["--deepgram-url", f"{standin.url}?k={IN_URLS['deepgram']}"]
                more += ["--port", str(port)]
                async with served(folder, terminal, *more, *["--show"] * show) as server:
                    await server.answers(url, http)
                    network.host = RehearsedHost(f"{url}/twilio/voice", TOKEN, PUBLIC)
                    await one_of_each(url, http, folder, logged, hook)
                    await asyncio.to_thread(lookup.until, 2)
                    await standin.close()
                    await call(url)  # Deepgram cannot be reached
                    await server.end()
    logged.text = ANSI.sub("", server.said)
    return logged


async def call(url: str) -> CallReport:
    press = ScenarioStep.model_validate({"press": PRESSED})
    return await place_call(
        f"{url}/twilio/voice",
        caller(GREET, ASK, press, HANG_UP),
        clock=LoopClock(asyncio.get_running_loop()),
        auth_token=TOKEN,
        account_sid=ACCOUNT,
        from_=f"+{NUMBER}",
        to=US,
        public_url=PUBLIC,
    )


async def one_of_each(
    url: str, http: httpx2.AsyncClient, folder: Path, logged: Logged, hook: Target
) -> None:
    """A call, a call that is placed, forgeries, and what cannot be answered."""
    report = await call(url)
    assert report.ending == "caller_hung_up", report
    operator = await operator_url(folder / "offhook-data")
    form = {"CallSid": fresh_sid(), "AccountSid": ACCOUNT, "From": f"+{NUMBER}", "To": US}
    path = "/twilio/voice"
    headers = {
        "Host": PUBLIC.removeprefix("https://"),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    signed = headers | {"X-Twilio-Signature": sign(TOKEN, PUBLIC + path, form.items())}
    twiml = (await http.post(url + path, content=urlencode(form), headers=signed)).text
    token = re.search(r'name="token" value="([^"]+)"', twiml)
    assert token is not None, twiml
    logged.tokens.append(token[1])
    forged = f"{path}?token={token[1]}&key={SECRETS['DEEPGRAM_API_KEY']}&From={quote('+' + NUMBER)}"
    answered = await http.post(url + forged, content=urlencode(form), headers=headers)
    assert answered.status_code == 403
    bearer = {"Authorization": f"Bearer {SECRETS['OFFHOOK_WEBHOOK_SECRET']}"}
    assert (
        await http.get(f"{operator}/api/v1/calls?k={token[1]}", headers=bearer)
    ).status_code == 401
    http.headers["Authorization"] = f"Bearer {SECRETS['OFFHOOK_API_TOKEN']}"
    body = {"to": f"+{NUMBER}", "agent": "agent", "variables": {"card": CARD}}
    placed = await http.post(
        f"{operator}/api/v1/calls", json=body, headers={"Idempotency-Key": "canary"}
    )
    assert placed.status_code in (201, 202), placed.text
    # Before the record is spoilt, of which no webhook can be made.
    await asyncio.to_thread(hook.until, 1)
    broken = Left()
    process = type("Named", (), {"url": url, "operator": operator})()
    await ask_what_cannot_be_answered(process, http, report.call_sid, folder, broken)
    for page in broken.pages.values():
        assert [word for word in (CARD, EMAIL, NUMBER, "Traceback", "sqlite") if word in page] == []


def test_every_secret_of_the_environment_is_among_the_canaries() -> None:
    assert set(environment.SECRETS.values()) - SECRETS.keys() == set()


LEVELS: Final = get_args(LogSettings.model_fields["level"].annotation)
SHORT: Final = [("debug", False), ("debug", True)]
"""Levels, and whether a terminal shows the log. What the others write is written at debug too
(test_a_level_is_nothing_but_a_threshold)."""
LOGS: Final = SHORT + [(one, False) for one in LEVELS if (one, False) not in SHORT][: sized(0, 9)]


ASKS_FOR_LEVEL: Final = {
    "observability/call_log.py": ["if level is None or not _log.isEnabledFor(level):"],
    "observability/log_format.py": [
        "least = max(logging.WARNING, logging.getLevelName(logs.level.upper()))",
        "logger.setLevel(logs.level.upper())",
    ],
}
"""Lines of the source that read the configured level, by file: each is a threshold of lines."""


def test_a_level_is_nothing_but_a_threshold() -> None:
    """So whatever is written at a level is written, in the same words, at debug."""
    asks = re.compile(
        r"isEnabledFor|getEffectiveLevel|log(s|_settings|ging)?\.level\b|logger\.level\b"
    )
    found: dict[str, list[str]] = {}
    source = Path(offhook.__file__).parent
    for path in source.rglob("*.py"):
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if asks.search(line)]
        if lines and not path.is_relative_to(source / "testing"):
            found[path.relative_to(source).as_posix()] = lines
    restored = "levels = [logger.level for logger in ours]"
    found["observability/log_format.py"].remove(restored)
    assert found == ASKS_FOR_LEVEL


@pytest.mark.parametrize(("level", "terminal"), LOGS)
@pytest.mark.long
async def test_no_canary_is_in_the_log(tmp_path: Path, level: str, terminal: bool) -> None:
    is_first = (level, terminal) == SHORT[0]
    logged = await everything(tmp_path, f"{{level: {level}}}", terminal=terminal, is_first=is_first)
    assert logged.leaks(*PRIVATE) == []
    assert re.findall(r'key [0-9#]|"digit": ?"."', logged.text) == []
    assert ("E-SEC-01" in logged.text) == (level != "error"), "the log was on"
    assert "E-DG-04" in logged.text


@pytest.mark.parametrize("terminal", [False, True], ids=["json", "text"])
@pytest.mark.long
async def test_no_secret_is_in_a_log_that_may_hold_what_is_said(
    tmp_path: Path, terminal: bool
) -> None:
    logs = "{level: debug, texts: true}"
    logged = await everything(tmp_path, logs, terminal=terminal, show=terminal)
    assert logged.leaks() == []
    assert "opening hours" in logged.text
    assert CARD in logged.text, "what is looked for was there"
