"""Keys in whole calls over real sockets: entries, actions, and digits that come out nowhere."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.cli.served import CLEAN, COMMAND, SECRETS
from tests.cli.test_serve_log import piped
from tests.whole_server import ASK, GREET, HANG_UP, HOURS, TOKEN, WholeServer, texts, whole_server

from offhook.config import Config, load
from offhook.deepgram.messages import ForceEndTurn, InjectUserMessage
from offhook.events.types import CallerSaid, KeyPressed, KeysEntered
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn, Stage

DESK = "+12025550123"
AGENT = f"""
settings:
  listen: {{provider: {{type: deepgram, version: v2, model: flux-general-en}}}}
  think: {{provider: {{type: open_ai, model: gpt-4o-mini}}, prompt: Be brief.}}
  speak: {{provider: {{type: deepgram, model: aura-2-thalia-en}}}}
  greeting: Hello! How can I help you today?
transfer: {{destinations: {{desk: {{to: "{DESK}", timeout_seconds: 5}}}}}}
keypad:
  timeout_seconds: 0.5
  actions: {{0: {{transfer: desk}}, "9": hang_up}}
"""
STAY = ScenarioStep.model_validate({"wait_for_agent": {"quiet_ms": 600}})
ANSWERS = Script(
    turns=[
        ScriptTurn(hear="(keys)", say=["Of course, what else?"]),
        ScriptTurn(hear=HOURS, say=["We are open from nine to five."]),
    ],
    silence_ms=300,
    reply_ms=50,
)


def configured(folder: Path) -> Config:
    (folder / "agent.yaml").write_text(AGENT)
    (folder / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    environ = {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN}
    return load(folder / "offhook.yaml", environ)


def told(h: WholeServer) -> list[str]:
    return [
        message.content
        for session in h.sessions
        for message in session.received
        if isinstance(message, InjectUserMessage)
    ]


async def test_the_agent_is_told_of_each_entry_once_and_answers(tmp_path: Path) -> None:
    async with whole_server(ANSWERS, config=configured(tmp_path)) as h:
        report = await h.call(GREET, ScenarioStep(press="1204"), STAY, ASK, STAY, HANG_UP)
        await h.until_ended()
        events = h.events()
        assert told(h) == ["(The caller pressed 1204 on the keypad.)"]
        assert not any(isinstance(m, ForceEndTurn) for m in h.sessions[0].received)
    assert report.caller.failed == []
    assert [e.digits for e in events if isinstance(e, KeysEntered)] == ["1204"]
    assert texts(events, CallerSaid) == [HOURS]


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.5])
async def test_words_right_before_keys_are_a_turn_of_their_own(
    tmp_path: Path, pause: float
) -> None:
    script = Script(
        turns=[
            ScriptTurn(hear=HOURS, say=["We are open from nine to five."]),
            ScriptTurn(hear="(keys)", say=["Of course, what else?"]),
        ],
        silence_ms=300,
        reply_ms=1500,
    )
    async with whole_server(script, config=configured(tmp_path)) as h:
        steps = [ScenarioStep(wait=pause)] if pause else []
        await h.call(GREET, ASK, *steps, ScenarioStep(press="12#"), STAY, HANG_UP)
        await h.until_ended()
        assert told(h) == ["(The caller pressed 12 on the keypad.)"]
        kinds = [type(m) for m in h.sessions[0].received]
        assert kinds.index(ForceEndTurn) < kinds.index(InjectUserMessage)
        assert texts(h.events(), CallerSaid) == [HOURS]


async def test_a_key_transfers_a_caller_who_gets_no_agent(tmp_path: Path) -> None:
    """Settings are never answered: without the key the caller would wait 10 s and be let down."""
    stuck = Script(settings=Stage(fault="stall"))
    async with whole_server(stuck, config=configured(tmp_path)) as h:
        report = await h.call(ScenarioStep(wait=1), ScenarioStep(press="0"), ScenarioStep(wait=30))
        await h.until_ended()
        assert h.endings() == ["transferred"]
        assert told(h) == []
    (dial,) = [verb for verb in report.verbs if verb.name == "Dial"]
    assert [noun.text for noun in dial.nouns] == [DESK]


async def test_a_key_hangs_up(tmp_path: Path) -> None:
    async with whole_server(ANSWERS, config=configured(tmp_path)) as h:
        report = await h.call(GREET, ScenarioStep(press="9#"), ScenarioStep(wait=30))
        await h.until_ended()
        assert h.endings() == ["agent_hung_up"]
    assert report.ending == "hangup_verb"


# --- digits that nobody else is to know --------------------------------------------------------

SECRET = "4217935086"
TOOLS = '''
from pathlib import Path
from offhook.tools import Call, tool

@tool
async def pay(call: Call) -> str:
    """Take the caller's card."""
    digits = await call.ask_digits("Please enter your card number.", max_digits=10)
    (Path(__file__).parent / "paid.txt").write_text(digits)
    return f"{len(digits)} digits"
