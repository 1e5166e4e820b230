"""`offhook rehearse`, as a user runs it."""

import asyncio
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from offhook import wav, wire
from offhook.cli import app
from offhook.errors import Problem
from offhook.twilio.media import MediaWriter

SPEECH = b"\x10" * 1600


class Agent:
    """Says 200 ms when the stream starts, and again when it has heard all 20 frames of the clip."""

    def __init__(self) -> None:
        self.speech = 0
        self.socket: wire.Channel
        self.writer: MediaWriter

    def on_open(self, socket: wire.Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        message = json.loads(text)
        if message["event"] == "start":
            self.writer = MediaWriter(message["streamSid"])
            self.socket.send_text(self.writer.play(SPEECH))
        elif message["event"] == "media" and message["media"]["payload"].startswith("EBAQ"):
            self.speech += 1
            if self.speech == 20:
                self.socket.send_text(self.writer.play(SPEECH))

    def on_binary(self, data: bytes) -> None: ...

    def on_writable(self, writable: bool) -> None: ...

    def on_close(self, closed: wire.Closed) -> None: ...


class Front(asyncio.Protocol):
    """A webhook that says and hangs up, and a socket with an agent behind it."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST"):
            body = b"<Response><Say>We are full.</Say><Hangup/></Response>"
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n"
            self.transport.write(head % len(body) + body)
        else:
            wire.accept(self.transport, data, self.decide, max_size=65536)

    def decide(self, upgrade: wire.Upgrade) -> wire.Acceptance | wire.Refusal:
        if "x-twilio-signature" in upgrade.headers:
            return wire.Acceptance(Agent())
        return wire.Refusal(403, "unsigned")


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
        started.wait(10)
        yield ports[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "12345")


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


def test_a_clip_is_asked_and_answered(port: int, clip: Path) -> None:
    code, output = rehearse("--clip", clip, "--to", f"ws://127.0.0.1:{port}/twilio", "--json")
    facts = json.loads(output)
    assert code == 0
    assert facts["went_well"] is True
    assert facts["ending"] == "caller_hung_up"
    (said,) = facts["said"]
    assert said["text"] == str(clip)
    assert said["answered_after_ms"] is not None
    assert len(facts["streams"][0]["heard"]) == 2
    left, right = wav.read_stereo(Path("rehearsal.wav"))
    assert left.count(SPEECH) == 2
    assert right.count(SPEECH) == 2


def test_a_person_reads_what_happened(port: int, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "call.wav"
    code, output = rehearse("--clip", clip, "--to", f"ws://127.0.0.1:{port}/twilio", "--out", out)
    assert code == 0
    assert "answered after" in output
    assert "ended: caller hung up" in output
    assert "call.wav" in output
    assert out.exists()


def test_a_call_without_an_agent_is_a_failure(port: int) -> None:
    code, output = rehearse("--say", "Stop.", "--to", f"http://127.0.0.1:{port}/twilio/voice")
    assert code == 1
    assert "no stream was opened" in output


def test_unsigned_is_unsigned(port: int) -> None:
    code, output = rehearse("--say", "Stop.", "--unsigned", "--to", f"ws://127.0.0.1:{port}/x")
    assert code == 1
    assert "31920 the upgrade was answered 403" in output


def test_a_token_is_needed_to_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWILIO_AUTH_TOKEN")
    with pytest.raises(Problem, match="E-REH-03"):
        rehearse("--say", "Stop.")


def test_what_nobody_recorded_is_answered_with_what_can_be_said() -> None:
    with pytest.raises(Problem) as problem:
        rehearse("--say", "Sing!")
    assert problem.value.code == "E-REH-01"
    assert "What are your opening hours?" in problem.value.fix


def test_a_call_that_cannot_be_written(port: int, clip: Path) -> None:
    with pytest.raises(Problem, match="E-REH-04"):
        rehearse("--clip", clip, "--to", f"ws://127.0.0.1:{port}/x", "--out", "missing/call.wav")


@pytest.mark.parametrize(
    "arguments", [(), ("--say", "a", "--clip", "b.wav"), ("x.yaml", "--say", "a")]
)
def test_wrong_use(arguments: tuple[str, ...]) -> None:
    assert rehearse(*arguments)[0] == 2
