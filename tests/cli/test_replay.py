"""`serve --capture`, and `rehearse --replay` of what it has written."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.in_process import run_offhook
from tests.cli.served import CLEAN, COMMAND, SECRETS, Serving, serving
from tests.whole_server import HOURS
from typer.testing import CliRunner

from offhook.cli import app
from offhook.errors import UserError
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn

CHANGED = Script(turns=[ScriptTurn(hear=HOURS, say=["Are you still there?"])], silence_ms=300)


def captures(folder: Path) -> list[Path]:
    return sorted((folder / "captures").iterdir())


async def replay(folder: Path, file: Path, server: Serving, *options: str) -> tuple[int, str, str]:
    given = ("--replay", str(file), "--to", f"{server.url}/twilio/voice", *options)
    ended = await run_offhook(folder, "rehearse", *given, **SECRETS)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.long
async def test_a_captured_call_is_a_test_by_one_command(tmp_path: Path) -> None:
    async with serving(tmp_path, "--capture", "captures") as server:
        report = await server.call()
        (file,) = captures(tmp_path)
        assert "every call is captured into captures" in " ".join(server.said.split())
        code, out, err = await replay(tmp_path, file, server)
        assert (code == 0 and "The same." in out) or "E-CAP-06" in err
        assert "answered by seed, by the webhook, made again" in " ".join(out.split())
        server.process.terminate()
        assert await server.end() == 0
    text = file.read_text()
    assert report.call_sid in text
    assert "canary-key" not in text
    assert len(captures(tmp_path)) == 2

    async with serving(tmp_path, script=CHANGED) as server:
        code, out, err = await replay(tmp_path, file, server, "--json")
    facts: dict[str, Any] = json.loads(out)
    assert code == 1
    assert facts["verdict"] == "different" or "E-CAP-06" in err
    assert any("sounds different" in one["what"] for one in facts["differences"])
    assert facts["capture"]["call_sid"] == report.call_sid
    assert (tmp_path / facts["wav"]).exists()


async def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "--port", "0", "--capture", "file"),
        env=CLEAN | SECRETS,
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(240):
        _, err = await process.communicate()
    assert process.returncode == 1
    assert b"E-CAP-01" in err
    assert b"Traceback" not in err


def test_a_file_that_is_no_capture(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="E-CAP-03"):
        CliRunner().invoke(
            app, ["rehearse", "--replay", str(tmp_path / "x.jsonl")], catch_exceptions=False
        )


def test_one_thing_at_a_time() -> None:
    given = ["rehearse", "--replay", "x.jsonl", "--say", "Stop."]
    assert CliRunner().invoke(app, given).exit_code == 2
