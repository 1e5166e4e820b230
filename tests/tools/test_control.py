"""Functions that act on their call: a server, a stand-in that calls them, and a caller."""

import json
from pathlib import Path
from typing import Any

from tests.whole_server import ASK, GREET, HANG_UP, HOURS, TOKEN, WholeServer, whole_server

from offhook.config import Config, Overrides, load
from offhook.deepgram.messages import FunctionCallResponse, UpdatePrompt
from offhook.events.types import AgentMuted, AgentSaid
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn

TOOLS = '''
from offhook.tools import Call, ToolError, tool

BRAIN = {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}, "prompt": "Be {{name}}."}
VOICE = {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}}

@tool
async def say_so(call: Call) -> str:
    """Say something."""
    return await call.say("One moment, please.", "queue")

@tool
async def say_now(call: Call) -> str:
    """Say something while the agent waits for this."""
    return await call.say("Now.")

@tool
async def say_oddly(call: Call) -> str:
    """Say nothing, in no way."""
    told = []
    for words, behavior in (("Now.", "soon"), (" ", "queue")):
        try:
            await call.say(words, behavior)
        except ToolError as error:
            told.append(str(error))
    return "; ".join(told)

@tool
def from_a_thread(call: Call) -> list[str]:
    """Act from a thread."""
    return [
        call.wait(call.update_prompt("Half a \\ud800 character.")),
        call.wait(call.update_speak(VOICE)),
        call.wait(call.mute()),
        call.wait(call.unmute()),
    ]

@tool
async def think(call: Call) -> str:
    """Think otherwise."""
    return await call.update_think(BRAIN)

@tool
async def think_nothing(call: Call) -> str:
    """Think in no way."""
    return await call.update_think({"prompt": "Be."})

@tool
async def tell(call: Call) -> str:
    """Tell the agent something, which calls this off."""
    return await call.tell("(The table is free.)")
'''  # fmt: skip
AGENT = """
settings:
  listen: {provider: {type: deepgram, version: v2, model: flux-general-en}}
  think:
    provider: {type: open_ai, model: gpt-4o-mini}
    prompt: Be brief.
    functions: [{name: search, description: Search., endpoint: {url: "https://example.com"}}]
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
  greeting: Hello! How can I help you today?
tools: [tools.py]
"""


def configured(folder: Path) -> Config:
    (folder / "tools.py").write_text(TOOLS)
    (folder / "agent.yaml").write_text(AGENT)
    (folder / "offhook.yaml").write_text("lines: {default: agent.yaml}")
    return load(
        folder / "offhook.yaml",
        {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN},
        overrides=Overrides(),
    )


async def asked(h: WholeServer) -> dict[str, Any]:
    """One question, to which functions are called: what they answered."""
    report = await h.call(GREET, ASK, GREET, HANG_UP)
    await h.until_ended()
    assert report.caller.failed == []
    (session,) = h.sessions
    answers = [m for m in session.received if isinstance(m, FunctionCallResponse)]
    return {answer.name: answer.content for answer in answers}


def script(*names: str) -> Script:
    calls = [ScriptFunctionCall(name=name) for name in names]
    turn = ScriptTurn(hear=HOURS, function_calls=calls, say=["Of course, what else?"])
    return Script(turns=[turn], silence_ms=300)


async def test_functions_say_and_change_and_are_told_what_happened(tmp_path: Path) -> None:
    names = ("say_so", "say_now", "say_oddly", "from_a_thread", "think_nothing")
    async with whole_server(script(*names), config=configured(tmp_path)) as h:
        answers = await asked(h)
        assert answers["say_so"] == "it is being said"
        assert json.loads(answers["say_now"]) == {"error": "The agent is speaking."}
        assert answers["say_oddly"] == (
            "behavior is default, queue or interrupt, not 'soon'; there are no words in it"
        )
        done = ["it is done", "it is done", "muted", "not muted"]
        assert json.loads(answers["from_a_thread"]) == done
        assert "think has no provider" in answers["think_nothing"]
        meant = [event.intended for event in h.events() if isinstance(event, AgentSaid)]
        assert "One moment, please." in " ".join(meant)
        assert [e.on for e in h.events() if isinstance(e, AgentMuted)] == [True, False]
        (session,) = h.sessions
        assert UpdatePrompt("Half a \N{REPLACEMENT CHARACTER} character.") in session.received


async def test_another_think_block_keeps_the_agents_functions(tmp_path: Path) -> None:
    async with whole_server(script("think"), config=configured(tmp_path)) as h:
        assert await asked(h) == {"think": "it is done"}
        (session,) = h.sessions
        assert session.settings is not None
        assert session.settings.prompt == "Be {{name}}."
        offered = session.settings.functions
        assert list(offered)[:2] == ["search", "say_so"]
        assert offered["search"].has_endpoint


async def test_what_the_agent_is_told_calls_the_function_off(tmp_path: Path) -> None:
    async with whole_server(script("tell"), config=configured(tmp_path)) as h:
        assert await asked(h) == {}
        (session,) = h.sessions
        assert "(The table is free.)" in [line.content for line in session.lines]