'''
PAYING = Script(
    turns=[
        ScriptTurn(
            hear=HOURS,
            function_calls=[ScriptFunctionCall(name="pay")],
            say=["Of course, what else?"],
        ),
        ScriptTurn(hear="(keys)", say=["We are open from nine to five."]),
    ],
    silence_ms=300,
    reply_ms=50,
)


@pytest.mark.long
async def test_secret_digits_come_out_nowhere(tmp_path: Path) -> None:
    """They are pressed, and spoken over; what is said and pressed afterwards is as ever."""
    (tmp_path / "tools.py").write_text(TOOLS)
    spoken = "announcement: This call is recorded.\nrecording: true\ntools: [tools.py]\n"
    (tmp_path / "agent.yaml").write_text(AGENT + spoken)
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}\nlogs: {texts: true}\n")
    async with piped(tmp_path, "--capture", "captures", script=PAYING) as server:
        report = await server.call(
            *(GREET, ASK, STAY, ScenarioStep(say=HOURS), ScenarioStep(press=SECRET), STAY),
            *(ScenarioStep(wait=1.2), ScenarioStep(press="58#"), STAY, HANG_UP),
        )
        export = [*COMMAND[:-1], "calls", "export"]
        exported = await asyncio.to_thread(
            subprocess.check_output, export, cwd=tmp_path, env=CLEAN | SECRETS, text=True
        )
        assert await server.stop() == 0
        await asyncio.to_thread(server.read_to_the_end)
    assert report.caller.failed == []
    paid = tmp_path / "paid.txt"
    assert paid.read_text() == SECRET
    paid.unlink()

    # What is known everywhere: how many there were, and the keys that are no secret.
    events = [line["fields"] for line in server.lines() if "happened" in line.get("fields", {})]
    keys = [e["digit"] for e in events if e["happened"] == KeyPressed.__name__]
    assert keys == ["5", "8", "#"]
    assert "10 digits" in exported
    captured = messages(tmp_path / "captures")
    pressed = [m["dtmf"]["digit"] for m in captured if m.get("event") == "dtmf"]
    assert "".join(pressed) == "?" * len(SECRET) + "58#"
    # What was said meanwhile did not reach the agent either.
    turns = [m for m in captured if m.get("type") == "ConversationText" and m["role"] == "user"]
    assert [m["content"] for m in turns] == [HOURS, "(The caller pressed 58 on the keypad.)"]
    assert [e["happened"] for e in events].count("RecordingPaused") == 1
    assert [e["happened"] for e in events].count("RecordingResumed") == 1

    everything = written(tmp_path)
    everything |= {"export": exported.encode(), "log": server.said}
    assert len(everything) > 8
    assert [name for name, data in everything.items() if SECRET.encode() in data] == []
    assert [name for name, data in everything.items() if spelled(data)] == []


def written(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def messages(captures: Path) -> list[dict[str, Any]]:
    """Those of a capture that are no audio."""
    lines = [json.loads(line) for data in written(captures).values() for line in data.splitlines()]
    return [line["message"] for line in lines if "message" in line]


def spelled(data: bytes) -> bool:
    """Whether single keys stand there that together are the secret."""
    keys = [part[:1] for part in data.replace(b" ", b"").split(b'"digit":"')[1:]]
    return SECRET.encode() in b"".join(keys)
