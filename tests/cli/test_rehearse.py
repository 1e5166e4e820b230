"""`offhook rehearse`, as a user runs it."""

import asyncio
import contextlib
import json
import math
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast
from xml.etree import ElementTree

import pytest
from tests.waiting import wait_until
from typer.testing import CliRunner

from offhook.cli import app
from offhook.errors import UserError
from offhook.net import websocket
from offhook.recordings import wav
from offhook.testing.scenarios import lateness
from offhook.testing.simulator.speech import installed
from offhook.twilio.messages import MediaWriter
from offhook.twilio.signature import SETTINGS_HEADER

SPEECH = b"\x10" * 1600


class Agent:
    """Says 200 ms when the stream starts, and again when it has heard all 20 frames of the clip."""

    started = threading.Event()
    stopped: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self.speech = 0
        self.socket: websocket.Channel
        self.writer: MediaWriter

    def on_open(self, socket: websocket.Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        message = json.loads(text)
        if message["event"] == "start":
            self.writer = MediaWriter(message["streamSid"])
            self.socket.send_text(self.writer.play(SPEECH))
            self.started.set()
        elif message["event"] == "stop":
            self.stopped.append(message["streamSid"])
        elif message["event"] == "media" and message["media"]["payload"].startswith("EBAQ"):
            self.speech += 1
            if self.speech == 20:
                self.socket.send_text(self.writer.play(SPEECH))

    def on_binary(self, data: bytes) -> None: ...

    def on_writable(self, writable: bool) -> None: ...

    def on_close(self, closed: websocket.Closed) -> None: ...


class Front(asyncio.Protocol):
    """A webhook that says and hangs up, and a socket with an agent behind it."""

    transport: asyncio.Transport
    settings: ClassVar[list[str | None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST /silent"):
            return
        if data.startswith(b"POST"):
            body = b"<Response><Say>We are full.</Say><Hangup/></Response>"
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n"
            self.transport.write(head % len(body) + body)
        else:
            websocket.accept(self.transport, data, self.decide, max_size=65536)

    def decide(self, upgrade: websocket.Upgrade) -> websocket.Acceptance | websocket.Refusal:
        self.settings.append(upgrade.headers.get(SETTINGS_HEADER.lower()))
        if "x-twilio-signature" in upgrade.headers:
            return websocket.Acceptance(Agent())
        return websocket.Refusal(403, "unsigned")


@pytest.fixture
def port() -> Iterator[int]:
    """The server runs in a thread of its own: the command has its own event loop."""
    ports: list[int] = []
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await loop.create_server(Front, "127.0.0.1", 0)
        async with server:
            ports.append(server.sockets[0].getsockname()[1])
            started.set()
            await stop.wait()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        thread = threading.Thread(target=runner.run, args=(serve(),))
        thread.start()
        started.wait(240)
        yield ports[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(240)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        found: int = sock.getsockname()[1]
    return found


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "12345")
    # What fails here fails on any machine; of late ones is tests/testing/scenarios/test_runner.py.
    monkeypatch.setattr(lateness, "HELD_S", math.inf)
    monkeypatch.setattr(lateness, "BEHIND", math.inf)
    # The agents here make noise. To find no words in it takes a process and a second of CPU.
    monkeypatch.setattr(installed, "missing_free_speech", without_free_speech)


MISSING_FREE_SPEECH = installed.missing_free_speech


def without_free_speech() -> str:
    return "no recogniser installed"


@pytest.fixture
def free_speech(_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is heard is recognised, where that is installed."""
    monkeypatch.setattr(installed, "missing_free_speech", MISSING_FREE_SPEECH)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "question.wav"
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 7, 1, 8000, 8000, 1, 8
    )
    path.write_bytes(header + struct.pack("<4sI", b"data", 3200) + SPEECH * 2)
    return path


def rehearse(*arguments: Any) -> tuple[int, str]:
    given = ["rehearse", *map(str, arguments)]
    result = CliRunner().invoke(app, given, catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.usefixtures("free_speech")
def test_a_clip_is_asked_and_answered(port: int, clip: Path) -> None:
    code, output = rehearse("--clip", clip, "--to", f"ws://127.0.0.1:{port}/twilio", "--json")
    facts = json.loads(output)
    assert code == 0
    assert (facts["passed"], facts["failed"]) == (1, 0)
    ((call,),) = (one["calls"] for one in facts["scenarios"])
    assert call["ending"] == "caller_hung_up"
    (said,) = call["said"]
    assert said["text"] == str(clip)
    assert said["answered_after_ms"] is not None
    assert [line["who"] for line in call["conversation"]] == ["agent", "caller", "agent", "call"]
    assert len(call["streams"][0]["heard"]) == 2
    assert facts["recordings"] == ["rehearsal.wav"]
    left, right = wav.read_stereo(Path("rehearsal.wav"))
    assert left.count(SPEECH) == 2
    assert right.count(SPEECH) == 2


def test_a_person_reads_what_happened(port: int, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "call.wav"
    code, output = rehearse("--clip", clip, "--to", f"ws://127.0.0.1:{port}/twilio", "--out", out)
    assert code == 0
    assert "answered after" in output
    assert "over: caller hung up" in output
    assert "1 passed" in output
    assert "call.wav" in output
    assert out.exists()


def test_a_call_without_an_agent_is_a_failure(port: int) -> None:
    code, output = rehearse("--say", "Stop.", "--to", f"http://127.0.0.1:{port}/twilio/voice")
    assert code == 1
    assert "no stream was opened" in output
    assert "1 failed" in output


# --- Scenarios ---


@pytest.fixture
def scenarios(tmp_path: Path, clip: Path) -> Path:
    """A good one, one that fails, and one in a folder of its own."""
    folder = tmp_path / "scenarios"
    (folder / "below").mkdir(parents=True)
    good = "steps: [wait_for_agent, {clip: ../question.wav}, {expect: {within_ms: 1500}}, hang_up]"
    (folder / "a-good.yaml").write_text(f"name: Good\n{good}\n")
    bad = "vars: {turns: 3}\nsteps: [wait_for_agent, hang_up]\nexpect: {turns: '{{turns}}'}"
    (folder / "b-bad.yaml").write_text(bad)
    (folder / "below" / "c.yaml").write_text(good.replace("../question", "../../question"))
    return folder


def test_a_folder_is_rehearsed_and_judged(port: int, scenarios: Path, tmp_path: Path) -> None:
    given = (scenarios, "--to", f"ws://127.0.0.1:{port}/twilio", "--junit", tmp_path / "out.xml")
    code, output = rehearse(*given, "--out", tmp_path / "calls")
    assert code == 1
    assert "2 passed, 1 failed: " in output
    assert f"{scenarios}/b-bad.yaml:3:9 the agent spoke 1 times, not 3" in output
    suite = ElementTree.parse(tmp_path / "out.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    names = [case.get("name") for case in suite]
    assert names == ["Good", f"{scenarios}/b-bad.yaml", f"{scenarios}/below/c.yaml"]
    (failure,) = suite.iter("failure")
    assert "b-bad.yaml:3:9 the agent spoke 1 times" in str(failure.get("message"))
    assert "caller" in str(suite[0].findtext("system-out"))
    recordings = sorted(path.name for path in (tmp_path / "calls").iterdir())
    assert recordings == ["a-good.wav", "b-bad.wav", "c.wav"]


def test_variables_of_the_command_line_go_first(port: int, scenarios: Path) -> None:
    given = (scenarios, "--to", f"ws://127.0.0.1:{port}/twilio", "--var", "turns=1", "--json")
    code, output = rehearse(*given, "--jobs", 3)
    facts = json.loads(output)
    assert (code, facts["passed"], facts["recordings"]) == (0, 3, [])
    assert [Path(one["file"]).name for one in facts["scenarios"]] == [
        "a-good.yaml",
        "b-bad.yaml",
        "c.yaml",
    ]


def test_every_mistake_in_a_folder_is_named_at_once(scenarios: Path) -> None:
    (scenarios / "d.yaml").write_text("steps: [{sey: x}]")
    (scenarios / "e.yaml").write_text("steps: [{press: 1}]")
    with pytest.raises(UserError) as problem:
        rehearse(scenarios)
    assert problem.value.code == "E-YAML-03"
    assert f"{scenarios}/d.yaml:1:10" in problem.value.what
    assert f"{scenarios}/e.yaml:1:17" in problem.value.what


def test_what_cannot_be_is_said_before_any_call(scenarios: Path) -> None:
    (scenarios / "d.yaml").write_text("steps: [hang_up, {expect: x}]")
    (scenarios / "e.yaml").write_text("steps: [{clip: none.wav}, {expect: x}]")
    with pytest.raises(UserError) as problem:
        rehearse(scenarios)
    assert problem.value.code == "E-SCENARIO-01"
    assert "d.yaml:1:18 After hang_up" in problem.value.what
    assert "e.yaml:1:36 What is heard cannot be made into words here" in problem.value.what


def test_a_clip_that_is_not_there_is_named_with_its_line(scenarios: Path) -> None:
    (scenarios / "d.yaml").write_text("steps:\n  - clip: none.wav")
    with pytest.raises(UserError) as problem:
        rehearse(scenarios)
    assert problem.value.code == "E-WAV-01"
    assert "d.yaml:2:5" in problem.value.what


def test_a_dialogue_that_is_not_there_is_named_with_its_line(scenarios: Path) -> None:
    (scenarios / "d.yaml").write_text("dialogue: none.yaml\nsteps: [hang_up]")
    with pytest.raises(UserError, match=r"d.yaml:1:11 There is no dialogue"):
        rehearse(scenarios)


def test_a_folder_without_scenarios(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="E-SCENARIO-03"):
        rehearse(tmp_path)


def test_a_report_that_cannot_be_written(port: int, scenarios: Path) -> None:
    with pytest.raises(UserError, match="E-SCENARIO-05"):
        rehearse(
            scenarios / "a-good.yaml",
            "--to",
            f"ws://127.0.0.1:{port}/x",
            "--junit",
            "missing/out.xml",
        )


@pytest.mark.parametrize("path", ["silent", "twilio"])
def test_a_call_that_does_not_end_is_given_up(port: int, tmp_path: Path, path: str) -> None:
    """A webhook that never answers; a stream that is never closed."""
    file = tmp_path / "long.yaml"
    file.write_text("time_limit_s: 1\nsteps: [{wait: 0.2}]")
    scheme = "ws" if path == "twilio" else "http"
    code, output = rehearse(file, "--to", f"{scheme}://127.0.0.1:{port}/{path}")
    assert code == 1
    assert "the call was not over when its time was up" in output
    assert "over: given up" in output


@pytest.mark.skipif(sys.platform == "win32", reason="it has no SIGINT to send")
def test_ctrl_c_hangs_up_every_call(port: int, tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    step = "{steps: [{wait: 50}, hang_up]}"
    file.write_text(f"callers: {{a: {step}, b: {step}}}")
    Agent.started.clear()
    Agent.stopped.clear()
    process = started_by_a_person(str(file), "--to", f"ws://127.0.0.1:{port}/twilio")
    assert Agent.started.wait(240)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == INTERRUPTED, errors
    assert "Traceback" not in errors
    assert Agent.stopped


INTERRUPTED = 128 + signal.SIGINT


def started_by_a_person(*arguments: str) -> subprocess.Popen[str]:
    """`offhook rehearse` as a shell starts it in front, where Ctrl-C is heard.

    Whoever runs these tests in the background has it ignored, which a process inherits.
    """
    begin = "signal.signal(signal.SIGINT, signal.default_int_handler); main()"
    code = f"import signal; from offhook.cli import main; {begin}"
    return subprocess.Popen(
        [sys.executable, "-c", code, "rehearse", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- A server within the rehearsal ---

DESK = Path("examples/front-desk").resolve()
SCRIPT = """\
turns:
  - hear: What are your opening hours?
    say: ["Of course, what else?"]
    function_calls: [{name: look_up, arguments: {day: friday}}]
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.yaml"
    path.write_text(SCRIPT)
    return path


def test_a_server_within_the_rehearsal_is_seen_from_inside(tmp_path: Path, script: Path) -> None:
    file = tmp_path / "inside.yaml"
    file.write_text(
        "steps:\n"
        "  - expect: How can I help you\n"
        "  - say: What are your opening hours?\n"
        "  - expect: {says: what else, called: {function: look_up, exactly: {day: friday}}}\n"
        "  - hang_up\n"
        "expect: {ending: {slug: caller_hung_up, doing: nobody}}\n"
    )
    code, output = rehearse(file, "--standin", script, "--json")
    facts = json.loads(output)
    assert (code, facts["scenarios"][0]["failures"]) == (0, [])
    assert facts["scenarios"][0]["words_heard"].startswith("taken from the wire")
    lines = [line["text"] for line in facts["scenarios"][0]["calls"][0]["conversation"]]
    assert "Of course, what else?" in lines
    assert "calls look_up(day='friday')" in lines


@pytest.mark.skipif(installed.missing() is not None, reason="there is no recogniser here")
@pytest.mark.usefixtures("free_speech")
def test_the_front_desk_is_rehearsed_by_one_command() -> None:
    code, output = rehearse(
        DESK / "scenarios" / "hours-on-sunday.yaml",
        "--config",
        DESK / "offhook.yaml",
        "--standin",
        DESK / "dialogue.yaml",
    )
    assert "We are closed on Sundays." in output
    assert "1 passed" in output
    assert code == 0


def test_a_server_without_an_agent_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    with pytest.raises(UserError, match="E-SCENARIO-06"):
        rehearse("--say", "Stop.", "--config", DESK / "offhook.yaml")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks into /proc")
@pytest.mark.skipif(installed.missing() is not None, reason="there are no processes to end")
def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text("steps: [wait_for_agent, {wait: 100}, hang_up]")
    # The server reads its tools when recogniser and voice are there, right before the call.
    started = tmp_path / "started"
    tool = "from offhook.tools import tool\n\n@tool\ndef f() -> None:\n    'Nothing.'\n"
    (tmp_path / "tools.py").write_text(f"open({str(started)!r}, 'w').close()\n{tool}")
    (tmp_path / "agent.yaml").write_text((DESK / "agent.yaml").read_text())
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    process = started_by_a_person("long.yaml", "--standin", str(DESK / "dialogue.yaml"))
    wait_until(lambda: started.exists() or process.poll() is not None)
    children = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert children, errors
    assert process.returncode == INTERRUPTED, errors
    assert "Traceback" not in errors
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


def children_of(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # one that has just ended
            # The name, in brackets, may hold anything; state and parent follow.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.add(int(stat.parent.name))
    return found


def test_the_schema_is_printed() -> None:
    code, output = rehearse("--schema")
    assert code == 0
    assert json.loads(output)["title"] == "An Offhook scenario"


def test_unsigned_is_unsigned(port: int) -> None:
    code, output = rehearse("--say", "Stop.", "--unsigned", "--to", f"ws://127.0.0.1:{port}/x")
    assert code == 1
    assert "31920 the upgrade was answered 403" in output


def test_the_server_of_this_folder_is_called_at_its_port(port: int, tmp_path: Path) -> None:
    (tmp_path / "offhook.yaml").write_text(f"server: {{port: {port}}}\n")
    _, output = rehearse("--say", "Stop.", "--json")
    (call,) = json.loads(output)["scenarios"][0]["calls"]
    assert "Twilio's voice" in str(call["conversation"]), "the webhook there has answered"


def test_a_server_that_is_not_there_is_named_by_the_address_that_was_tried(
    tmp_path: Path, unused_port: int
) -> None:
    public = "public_url: https://voice.example.com"
    (tmp_path / "offhook.yaml").write_text(f"server: {{port: {unused_port}, {public}}}\n")
    code, output = rehearse("--say", "Stop.")
    assert code == 1
    assert f"nothing answers at 127.0.0.1:{unused_port}" in " ".join(output.split())


def test_a_port_that_is_not_known_has_to_be_given(tmp_path: Path) -> None:
    (tmp_path / "offhook.yaml").write_text("server: {port: 0}\n")
    code, output = rehearse("--say", "Stop.")
    assert code == 2
    assert "--to URL" in output


def test_a_token_is_needed_to_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWILIO_AUTH_TOKEN")
    with pytest.raises(UserError, match="E-REH-03"):
        rehearse("--say", "Stop.")


def test_a_shared_key_signs_in_place_of_the_token(
    port: int, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWILIO_AUTH_TOKEN")
    monkeypatch.setenv("TWILIO_SIGNING_SECRETS", "key-1=secret-1,key-2=secret-2")
    call = ("--clip", clip, "--to", f"ws://127.0.0.1:{port}/twilio", "--signing-key")
    assert rehearse(*call, "key-2")[0] == 0
    assert Front.settings[-1] == "key=key-2,algorithm=HMAC_SHA256"
    with pytest.raises(UserError, match=r'E-REH-06 .*"key-3"') as raised:
        rehearse(*call, "key-3")
    assert "key-1, key-2" in raised.value.fix
    assert "secret-" not in str(raised.value)
    code, _ = rehearse(*call, "key-1", "--unsigned")
    assert code == 2


def test_what_nobody_recorded_is_synthesised_and_the_report_says_by_whom(port: int) -> None:
    call = ("--say", "Sing!", "--unsigned", "--to", f"ws://127.0.0.1:{port}/x")  # it is refused
    _, output = rehearse(*call, "--json")
    synthesised = json.loads(output)["synthesised"]
    assert synthesised in ({"Sing!": "flite"}, {"Sing!": "eSpeak NG"})
    _, output = rehearse(*call)
    assert f"One line of callers said by {synthesised['Sing!']}." in output
    _, output = rehearse("--say", "Stop.", *call[2:], "--json")
    assert json.loads(output)["synthesised"] == {}


def test_without_a_voice_it_is_told_what_can_be_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError) as problem:
        rehearse("--say", "Sing!")
    assert problem.value.code == "E-REH-01"
    assert "What are your opening hours?" in problem.value.fix
    path = tmp_path / "caller.yaml"
    path.write_text("steps:\n  - wait: 1\n  - say: Can you sing?\n")
    with pytest.raises(UserError) as problem:
        rehearse(path)
    assert problem.value.what.startswith(f'{path}:3:5 Nobody has recorded "Can you sing?"')


def test_a_call_that_cannot_be_written(port: int, clip: Path) -> None:
    with pytest.raises(UserError, match="E-REH-04"):
        rehearse("--clip", clip, "--to", f"ws://127.0.0.1:{port}/x", "--out", "missing/call.wav")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--say", "a", "--clip", "b.wav"),
        ("x.yaml", "--say", "a"),
        ("--say", "Stop.", "--to", "ws://127.0.0.1:1", "--config", "offhook.yaml"),
        ("--say", "Stop.", "--unsigned", "--standin", "dialogue.yaml"),
        ("--say", "Stop.", "--var", "name"),
        ("--say", "Stop.", "--jobs", "0"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...]) -> None:
    assert rehearse(*arguments)[0] == 2


def test_a_variable_that_no_scenario_has(scenarios: Path) -> None:
    code, output = rehearse(scenarios, "--var", "turn=1")
    assert code == 2
    assert "turns" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--to", "https://voice.example.com/twilio/voice"),
            "runs elsewhere. --config offhook.yaml",
        ),
        ((), "a server that the rehearsal runs itself --config offhook.yaml --standin DIALOGUE"),
    ],
)
def test_faults_of_a_server_elsewhere_are_refused_with_what_to_do(
    script: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, said = rehearse("--fault", "agent:close=1011@8", "--say", "Hello.", *arguments)
    assert code == 2
    told = " ".join(said.replace("│", " ").split())
    assert [part for part in words.split(" --") if part not in told] == []
