"""The agents as the operator sees them, and trials of their functions, over real sockets."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.api.desk import TOKEN as API_TOKEN
from tests.api.desk import Desk, desk
from tests.whole_server import ACCOUNT, TOKEN

from offhook.config import load
from offhook.link import agent_directory
from offhook.serving import reloading
from offhook.tools import file_watch, trials
from offhook.tools.results import RESULT_MAX

SECRET = "sk-live-0123456789abcdef"
SECRETS = {
    "DEEPGRAM_API_KEY": "a-key",
    "TWILIO_AUTH_TOKEN": TOKEN,
    "TWILIO_ACCOUNT_SID": ACCOUNT,
    "OFFHOOK_API_TOKEN": API_TOKEN,
}
APP = """
lines: {default: shop.yaml, "+12025550101": shop.yaml}
"""
SHOP = f"""
name: the shop
# A comment with {SECRET} is not shown.
settings:
  greeting: Hello, {{{{name}}}}.
  think:
    provider: {{type: open_ai, model: gpt-4o-mini}}
    endpoint: {{url: "https://llm.example/{SECRET}", headers: {{authorization: "Bearer {SECRET}"}}}}
    prompt: |
      Be brief.
      Be kind to {{{{name}}}}.
  speak: {{provider: {{type: deepgram, model: aura-2-thalia-en}}}}
variables: {{name: you, city: Bonn}}
tools: [tools.py, take_message, transfer_call]
transfer: {{destinations: {{night: {{agent: night.yaml, describe: At night.}}}}}}
"""
NIGHT = """
settings:
  think: {provider: {type: open_ai, model: gpt-4o-mini}, prompt: Good night.}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
