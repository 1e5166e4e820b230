"""Agents that are replaced while calls are live, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.api.desk import TOKEN as API_TOKEN
from tests.api.desk import Desk, desk
from tests.waiting import until
from tests.whole_server import ACCOUNT, GREET, HANG_UP, TOKEN, texts

from offhook.config import load
from offhook.events.types import AgentSaid, CallBegan
from offhook.testing.scenarios.scenario import ScenarioStep

SECRETS = {
    "DEEPGRAM_API_KEY": "a-key",
    "TWILIO_AUTH_TOKEN": TOKEN,
    "TWILIO_ACCOUNT_SID": ACCOUNT,
    "OFFHOOK_API_TOKEN": API_TOKEN,
}
APP = """
server: {capacity: 20, max_lag_ms: 0}
lines: {default: front.yaml, "+12025550101": back.yaml}
"""
AGENT = """
name: NAME
settings:
  greeting: GREETING
  think: {provider: {type: open_ai, model: gpt-4o-mini}, prompt: Be brief.}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
tools: [tools.py, transfer_call]
transfer: {destinations: {billing: {agent: billing.yaml, describe: Bills.}}}
"""
TOOLS = '''
from offhook.tools import tool

@tool
def NAME() -> str:
    """Tell the time."""
    return "now"
'''


def agent(name: str, greeting: str) -> str:
    return AGENT.replace("NAME", name).replace("GREETING", greeting)


class Files:
    """The files of a server, in a test's hands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("offhook.yaml", APP)
        self.write("front.yaml", agent("front", "First greeting."))
        self.write("back.yaml", agent("back", "Back."))
        self.write("billing.yaml", agent("billing", "Billing."))
        self.write("tools.py", TOOLS.replace("NAME", "time"))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    @property
    def config(self) -> Path:
        return self.folder / "offhook.yaml"


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Files, Desk]]:
    files = Files(folder)
    records = folder / "records"
    records.mkdir()
    async with desk(records, config=load(files.config, SECRETS)) as d:
        yield files, d


async def reload(d: Desk) -> tuple[int, Any]:
    answer = await d.ask("/api/v1/agents/reload", method="POST")
    return answer.status_code, answer.json()


async def greeting_of(d: Desk, to: str = "+12025550100") -> tuple[str, str]:
    """The agent of a new call, and how it greets."""
    call_sid = (await d.whole.call(GREET, HANG_UP, to=to)).call_sid
    events = d.whole.events(call_sid)
    (began,) = [event for event in events if isinstance(event, CallBegan)]
    return began.agent, texts(events, AgentSaid)[0]


async def test_new_calls_get_the_new_agents_and_live_ones_keep_theirs(tmp_path: Path) -> None:
    async with served(tmp_path) as (files, d), asyncio.TaskGroup() as group:
        call = group.create_task(d.whole.call(GREET, ScenarioStep(wait=600)))
        await until(lambda: texts(d.whole.events(), AgentSaid))
        sid = d.whole.happened[0].call_sid
        standin = d.whole.sessions[0]

        files.write("front.yaml", agent("front", "Second greeting."))
        files.write("tools.py", TOOLS.replace("NAME", "clock"))
        files.write("night.yaml", agent("night", "Good night."))
        files.write("billing.yaml", agent("billing", "Billing, again."))
        lines = APP.replace("back.yaml", "night.yaml").replace("capacity: 20", "capacity: 21")
        files.write("offhook.yaml", lines)
        status, body = await reload(d)
        assert status == 200, body
        assert (body["agents"], body["lines"]) == (["billing", "front", "night"], 2)
        assert "server.capacity" in body["restart"]
        assert not [each for each in body["restart"] if each.startswith("outbound.")]

        assert await greeting_of(d) == ("front", "Second greeting.")
        assert await greeting_of(d, "+12025550101") == ("night", "Good night.")
        new = d.whole.sessions[1].settings
        assert new is not None
        assert "clock" in json.dumps([*new.functions])
        assert standin.settings is not None
        assert "time" in json.dumps([*standin.settings.functions])
        assert d.whole.endings(sid) == [], "the live call goes on"
        # It transfers to the agent of a file as it is now.
        transfer = f"/api/v1/calls/{sid}/transfer"
        moved = await d.ask(transfer, method="POST", body={"destination": "billing"})
        assert moved.status_code == 200, moved.text
        await until(lambda: "Billing, again." in texts(d.whole.events(sid), AgentSaid))
        call.cancel()


LISTEN = "  listen: {provider: {type: deepgram, model: flux-general-en}}"
BAD = {
    "yaml": ("front.yaml", "settings: [", "E-YAML-02", "front.yaml:1:"),
    "key": ("front.yaml", agent("front", "Hi.") + "colour: red\n", "E-YAML-03", "front.yaml:9:1"),
    "settings": ("back.yaml", agent("back", "Hi.\n" + LISTEN), "E-SET-01", "back.yaml:5:"),
    "python": ("tools.py", "def broken(:\n", "E-TOOL-01", "tools.py:1:1"),
    "raises": ("tools.py", "1 / 0\n", "E-TOOL-01", "tools.py:1:1"),
    "file": ("offhook.yaml", APP.replace("back.yaml", "none.yaml"), "E-CFG-01", "offhook.yaml:3:"),
    "names": ("back.yaml", agent("front", "Hi."), "", ".yaml:2:"),
    "lookup": (
        "back.yaml",
        agent("back", "Hi.") + 'lookup: {url: "https://crm.example.com/x"}\n',
        "E-CFG-07",
        "",
    ),
    "recorded": (
        "back.yaml",
        agent("back", "Hi.") + "recording: true\nannouncement: {say: This is recorded.}\n",
        "E-CFG-07",
        "",
    ),
}


@pytest.mark.long
async def test_a_mistake_changes_nothing(tmp_path: Path) -> None:
    greeting = "First greeting."
    async with served(tmp_path) as (files, d):
        for mistake, (name, text, code, place) in BAD.items():
            files.write("front.yaml", agent("front", "Another greeting."))
            files.write(name, text)
            status, body = await reload(d)
            assert status == (409 if code == "E-CFG-07" else 422), (mistake, body)
            assert body["code"] == code or not code, (mistake, body)
            assert place in body["detail"], mistake
            assert body["fix"], mistake
            assert await greeting_of(d) == ("front", greeting), mistake
            assert await greeting_of(d, "+12025550101") == ("back", "Back."), mistake
            # And after it is corrected all of it is used.
            greeting = f"Greeting after {mistake}."
            Files(files.folder)
            files.write("front.yaml", agent("front", greeting))
            assert (await reload(d))[0] == 200, mistake
            assert await greeting_of(d) == ("front", greeting), mistake


async def test_a_tool_file_that_hangs_blocks_no_call(tmp_path: Path) -> None:
    async with served(tmp_path) as (files, d), asyncio.TaskGroup() as group:
        go_on = files.folder / "go-on"
        hang = f"import pathlib, time\nwhile not pathlib.Path({str(go_on)!r}).exists():\n"
        files.write("slow.py", hang + "    time.sleep(0.01)\n" + TOOLS.replace("NAME", "late"))
        slow = agent("front", "Second greeting.").replace("tools.py", "slow.py")
        files.write("front.yaml", slow)
        asked = group.create_task(reload(d))
        assert await greeting_of(d, "+12025550101") == ("back", "Back.")
        assert not asked.done()
        go_on.touch()
        assert (await asked)[0] == 200
        assert await greeting_of(d) == ("front", "Second greeting.")
