"""Captures: the files that a server writes, and that nothing about them can harm a call."""

import dataclasses
import errno
import json
import logging
import os
import re
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.calls.test_session import Rehearsal
from tests.whole_server import ASK, GREET, HANG_UP, TOKEN, configured, whole_server

from offhook import config
from offhook.capture import writer
from offhook.capture.tap import NewCall, OnWire
from offhook.capture.writer import Captures
from offhook.errors import UserError
from offhook.testing.scenarios.scenario import ScenarioStep

CALL = NewCall("CA" + "2" * 32, "front-desk", by="webhook", from_="+12025550142", to="+12025550100")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def rehearse(captures: Any, *steps: ScenarioStep) -> Rehearsal:
    rehearsal = Rehearsal(*steps)
    rehearsal.calls.intake._sessions._make_tap = captures
    assert rehearsal.run(60) == ["caller_hung_up"]
    return rehearsal


def test_a_call_is_a_file_of_lines(tmp_path: Path) -> None:
    with Captures(tmp_path / "new" / "folder", ()) as captures:
        rehearsal = rehearse(captures, GREET, ASK, GREET, HANG_UP)
    (path,) = (tmp_path / "new" / "folder").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-CA2{32}\.jsonl", path.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    header, *lines = read(path)
    assert header["offhook_capture"] == writer.VERSION
    assert header["agent"] == "seed"
    assert header["webhook"] is False
    assert lines[-1]["ended"] == "caller_hung_up"
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    heard = [line for line in lines if (line.get("leg"), line.get("dir")) == ("caller", "in")]
    audio = [line for line in heard if "audio" in line]
    assert len(audio) == len(rehearsal.stream.sent_at)
    assert [line["ms"] for line in audio] == [20 * (n + 1) for n in range(len(audio))]
    types = {line["message"].get("type") for line in lines if "message" in line}
    assert {"Settings", "Welcome", "ConversationText", "AgentAudioDone"} <= types
    seconds = len(audio) / 50
    assert path.stat().st_size < seconds * 60_000, "3.6 MB a minute"


async def test_a_server_captures_the_calls_of_its_webhook(tmp_path: Path) -> None:
    with Captures(tmp_path, (TOKEN,)) as captures:
        async with whole_server(make_tap=captures) as made:
            report = await made.call(GREET, ASK, GREET, HANG_UP)
            await made.until_ended()
    header, *lines = read(only(tmp_path))
    assert header["call_sid"] == report.call_sid
    assert (header["webhook"], header["from"], header["to"]) == (
        True,
        "+12025550142",
        "+12025550100",
    )
    assert lines[-1]["ended"] == "caller_hung_up"


async def test_no_secret_is_in_the_file(tmp_path: Path) -> None:
    """Canaries in the process's own secrets, in Settings, and in what Twilio sends."""
    names = ("function", "think", "speak", "query", "credential")
    canaries = {name: f"canary-{name}-0123456789" for name in names}
    key, token = "canary-key-0123456789abcdef", TOKEN
    file = tmp_path / "agent.yaml"
    file.write_text(
        f"""
        settings:
          agent:
            listen: {{provider: {{type: deepgram, model: nova-3}}}}
            think:
              - provider: {{type: open_ai, model: gpt-4o}}
                endpoint:
                  url: https://model.example/v1?key={canaries["query"]}
                  headers: {{authorization: Bearer {canaries["think"]}}}
                functions:
                  - name: look_up
                    endpoint:
                      url: https://tool.example/
                      method: post
                      headers: {{x-anything: {canaries["function"]}}}
            speak:
              - provider:
                  type: aws_polly
                  voice: Joanna
                  language: en-US
                  engine: neural
                  credentials:
                    type: iam
                    region: us-east-1
                    access_key_id: {canaries["credential"]}
                    secret_access_key: {canaries["credential"]}
                endpoint:
                  url: https://polly.example/
                  headers: {{x-a: {canaries["speak"]}}}
            greeting: Hello!
        """
    )
    agent, _ = config.read_agent(file)
    settings = agent.settings.message().decode()
    assert all(canary in settings for canary in canaries.values()), "else this shows nothing"
    made_with = configured("ws://127.0.0.1:1/")
    made_with = dataclasses.replace(
        made_with,
        lines={"default": agent},
        deepgram=made_with.deepgram.model_copy(update={"api_key": SecretStr(key)}),
    )
    folder = tmp_path / "captures"
    with Captures(folder, made_with.secrets) as captures:
        async with whole_server(config=made_with, make_tap=captures) as made:
            await made.call(GREET, HANG_UP)
            await made.until_ended()
            (entry,) = made.server.calls.registry._over.values()
    text = only(folder).read_text()
    assert '"Settings"' in text
    assert "look_up" in text
    assert entry.token is not None
    for secret in (*canaries.values(), key, token, entry.token, entry.account_sid):
        assert secret not in text


