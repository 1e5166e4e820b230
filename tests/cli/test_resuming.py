"""The call process is killed under a talking call, and the call goes on in the next one."""

import asyncio
import json
import sqlite3
import stat
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.cli.served import serving
from tests.waiting import until
from tests.whole_server import ASK, GREET, HANG_UP, HOURS

from offhook.call.phrases import Phrases
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is one process on Windows")

LONG = (
    "We are open from Monday to Friday, from nine in the morning until six in the evening, and on"
    " Saturdays from ten in the morning until two in the afternoon, all the year."
)
SCRIPT = Script(
    turns=[
        ScriptTurn(hear=HOURS, say=[LONG]),
        ScriptTurn(hear=Phrases().go_on, say=["As I was saying."]),
    ],
    silence_ms=300,
    reply_ms=50,
)
GREETING = "Hello! How can I help you today?"


def recorded(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of all calls in their order."""
    path = folder / "offhook-data" / "offhook.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as database:
        found = database.execute("select kind, body from events order by line").fetchall()
    return [(kind, json.loads(body)) for kind, body in found]


def live_files(folder: Path) -> list[Path]:
    return sorted((folder / "offhook-data" / "journal" / "live").glob("*/*"))


def second_utterance(folder: Path) -> list[bytes]:
    """Return what the live call's file has of the agent's answer."""
    lines = b"".join(path.read_bytes() for path in live_files(folder)).split(b"\n")
    return [line for line in lines if b'"utterance":2' in line]


async def test_a_call_whose_process_is_killed_goes_on_in_the_next_one(tmp_path: Path) -> None:
    async with serving(tmp_path, script=SCRIPT) as server, asyncio.TaskGroup() as group:
        call = await server.until_started("call")
        calling = group.create_task(server.call(GREET, ASK, GREET, GREET, HANG_UP))
        await until(lambda: any(b'"heard_ms":2020' in line for line in second_utterance(tmp_path)))
        (file,) = live_files(tmp_path)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        psutil.Process(call).kill()
        report = await calling
        assert report.ending == "caller_hung_up", report.faults
        assert report.faults == ["31903 the connection broke"]
        assert len(report.streams) == 2
        assert await server.stop() == 0
    assert live_files(tmp_path) == [], "a call that is over leaves no file"
    events = recorded(tmp_path)
    kinds = Counter(kind for kind, _ in events)
    once = ("CallBegan", "CallStarted", "CallTakenOver", "CallerBack", "CallEnded")
    assert {kind: kinds[kind] for kind in once} == dict.fromkeys(once, 1)
    said = [body["text"] for kind, body in events if kind in ("AgentSaid", "CallerSaid")]
    assert said[:2] == [GREETING, HOURS]
    assert said[3:] == ["As I was saying."]
    assert LONG.startswith(said[2]), "and once"
    assert said[2].startswith("We are open from Monday to Friday,"), "the 2 s that were heard"
    (ended,) = (body for kind, body in events if kind == "CallEnded")
    assert ended["slug"] == "caller_hung_up"
    assert ended["duration_ms"] > 6000
