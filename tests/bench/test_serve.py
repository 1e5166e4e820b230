"""The server under test: its configuration, and how its processes are found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from offhook import config as configuration
from offhook.bench import serve
from offhook.bench.usage import cpu_ns, machine_ns, rss

AGENT = "settings: {agent: {greeting: Hello}}\n"


def tell(setup: serve.ServeSetup, process: str, **told: object) -> None:
    folder = setup.records / "journal" / process
    folder.mkdir(parents=True)
    (folder / "process.json").write_text(json.dumps(told))


def test_a_server_of_one_process_carries_the_calls_itself(tmp_path: Path) -> None:
    setup = serve.set_up(tmp_path, None, 50, recorded=False)
    assert setup.roles(77) == serve.Roles(77, ())
    assert setup.operator_port() is None


def test_the_newest_living_call_process_and_the_operator_are_found(tmp_path: Path) -> None:
    setup = serve.set_up(tmp_path, None, 50, recorded=False)
    over = subprocess.Popen([sys.executable, "-c", ""])
    over.wait()
    tell(setup, "a", pid=os.getppid(), started_ms=1)
    tell(setup, "b", pid=os.getpid(), started_ms=2)
    tell(setup, "c", pid=over.pid, started_ms=3)
    (setup.records / "journal" / "d").mkdir()
    operator = {"pid": 88, "url": "http://127.0.0.1:5001"}
    (setup.records / "operator.json").write_text(json.dumps(operator))
    assert setup.roles(77) == serve.Roles(os.getpid(), (77, 88))
    assert setup.operator_port() == 5001


def test_the_users_agents_answer_and_nothing_of_theirs_is_written_to(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    folder.mkdir()
    (home / "agent.yaml").write_text(AGENT)
    (home / "offhook.yaml").write_text(
        "lines: {default: agent.yaml}\n"
        "server: {public_url: https://voice.example.com}\n"
        "records: {folder: kept, database: 'postgresql://example.com/calls'}\n"
        "twilio: {bin: false}\n"
    )
    setup = serve.set_up(folder, home / "offhook.yaml", 70, recorded=False)
    environ = setup.environ({"PATH": "/bin", "OFFHOOK_DATABASE_URL": "postgresql://example.com"})
    loaded = configuration.load(setup.config, environ)
    assert loaded.lines["default"].name == "agent"
    assert (loaded.server.capacity, loaded.server.public_url) == (70, None)
    assert loaded.records.folder == folder / "offhook-data"
    assert loaded.records.database.startswith("sqlite:")
    assert loaded.twilio.bin
    assert environ["PATH"] == "/bin"


def test_recorded_calls_have_an_agent_that_says_so(tmp_path: Path) -> None:
    setup = serve.set_up(tmp_path, None, 50, recorded=True)
    loaded = configuration.load(setup.config, setup.environ({}))
    assert loaded.lines["default"].recording


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="as Linux tells it")
def test_what_a_process_used_is_told_from_outside() -> None:
    before = machine_ns()
    with subprocess.Popen(
        [sys.executable, "-c", "for _ in range(10**6): pass\nprint(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert cpu_ns(process.pid) > 1_000_000
        assert rss(process.pid) > 1_000_000
        process.communicate(b"\n")
    assert (cpu_ns(process.pid), rss(process.pid)) == (0, 0)
    assert machine_ns() >= before
