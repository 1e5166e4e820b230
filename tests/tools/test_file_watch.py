"""Files of functions that change while a server runs: never loaded on its event loop."""

import asyncio
import dataclasses
import logging
from pathlib import Path

import pytest
from tests.tools.test_files import GOOD, HANGS, write
from tests.waiting import until
from tests.whole_server import ASK, GREET, HANG_UP, MAX_LAG_MS, TOKEN, whole_server

from offhook.config import Config, load
from offhook.config.current_agents import CurrentAgents
from offhook.tools import file_watch
from offhook.tools.file_watch import FileWatch
from offhook.tools.files import ToolFiles
from offhook.tools.threads import Threads

AGENT = """
settings:
  greeting: Hello! How can I help you today?
  think: {provider: {type: open_ai, model: gpt-4o-mini}, prompt: Be brief.}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
tools: [tools.py]
lookup: {python: lookup.py:find}
"""
LOOKUP = """
def find(call):
    return {"city": "Bonn"}
"""
SECRETS = {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN}


def configured(folder: Path) -> Config:
    """A configuration whose agent has a function and a lookup in Python files."""
    write(folder / "tools.py", GOOD)
    write(folder / "lookup.py", LOOKUP)
    write(folder / "agent.yaml", AGENT)
    app = write(folder / "offhook.yaml", "lines: {default: agent.yaml}")
    config = load(app, SECRETS)
    server = config.server.model_copy(update={"max_lag_ms": MAX_LAG_MS})
    return dataclasses.replace(config, server=server)


async def test_changed_files_are_loaded_and_those_that_hang_hold_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_watch, "LOAD_S", 0.1)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (ToolFiles([write(tmp_path / name / "tools.py", GOOD)]) for name in ("one", "two"))
    watch = FileWatch(lambda: [one.toolbox, two.toolbox, ToolFiles().toolbox], Threads())
    before = one.current, two.current
    await watch.look()
    assert (one.current, two.current) == before
    write(tmp_path / "one/tools.py", GOOD + HANGS, 2)
    write(tmp_path / "two/tools.py", GOOD.replace("Hello", "Hi"), 2)
    with caplog.at_level(logging.ERROR):
        await watch.look()
    assert two.current["greet"]("Ada") == "Hi, Ada"
    assert one.current is before[0]
    assert "E-AGENT-05 tools.py was not loaded" in caplog.text
    await watch.look()
    assert caplog.text.count("E-AGENT-05") == 1
    (tmp_path / "one/released").touch()
    await until(lambda: one.current is not before[0])


def test_every_file_of_an_agent_is_watched(tmp_path: Path) -> None:
    agents = CurrentAgents(configured(tmp_path))
    watched = {path.name for each in agents.python_files() for path in each.paths}
    assert watched == {"tools.py", "lookup.py"}


@pytest.mark.parametrize("name", ["tools.py", "lookup.py"])
async def test_calls_begin_and_go_on_while_a_changed_file_hangs_as_it_is_loaded(
    tmp_path: Path, name: str
) -> None:
    config = configured(tmp_path)
    async with whole_server(config=config) as h, asyncio.TaskGroup() as group:
        live = group.create_task(h.call(GREET, ASK, GREET, ASK, GREET, HANG_UP))
        await until(lambda: len(h.sessions) == 1)
        path = tmp_path / name
        write(path, path.read_text() + HANGS, 2)
        # On the loop the load would never end: what it waits for is made below.
        begun = await h.call(GREET, ASK, GREET, HANG_UP)
        await until((tmp_path / "begun").exists)
        for report in (begun, await live):
            assert report.faults == []
            assert h.silences(report) == []
        (tmp_path / "released").touch()


async def test_a_changed_file_counts_for_new_calls(tmp_path: Path) -> None:
    async with whole_server(config=configured(tmp_path)) as h:
        agent = h.server.calls.agents.agent_for(None)
        assert agent is not None
        write(tmp_path / "tools.py", GOOD.replace("def greet", "def salute"), 2)
        await until(lambda: "salute" in agent.tool_files.current)
        await h.call(GREET, HANG_UP)
        (session,) = h.sessions
        assert session.settings is not None
        assert list(session.settings.functions) == ["salute"]