"""
TOOLS = '''
import os, time
from typing import Literal
from offhook.tools import Call, ToolError, Variable, tool

paid = []

def wait():
    while not os.path.exists(os.path.join(os.path.dirname(__file__), "released")):
        time.sleep(0.01)

@tool
def hours(day: Literal["saturday", "sunday"], city: Variable) -> dict:
    """When the shop is open."""
    return {"day": day, "city": city}

@tool
async def who(call: Call) -> str:
    """Who calls."""
    return f"{call.sid[:5]} {call.caller} {call.agent}"

@tool(irreversible=True)
def pay(amount: int) -> str:
    """Pay."""
    paid.append(amount)
    return f"paid {paid}"

@tool
def raises() -> str:
    """Raise."""
    raise KeyError("a secret of the caller")

@tool
def refuses() -> str:
    """Refuse."""
    raise ToolError("not today")

@tool
def huge() -> str:
    """Return a megabyte."""
    return "x" * 1_000_000

@tool
def hangs() -> str:
    """Hang."""
    wait()
    return "late"

@tool(irreversible=True)
def pays_late() -> str:
    """Pay, and take long."""
    wait()
    return "paid"

@tool(process=True)
def where() -> int:
    """The process."""
    return os.getpid()

@tool(process=True)
def dies() -> str:
    """End the process."""
    os._exit(3)

@tool
async def says(call: Call) -> str:
    """Say something in the call."""
    return await call.say("Hello")
'''


class Shop:
    def __init__(self, d: Desk, folder: Path) -> None:
        self.d = d
        self.folder = folder

    async def get(self, path: str) -> tuple[int, Any]:
        answer = await self.d.ask(f"/api/v1/agents{path}")
        return answer.status_code, answer.json()

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        answer = await self.d.ask(f"/api/v1/agents{path}", method="POST", body=body)
        return answer.status_code, answer.json()

    async def tried(self, function: str, arguments: Any = None, **more: Any) -> dict[str, Any]:
        path = f"/the%20shop/functions/{function}"
        status, body = await self.post(path, arguments=arguments or {}, **more)
        assert status == 200, body
        found: dict[str, Any] = body
        return found


@asynccontextmanager
async def shop(folder: Path) -> AsyncIterator[Shop]:
    for name, text in {
        "offhook.yaml": APP,
        "shop.yaml": SHOP,
        "night.yaml": NIGHT,
        "tools.py": TOOLS,
    }.items():
        (folder / name).write_text(text)
    records = folder / "records"
    records.mkdir()
    async with desk(records, config=load(folder / "offhook.yaml", SECRETS)) as d:
        yield Shop(d, folder)


async def agents_are_told_as_they_were_loaded(s: Shop) -> None:
    status, body = await s.get("")
    assert status == 200
    night, front = body["agents"]
    assert (night["name"], night["lines"]) == ("night", [])
    assert front == {
        "name": "the shop",
        "file": str(s.folder / "shop.yaml"),
        "lines": ["+12025550101", "default"],
        "places_calls": False,
        "records": False,
        "variables": {"name": "you", "city": "Bonn"},
        "destinations": ["night"],
        "greeting": "Hello, {{name}}.",
    }
    status, body = await s.get("/the%20shop")
    assert status == 200
    assert body["agent"] == front
    assert SECRET not in json.dumps(body)
    assert "authorization: '***'" in body["text"]
    assert "prompt: |\n" in body["text"], "as one would write it"
    assert not body["is_changed"]
    assert {each["level"] for each in body["findings"]} == {"remark"}
    by_name = {each["name"]: each for each in body["functions"]}
    assert by_name["hours"]["parameters"]["properties"]["day"]["enum"] == ["saturday", "sunday"]
    assert by_name["hours"]["place"].startswith("tools.py:")
    assert by_name["take_message"]["place"] == ""
    marked = [name for name, each in by_name.items() if each["irreversible"]]
    assert set(marked) >= {"pay", "pays_late"}
    assert by_name["where"]["process"]

    status, body = await s.get("/gone")
    assert (status, body["code"]) == (404, "E-AGENT-01")
    assert "night, the shop" in body["fix"]


async def a_file_that_has_changed_is_checked_and_reloaded(s: Shop) -> None:
    status, body = await s.post("/check")
    assert (status, body["errors"]) == (200, 0)
    assert any("fallback" in each["text"] for each in body["findings"])
    (s.folder / "shop.yaml").write_text(SHOP.replace("prompt:", "promt:"))
    (s.folder / "night.yaml").write_text("settings: [")
    status, body = await s.get("/the%20shop")
    assert (status, body["is_changed"]) == (200, True)
    assert "prompt:" in body["text"], "calls have the file as it was loaded"
    status, body = await s.post("/check")
    assert (status, body["errors"]) == (200, 2)
    errors = [each for each in body["findings"] if each["level"] == "error"]
    wrong = {Path(each["file"]).name: each["line"] for each in errors}
    assert wrong == {"shop.yaml": 9, "night.yaml": 1}
    status, body = await s.post("/reload")
    assert (status, body["code"][:6]) == (422, "E-YAML")
    (s.folder / "shop.yaml").write_text(SHOP.replace("Be brief.", "Be quick."))
    (s.folder / "night.yaml").write_text(NIGHT)
    assert (await s.post("/reload"))[0] == 200
    status, body = await s.get("/the%20shop")
    assert "Be quick." in body["text"]
    assert not body["is_changed"]


async def a_file_of_functions_that_fails_is_told_and_the_old_ones_stay(s: Shop) -> None:
    (s.folder / "tools.py").write_text("import time\nraise OSError('no')\n")
    status, body = await s.post("/check")
    assert (status, body["errors"]) == (200, 1)
    (finding,) = [each for each in body["findings"] if each["level"] == "error"]
    assert (Path(finding["file"]).name, finding["line"]) == ("tools.py", 2)
    assert (await s.tried("hours", {"day": "sunday"}))["outcome"] == "answered"


async def functions_are_tried_as_a_call_would_run_them(s: Shop) -> None:
    tried = await s.tried("hours", {"day": "sunday"})
    assert tried["outcome"] == "answered"
    assert json.loads(tried["content"]) == {"day": "sunday", "city": "Bonn"}
    assert 0 <= tried["took_ms"] < 60_000
    tried = await s.tried("hours", {"day": "sunday"}, variables={"city": "Ulm"})
    assert json.loads(tried["content"])["city"] == "Ulm"
    assert (await s.tried("who"))["content"] == "TRIAL None the shop"

    tried = await s.tried("hours", {"day": "monday", "hour": 3})
    assert tried["outcome"] == "failed"
    assert "saturday" in tried["content"]
    assert "hour" in tried["content"]

    tried = await s.tried("raises")
    assert (tried["outcome"], "secret" in json.dumps(tried)) == ("failed", False)
    assert tried["fault"].startswith("KeyError at ")
    assert "tools.py:" in tried["fault"]
    tried = await s.tried("refuses")
    assert json.loads(tried["content"]) == {"error": "not today"}
    assert tried["fault"] == ""
    assert len((await s.tried("huge"))["content"]) <= RESULT_MAX
    tried = await s.tried("says")
    assert "this call is not one of a server" in tried["content"]
    status, body = await s.post("/the%20shop/functions/none", arguments={})
    assert (status, body["code"]) == (404, "E-AGENT-02")
    too_long = await s.tried("hours", {"day": "x" * 70_000})
    assert (too_long["outcome"], too_long["took_ms"]) == ("failed", 0)


async def a_function_in_a_process_runs_there_and_may_die(s: Shop) -> None:
    assert int((await s.tried("where"))["content"]) != os.getpid()
    tried = await s.tried("dies")
    assert tried["outcome"] == "failed"
    assert "exit code 3" in tried["fault"]


async def what_cannot_be_taken_back_is_asked_for_first(s: Shop) -> None:
    path = "/the%20shop/functions/pay"
    status, body = await s.post(path, arguments={"amount": 3})
    assert (status, body["code"]) == (409, "E-AGENT-03")
    tried = await s.tried("pay", {"amount": 4}, confirmed=True)
    assert tried["content"] == "paid [4]", "the one that was not confirmed did not run"
    tried = await s.tried("pay", {"amount": 4}, confirmed=True)
    assert tried["content"] == "paid [4, 4]", "each trial is a call of its own"


async def a_function_that_hangs_is_given_up_and_leaves_room_for_calls(s: Shop) -> None:
    late, paying = await asyncio.gather(s.tried("hangs"), s.tried("pays_late", confirmed=True))
    assert (late["outcome"], json.loads(late["content"])) == (
        "too_late",
        {"error": "this takes too long; it was stopped"},
    )
    assert paying["outcome"] == "outcome_unknown"
    status, body = await s.post("/the%20shop/functions/hangs", arguments={})
    assert (status, body["code"]) == (503, "E-AGENT-04")
    (s.folder / "released").touch()


async def a_file_that_hangs_while_it_is_loaded_holds_nothing(s: Shop) -> None:
    (s.folder / "tools.py").write_text(f"{TOOLS}\nwait()\n")
    status, body = await s.get("/the%20shop")
    assert (status, body["code"]) == (503, "E-AGENT-05")
    for path in ("/check", "/reload"):
        status, body = await s.post(path)
        assert (status, body["code"]) == (503, "E-AGENT-06"), path
    assert (await s.get(""))[0] == 200
    (s.folder / "released").touch()


async def test_agents_and_their_files(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        await agents_are_told_as_they_were_loaded(s)
        await a_file_that_has_changed_is_checked_and_reloaded(s)
        await a_file_of_functions_that_fails_is_told_and_the_old_ones_stay(s)


async def test_functions_are_tried(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        await functions_are_tried_as_a_call_would_run_them(s)
        await a_function_in_a_process_runs_there_and_may_die(s)
        await what_cannot_be_taken_back_is_asked_for_first(s)


async def test_what_hangs_holds_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "HARD_S", 0.2)
    monkeypatch.setattr(trials, "HANGING_MAX", 1)
    monkeypatch.setattr(agent_directory, "READ_S", 0.2)
    monkeypatch.setattr(reloading, "READ_S", 0.2)
    monkeypatch.setattr(file_watch, "LOOK_S", 3600)  # the request must be first to load the file
    async with shop(tmp_path) as s:
        await a_function_that_hangs_is_given_up_and_leaves_room_for_calls(s)
        (tmp_path / "released").unlink()
        await a_file_that_hangs_while_it_is_loaded_holds_nothing(s)
