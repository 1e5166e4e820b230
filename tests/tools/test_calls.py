"""Functions in whole calls: a server, a stand-in that calls them, and a caller, on real sockets."""

from pathlib import Path

from tests.whole_server import ASK, GREET, HANG_UP, HOURS, TOKEN, whole_server

from offhook.config import Overrides, load
from offhook.deepgram.messages import FunctionCallResponse
from offhook.events.types import FunctionAnswered, FunctionCalled
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn

TOOLS = '''
from offhook.tools import Call, tool

@tool
def book(day: str, people: int, call: Call) -> dict[str, object]:
    """Book a table."""
    return {"day": day, "people": people, "caller": call.caller, "called": call.called}
'''
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
BOOK = ScriptFunctionCall(name="book", arguments={"day": "friday", "people": "2"})


async def test_the_agent_is_told_of_tools_and_gets_their_answers(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    (tmp_path / "agent.yaml").write_text(AGENT)
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}")
    config = load(
        tmp_path / "offhook.yaml",
        {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN},
        overrides=Overrides(),
    )
    calls = [BOOK, ScriptFunctionCall(name="guess")]
    script = Script(
        turns=[ScriptTurn(hear=HOURS, function_calls=calls, say=["Of course, what else?"])],
        silence_ms=300,
    )
    async with whole_server(script, config=config) as h:
        report = await h.call(GREET, ASK, GREET, HANG_UP)
        await h.until_ended()
        (session,) = h.sessions
        events = h.events()
    assert report.caller.failed == []
    assert session.settings is not None
    functions = session.settings.message["agent"]["think"]["functions"]
    assert [function["name"] for function in functions] == ["search", "book"]
    answers = {m.name: m.content for m in session.received if isinstance(m, FunctionCallResponse)}
    assert answers["book"] == (
        '{"day":"friday","people":2,"caller":"+12025550142","called":"+12025550100"}'
    )
    assert answers["guess"] == """{"error": "there is no function 'guess'; there are: book"}"""
    assert [e.name for e in events if isinstance(e, FunctionCalled)] == ["book", "guess"]
    outcomes = {e.name: e.outcome for e in events if isinstance(e, FunctionAnswered)}
    assert outcomes == {"book": "answered", "guess": "unknown"}