def test_an_unfinished_call_can_be_read(tmp_path: Path) -> None:
    rehearsal = Rehearsal(GREET, ASK)
    with Captures(tmp_path, ()) as captures:
        rehearsal.calls.intake._sessions._make_tap = captures
        rehearsal.clock.run(5)
    path = only(tmp_path)
    lines = read(path)
    assert len(lines) > 250
    assert "ended" not in lines[-1]


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_found_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="E-CAP-01"):
        Captures(tmp_path / "file", ())


def test_a_full_disk_stops_the_capture_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room = 20_000

    def write(descriptor: int, data: bytes, *, _write: Any = os.write) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = _write(descriptor, data[:room])
        room -= written
        return written

    with Captures(tmp_path, ()) as captures:
        monkeypatch.setattr(os, "write", write)
        rehearse(captures, GREET, ASK, GREET, HANG_UP)
    monkeypatch.undo()
    path = only(tmp_path)
    assert path.stat().st_size == 20_000
    assert caplog.text.count("E-CAP-02") == 1
    assert "No space left on device" in caplog.text


def test_a_disk_that_hangs_stops_the_capture_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "WAITING_BYTES", 50_000)
    released = threading.Event()
    with Captures(tmp_path, ()) as captures:

        def hang(descriptor: int, data: bytes, *, _write: Any = os.write) -> int:
            released.wait(20)
            written: int = _write(descriptor, data)
            return written

        monkeypatch.setattr(os, "write", hang)
        rehearse(captures, GREET, ASK, GREET, HANG_UP)
        assert caplog.text.count("the disk is too slow") == 1
        assert captures.thread._bytes <= 50_000
        released.set()
    path = only(tmp_path)
    assert 0 < path.stat().st_size <= 50_000
    assert [json.loads(line) for line in path.read_text().splitlines()], "what is there is whole"


def test_a_file_that_is_there_already_is_not_touched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Captures(tmp_path, ()) as captures:
        for _ in range(2):
            captures(CALL)
    assert len(list(tmp_path.iterdir())) <= 2  # 2 when a second has passed in between
    assert all(len(read(path)) == 1 for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 2 or "File exists" in caplog.text


def test_a_name_from_outside_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with Captures(folder, ()) as captures:
        captures(NewCall("../../etc/" + "x" * 5000, "a", by="bin"))
    path = only(folder)
    assert list(tmp_path.iterdir()) == [folder]
    assert len(path.name) < 80


def test_what_is_no_message_is_kept_as_its_size(tmp_path: Path) -> None:
    with Captures(tmp_path, ()) as captures:
        tap = captures(CALL)
        for data in (b"\xff\xfe", b"[" * 100_000, b'"secret"', b'{"event":"media","media":7}'):
            tap.on_wire(OnWire(1.0, "caller", "in", "text", data))
        tap.on_wire(OnWire(1.0, "caller", "in", "binary", b"secret"))
        tap.on_wire(OnWire(1.0, "agent", "in", "close", b"1011 " + b"\xff"))
        tap.on_ended(None)
    path = only(tmp_path)
    _, *lines = read(path)
    kept = [line.get("unreadable") for line in lines]
    assert kept == [2, 100_000, 8, None, 6, None, None]
    assert lines[3]["message"] == {"event": "media", "media": 7}
    assert lines[-1]["ended"] == "unknown"


def test_nothing_of_a_call_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "offhook.capture.writer")
    with Captures(tmp_path, ()) as captures:
        rehearse(captures, GREET, ASK, GREET, HANG_UP)
    assert [record for record in caplog.records if record.name == "offhook.capture.writer"] == []
