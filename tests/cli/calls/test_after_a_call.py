"""A call over real sockets: followed while it is live, and asked about afterwards."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cli.in_process import offhook
from tests.cli.served import CLEAN, serving


@asynccontextmanager
async def following(folder: Path, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """offhook calls follow, from when it is connected."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "offhook", "calls", "follow", "--json", "--url", url),
        env=CLEAN,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(240):
            assert await process.stderr.readline() == f"following {url}\n".encode()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.long
async def test_a_call_is_followed_listed_and_shown(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as server,
        following(tmp_path, await server.operator_url()) as follower,
    ):
        report = await server.call()
        names = []
        async with asyncio.timeout(240):
            while "CallEnded" not in names:
                assert follower.stdout is not None
                line = json.loads(await follower.stdout.readline())
                assert line["call_sid"] == report.call_sid
                names.append(line["name"])
            follower.send_signal(signal.SIGINT)
            assert await follower.wait() == 0
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 0
    assert names[0] == "CallBegan"
    assert {"CallStarted", "AgentConnected", "AgentSaid", "CallerSaid", "Answered"} < set(names)

    listed = json.loads(offhook(tmp_path, "calls", "--json", "--text", "opening HOURS").stdout)
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
