"""Built-in tools in a whole call: Twilio gets the text, the record the rest."""

import json
from pathlib import Path

from tests.api.desk import desk
from tests.vendor import vendor
from tests.whole_server import ACCOUNT, ASK, GREET, HANG_UP, HOURS, TOKEN

from offhook.config import load
from offhook.deepgram.messages import FunctionCallResponse
from offhook.events.types import DialRefused
from offhook.outbound.ledger_file import FILE, LedgerFile
from offhook.records import dnc
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn

CALLER = "+12025550142"
AGENT = """
settings:
  listen: {provider: {type: deepgram, version: v2, model: flux-general-en}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}, prompt: Be brief.}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
  greeting: Hello! How can I help you today?
tools: [send_sms, take_message, stop_calling_me]
texts: {from: "+12025550100", destinations: {shop: {to: "+12025550143"}}}
"""
ASKED = [
    ScriptFunctionCall(name="send_sms", arguments={"text": "See you on Friday."}),
    ScriptFunctionCall(name="send_sms", arguments={"text": "Late", "to": "+19005551234"}),
    ScriptFunctionCall(name="send_sms", arguments={"text": "One too many", "to": "shop"}),
    ScriptFunctionCall(name="take_message", arguments={"name": "Ada", "text": "Call back."}),
    ScriptFunctionCall(name="stop_calling_me", arguments={}),
]


async def test_an_agent_texts_takes_a_message_and_bars_a_number(tmp_path: Path) -> None:
    script = Script(
        turns=[ScriptTurn(hear=HOURS, function_calls=ASKED, say=["Of course, what else?"])],
        silence_ms=300,
    )
    async with vendor() as twilio:
        (tmp_path / "agent.yaml").write_text(AGENT)
        (tmp_path / "offhook.yaml").write_text(
            f"twilio: {{account_sid: {ACCOUNT}, api_url: '{twilio.url}'}}\n"
            "dialling: {texts_per_hour: 1}\nlines: {default: agent.yaml}\n"
        )
        config = load(
            tmp_path / "offhook.yaml", {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN}
        )
        async with desk(tmp_path, config=config, script=script) as operator:
            whole = operator.whole
            report = await whole.call(GREET, ASK, GREET, HANG_UP, from_=CALLER)
            await whole.until_ended()
            await operator.until_stored()
            (session,) = whole.sessions
            events = whole.events()
            shown = (await operator.ask(f"/api/v1/calls/{report.call_sid}")).json()
            with operator.engine.connect() as connection:
                assert dnc.is_barred(connection, CALLER)
            assert LedgerFile(tmp_path / FILE).is_barred(CALLER)
    answers = [m.content for m in session.received if isinstance(m, FunctionCallResponse)]
    assert len(answers) == len(ASKED)
    assert "the text is on its way" in answers
    assert "the message is kept for the people here" in answers
    assert "this number will not be called again" in answers
    errors = sorted(json.loads(answer)["error"] for answer in answers if "error" in answer)
    assert errors[0] == "the text was not sent: the texts of this hour are used up"
    assert errors[1] == "to: Input should be 'caller' or 'shop'"
    (sent,) = twilio.forms
    assert (sent["To"], sent["Body"]) == (CALLER, "See you on Friday.")
    assert [e.to for e in events if isinstance(e, DialRefused)] == ["+12025550143"]
    (message,) = [entry for entry in shown["timeline"] if entry["kind"] == "message"]
    assert (message["from_name"], message["text"]) == ("Ada", "Call back.")
