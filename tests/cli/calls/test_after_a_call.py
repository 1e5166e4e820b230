"""A call over real sockets, and what the commands then tell of it."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from tests.cli.calls.conftest import offhook
from tests.cli.test_serve import CLEAN, serving


async def asked(folder: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "offhook", *arguments),
        env=CLEAN,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_the_call_is_listed_and_shown(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        report = await server.call()
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 0
    # As a process of its own; what the rest would add to that is time.
    listed = json.loads(await asked(tmp_path, "calls", "--json", "--text", "opening HOURS"))
    assert [call["sid"] for call in listed["calls"]] == [report.call_sid]
    assert listed["totals"]["endings"] == {"caller_hung_up": 1}
    [call] = listed["calls"]
    assert (call["from_number"], call["to_number"]) == ("+12025550142", "+12025550100")
    shown = json.loads(offhook(tmp_path, "calls", "show", report.call_sid[-8:], "--json").stdout)
    kinds = {entry["kind"] for entry in shown["timeline"]}
    assert {"utterance", "turn", "agent_session"} <= kinds
    said = [entry["text"] for entry in shown["timeline"] if entry["kind"] == "utterance"]
    assert said[:2] == ["Hello! How can I help you today?", "What are your opening hours?"]
    page = offhook(tmp_path, "calls", "show", report.call_sid).stdout
    assert "the caller hung up (as it should) [caller_hung_up]" in page
