"""Canaries: secrets and private words that go through everything, and where they must not come out.

One real server with all of it switched on, one real call, and then every door and every file.
"""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from tests.cli.in_process import run_offhook
from tests.cli.served import SECRETS
from tests.cli.test_serve_log import SAID, Piped, piped
from tests.target import answer, target
from tests.whole_server import ASK, GREET, HANG_UP, TOKEN

from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn

API_TOKEN = "canary-of-the-api-0123456789abcdef"
WEBHOOK_SECRET = "whsec_canaryofthewebhook0123456789abcd"
SECRET = (API_TOKEN, WEBHOOK_SECRET, TOKEN, *(v for v in SECRETS.values() if len(v) >= 8))
NUMBER, CARD, EMAIL = "12025550142", "4111 1111 1111 1111", "ada@example.com"
PRIVATE = (NUMBER, CARD, EMAIL, "opening hours", "How can I help")
SHAPES = (NUMBER, "12025550100", CARD, EMAIL)
"""What redaction knows by its shape."""
assert set(PRIVATE[3:]) & set(SAID), "what is looked for is said"

SCRIPT = Script(
    turns=[
        ScriptTurn(
            hear=f"What are your opening hours? My card is {CARD}, and I am {EMAIL}.",
            say=[f"The card {CARD} of {EMAIL}?"],
        )
    ],
    silence_ms=300,
    reply_ms=50,
)
PRESSED = "4217#"
DIGIT = re.compile(r'"digit": ?"(.)"')

AGENT = """
announcement: This call is recorded.
recording: true
settings:
  listen: {provider: {type: deepgram, model: nova-3}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
  greeting: Hello! How can I help you today?
"""
REDACTED = (
    "redact: {cards: true, phone_numbers: true, emails: true, caller_id: true, audio: true,"
    " patterns: ['opening hours', 'How can I help']}"
)


@dataclass
class Left:
    """What one call left behind, by where it was found."""

    log: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    """For anybody, and of errors."""
    told: dict[str, str] = field(default_factory=dict)
    """For those who may know."""
    captures: dict[str, bytes] = field(default_factory=dict)
    journal: dict[str, bytes] = field(default_factory=dict)
    stored: bytes = b""
    names: list[str] = field(default_factory=list)


async def one_call(folder: Path, records: str = "") -> Left:
    left = Left()
    with target(answer(204)) as hook:
        (folder / ".env").write_text(
            f"OFFHOOK_API_TOKEN={API_TOKEN}\nOFFHOOK_WEBHOOK_SECRET={WEBHOOK_SECRET}\n"
        )
        (folder / "agent.yaml").write_text(AGENT)
        (folder / "offhook.yaml").write_text(
            "lines: {default: agent.yaml}\n"
            f"records:\n  webhook: {{url: '{hook.url}'}}\n  {records}\n"
        )
        async with (
            piped(folder, "--capture", "captures", script=SCRIPT) as server,
            # A connection for each request: the server closes some after an error.
            httpx2.AsyncClient(
                headers={"Authorization": f"Bearer {API_TOKEN}"},
                limits=httpx2.Limits(max_keepalive_connections=0),
            ) as http,
        ):
            press = ScenarioStep.model_validate({"press": PRESSED})
            report = await server.call(GREET, ASK, GREET, press, HANG_UP)
            (delivered,) = await asyncio.to_thread(hook.until, 1)
            await ask_everything(server, http, report.call_sid, left)
            # What the process keeps is looked at before the record is spoilt for the 500.
            export = await run_offhook(folder, "calls", "export", **SECRETS)
            assert export.returncode == 0, export.stderr
            left.told["export"] = export.stdout
            left.stored = b"".join(
                path.read_bytes() for path in (folder / "offhook-data").glob("offhook.db*")
            )
            await ask_what_cannot_be_answered(server, http, report.call_sid, folder, left)
            assert await server.stop() == 0
            await asyncio.to_thread(server.read_to_the_end)
    left.log = server.said.decode()
    left.told["webhook"] = json.dumps(delivered.headers) + delivered.body.decode()
    left.captures = written(folder / "captures")
    left.journal = written(folder / "offhook-data" / "journal")
    left.names = [*left.captures, *left.journal, *written(folder)]
    return left


