"""offhook standin, as a process; and, in the test's own, what keeps it from starting."""

import json
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.in_process import Ended, offhook
from tests.processes import started
from websockets.sync.client import ClientConnection, connect

from offhook.errors import UserError
from offhook.testing.simulator.deepgram.server import PATH
from offhook.testing.simulator.dialogue import agents
from offhook.testing.simulator.speech import installed

COMMAND = [sys.executable, "-m", "offhook", "standin"]


def test_it_says_how_to_use_it_listens_and_ends_on_ctrl_c() -> None:
    with started(*COMMAND, "--port", "0") as process:
        assert process.stdout is not None
        told = "".join(process.stdout.readline() for _ in range(5))
        found = re.search(r"offhook serve --deepgram-url ws://127\.0\.0\.1:(\d+)(\S+)", told)
        assert found
        assert found[2] == PATH
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=240) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 ")
        workers = children(process.pid)
        assert bool(workers) is (installed.missing() is None)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=240) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def children(pid: int) -> list[str]:
    """The processes that this one has started: its recogniser and its voice."""
    tasks = Path(f"/proc/{pid}/task")
    return [child for task in tasks.iterdir() for child in (task / "children").read_text().split()]


@pytest.mark.skipif(installed.missing() is None, reason="there are local engines here")
def test_without_ears_a_dialogue_is_refused() -> None:
    ended = run("--script", "examples/front-desk/dialogue.yaml")
    assert ended.returncode == 1
    assert "E-STANDIN-02" in ended.stderr


SETTINGS = {
    "type": "Settings",
    "audio": {
        "input": {"encoding": "mulaw", "sample_rate": 8000},
        "output": {"encoding": "mulaw", "sample_rate": 8000, "container": "none"},
    },
    "agent": {
        "greeting": "Hello?",
        "think": {
            "provider": {"type": "open_ai", "model": "m"},
            "prompt": "Be brief.\x1b[2J",
            "functions": [{"name": "book"}],
        },
    },
}
SCRIPT = """
turns:
  - hear: Book a table.
    function_calls: [{name: book, arguments: {people: 2}}]
    say: [It is booked for you.]
"""


def test_it_prints_what_its_sessions_are_told_and_say(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(SCRIPT)
    command = [*COMMAND, "--port", "0", "--script", str(path)]
    with started(*command) as process:
        assert process.stdout is not None
        url = next(found for line in process.stdout if (found := re.search(r"ws://\S+", line)))[0]
        with connect(url, additional_headers={"Authorization": "Token k"}) as agent:
            agent.send(json.dumps(SETTINGS))
            until(agent, "AgentAudioDone")
            agent.send(json.dumps({"type": "InjectUserMessage", "content": "A table, please."}))
            call = until(agent, "FunctionCallRequest")["functions"][0]
            answer = {"type": "FunctionCallResponse", "id": call["id"], "name": "book"}
            agent.send(json.dumps({**answer, "content": "done"}))
            until(agent, "AgentAudioDone")
        process.send_signal(signal.SIGINT)
        printed = process.stdout.read()
        assert process.wait(timeout=240) == 0
    said = [" ".join(line.split()[3:]) for line in printed.splitlines() if " s  " in line]
    assert said == [
        "session prompt: Be brief. [2J",
        "session functions: book",
        "assistant Hello?",
        "user A table, please.",
        'function book({"people":2})',
        "function book answered done",
        "assistant It is booked for you.",
    ]


def until(agent: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of that type."""
    while True:
        frame = agent.recv(timeout=240)
        if isinstance(frame, str):
            message: dict[str, Any] = json.loads(frame)
            if message["type"] == kind:
                return message


@pytest.mark.parametrize(
    ("script", "told"),
    [("turns:\n  - here: Hi\n", "script.yaml:2:5"), ("spead: 3\n", 'Did you mean "speed"?')],
)
def test_a_mistake_in_the_script_is_named(tmp_path: Path, script: str, told: str) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(script)
    ended = run("--script", str(path))
    assert ended.returncode == 1
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_model_needs_its_url_and_its_name() -> None:
    ended = run("--model", "small")
    assert ended.returncode == 2
    assert "--model-url" in ended.stderr


@pytest.mark.parametrize(
    ("host", "asks"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False)]
)
def test_only_who_listens_on_loopback_asks_models_that_settings_name(
    host: str, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def ready(*_: object, asks_named: bool) -> None:
        told.append(asks_named)
        raise UserError("E-STANDIN-02", "It is not to start.", "Nothing.")

    monkeypatch.setattr(agents, "ready", ready)
    assert run("--host", host).returncode == 1
    assert told == [asks]


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert ended.returncode == 1
    assert "E-STANDIN-01" in ended.stderr
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "--port" in ended.stderr


def run(*arguments: str) -> Ended:
    """Run the stand-in to its end, which is soon."""
    return offhook(Path.cwd(), "standin", *arguments)