async def ask_everything(server: Piped, http: httpx2.AsyncClient, sid: str, left: Left) -> None:
    for name, path, headers in (
        ("healthz", "/healthz", {"Authorization": ""}),
        ("readyz", "/readyz", {"Authorization": ""}),
        ("404", f"/calls/{NUMBER}", {}),
        ("404 of a call", f"/api/v1/calls/{NUMBER}", {}),
        ("401", "/api/v1/calls", {"Authorization": f"Bearer {WEBHOOK_SECRET}"}),
        ("metrics", "/metrics", {}),
        ("422", "/api/v1/calls?limit=many", {}),
    ):
        base = server.url if name in ("healthz", "readyz") else server.operator
        left.pages[name] = (await http.get(base + path, headers=headers)).text
    async with asyncio.timeout(240):  # it is counted just after the target has answered
        while "offhook_after_call_delivered_total 1.0" not in left.pages["metrics"]:
            left.pages["metrics"] = (await http.get(server.operator + "/metrics")).text
    voice = f"{server.url}/twilio/voice"
    left.pages["403"] = (await http.post(voice, content=f"CallSid={TOKEN}")).text
    left.pages["413"] = (await http.post(voice, content=TOKEN * 10_000)).text
    # Its examples are the numbers and tokens of these tests.
    left.told["openapi"] = (await http.get(server.operator + "/docs")).text
    left.told["api"] = (await http.get(server.operator + "/api/v1/calls")).text
    left.told["one call"] = (await http.get(f"{server.operator}/api/v1/calls/{sid}")).text
    left.told["live"] = ""
    last = {"Last-Event-ID": "another-run-1"}
    async with (
        asyncio.timeout(240),
        http.stream("GET", f"{server.operator}/api/v1/live", headers=last) as following,
    ):
        async for chunk in following.aiter_text():
            left.told["live"] += chunk
            if "event: CallEnded" in left.told["live"]:
                break


async def ask_what_cannot_be_answered(
    server: Piped, http: httpx2.AsyncClient, sid: str, folder: Path, left: Left
) -> None:
    """A record that something has spoilt: its words are in the exception, and may be nowhere."""
    spoilt = f"{{ {CARD} {NUMBER} {EMAIL}"
    with closing(sqlite3.connect(folder / "offhook-data" / "offhook.db")) as connection:
        connection.execute(
            "UPDATE calls SET variables = ?, recording = ?", (spoilt, f"../{spoilt}")
        )
        connection.commit()
    for name, path in (
        ("500", f"/api/v1/calls/{sid}"),
        ("500 of audio", f"/api/v1/calls/{sid}/audio"),
    ):
        page = await http.get(server.operator + path)
        assert page.status_code == 500, page.text
        left.pages[name] = page.text


def found(content: str | bytes, canaries: tuple[str, ...]) -> list[str]:
    text = content if isinstance(content, str) else content.decode("latin-1")
    return [canary for canary in canaries if canary in text]


def written(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leaks(left: Left) -> dict[str, list[str]]:
    """Where something came out that must not, whatever is redacted."""
    captured = b"".join(left.captures.values())
    asked = "".join(left.told[name] for name in ("api", "one call", "export", "live"))
    every = {
        "the log": found(left.log, (*SECRET, *PRIVATE)),
        "keys in the log": DIGIT.findall(left.log),
        "names of files": found("\n".join(left.names), (*SECRET, *PRIVATE)),
        "the journal": found(b"".join(left.journal.values()), (*SECRET, *PRIVATE)),
        "captures": found(captured, SECRET),
        "the database": found(left.stored, SECRET),
        **{f"the page {k}": found(page, (*SECRET, *PRIVATE)) for k, page in left.pages.items()},
        **{name: found(told, (API_TOKEN, WEBHOOK_SECRET)) for name, told in left.told.items()},
        "what is asked": found(asked, SECRET),
    }
    return {where: what for where, what in every.items() if what}


@pytest.mark.long
async def test_no_canary_comes_out_where_it_must_not(tmp_path: Path) -> None:
    left = await one_call(tmp_path)
    # What is looked for went through all of it.
    for name in ("export", "webhook", "live", "one call"):
        assert found(left.told[name], PRIVATE) == list(PRIVATE), name
        if name != "live":
            assert "".join(DIGIT.findall(left.told[name])) == PRESSED
    assert found(b"".join(left.captures.values()), PRIVATE) == list(PRIVATE)
    assert found(left.stored, PRIVATE) == list(PRIVATE)
    assert left.pages["metrics"].count("\n") > 50
    assert leaks(left) == {}


@pytest.mark.long
async def test_with_everything_redacted_none_comes_out_anywhere(tmp_path: Path) -> None:
    left = await one_call(tmp_path, REDACTED)
    assert leaks(left) == {}
    # They were on the wire, which is what a capture is.
    assert found(b"".join(left.captures.values()), PRIVATE) == list(PRIVATE)
    gone = (*PRIVATE, *SHAPES, CARD.replace(" ", ""))
    assert {name: found(told, gone) for name, told in left.told.items() if found(told, gone)} == {}
    assert found(left.stored, gone) == []
    for name in ("export", "webhook", "one call"):
        assert "[card]" in left.told[name]
        assert "".join(DIGIT.findall(left.told[name])) == "????#"
    assert set(DIGIT.findall(left.told["live"])) == {"?", "#"}
