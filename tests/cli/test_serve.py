"""offhook serve, as a process: what it says at start, and how it stops."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from tests.whole_server import ACCOUNT, ASK, GREET, HANG_UP, QUICK, TOKEN, caller

from offhook.clock import LoopClock
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.twilio.phone import place_call

COMMAND = [sys.executable, "-m", "offhook", "serve"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("DEEPGRAM", "TWILIO", "OFFHOOK"))}
SECRETS = {"DEEPGRAM_API_KEY": "canary-key", "TWILIO_AUTH_TOKEN": TOKEN}


class Serving:
    """A server process, its port, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, banner: str) -> None:
        self.process = process
        self.url = url
        self.said = banner

    async def call(self) -> CallReport:
        return await place_call(
            self.url + "/twilio/voice",
            caller(GREET, ASK, GREET, HANG_UP),
            clock=LoopClock(asyncio.get_running_loop()),
            auth_token=TOKEN,
            account_sid=ACCOUNT,
            from_="+12025550142",
            to="+12025550100",
        )

    async def end(self) -> int | None:
        async with asyncio.timeout(240):
            _, said = await self.process.communicate()
        self.said += said.decode()
        return self.process.returncode


@asynccontextmanager
async def serving(folder: Path, *arguments: str, script: Script = QUICK) -> AsyncIterator[Serving]:
    clock = LoopClock(asyncio.get_running_loop())
    standin = await standin_server.serve("127.0.0.1", 0, script, clock)
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("--port", "0", "--deepgram-url", standin.url, *arguments),
        env=CLEAN | SECRETS,
        cwd=folder,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(240):
        banner = await process.stderr.readuntil(b"twice ends them.")
    found = re.search(rb"answers at (http://127\.0\.0\.1:\d+)", banner)
    assert found is not None
    try:
        yield Serving(process, found[1].decode(), banner.decode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await standin.close()


async def test_without_a_file_it_answers_as_the_seed_and_shows_the_conversation(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, "--show") as server:
        report = await server.call()
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 0
        assert report.faults == []
        assert "agent   Hello! How can I help you today?" in server.said
        assert "caller  What are your opening hours?" in server.said
        assert report.call_sid in server.said
        assert "canary-key" not in server.said
        assert TOKEN not in server.said


async def test_without_show_nothing_that_was_said_is_printed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        report = await server.call()
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 0
        assert "caller_hung_up" in server.said
        assert report.call_sid in server.said
        assert "How can I help" not in server.said
        assert "+1202" not in server.said


async def test_sigterm_lets_the_live_call_finish(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, asyncio.TaskGroup() as group:
        live = group.create_task(server.call())
        assert server.process.stderr is not None
        async with asyncio.timeout(240):
            server.said += (
                await server.process.stderr.readuntil(b"caller is on the line")
            ).decode()
        server.process.send_signal(signal.SIGTERM)
        report = await live
        assert report.faults == []
        assert report.ending == "caller_hung_up"
        assert await server.end() == 0


async def test_the_api_is_open_to_the_token_whose_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "offhook-data" / "api-token"
    tokens = set()
    for _ in range(2):
        async with serving(tmp_path) as server, httpx2.AsyncClient(trust_env=False) as http:
            assert f"{server.url}/docs" in server.said
            assert "its token: offhook-data/api-token" in server.said
            token = path.read_text().strip()
            tokens.add(token)
            headers = {"Authorization": f"Bearer {token}"}
            for at in ("/api/v1/calls", "/metrics", "/openapi.json"):
                assert (await http.get(server.url + at)).status_code == 401
                assert (await http.get(server.url + at, headers=headers)).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            assert await server.end() == 0
            assert token not in server.said
    assert len(tokens) == 1, "the second start takes what the first one has made"


async def test_silent_connections_leave_calls_their_files_and_are_told(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with AsyncExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            made = await stack.enter_async_context(serving(tmp_path))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        port = int(made.url.rpartition(":")[2])
        for _ in range(300):
            silent = stack.enter_context(socket.socket())
            silent.setblocking(False)
            await asyncio.get_running_loop().sock_connect(silent, ("127.0.0.1", port))
        report = await made.call()
        assert report.faults == []
        async with httpx2.AsyncClient(trust_env=False) as http:
            ready = (await http.get(made.url + "/readyz")).json()
        assert ready["records"] == "ok"
        made.process.send_signal(signal.SIGTERM)
        assert await made.end() == 0
    assert "dropped a connection (silent) for a new one: 64 are open" in made.said


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=CLEAN | environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(
    ("environ", "code"),
    [({"TWILIO_AUTH_TOKEN": TOKEN}, "E-DG-01"), ({"DEEPGRAM_API_KEY": "key"}, "E-TW-01")],
)
def test_a_missing_secret_is_said_at_start(
    tmp_path: Path, environ: dict[str, str], code: str
) -> None:
    ended = run(tmp_path, **environ)
    assert ended.returncode == 1
    assert code in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_token_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    ended = run(tmp_path, **SECRETS, OFFHOOK_API_TOKEN="letmein")
    assert ended.returncode == 1
    assert "E-CFG-02" in ended.stderr
    assert "OFFHOOK_API_TOKEN" in ended.stderr
    assert "letmein" not in ended.stderr


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "offhook-data").mkdir()
    (tmp_path / "offhook-data" / "api-token").write_text("0123456789abcdef0123\n")
    (tmp_path / "offhook-data" / "api-token").chmod(0o644)
    ended = run(tmp_path, "--port", "0", **SECRETS)
    assert ended.returncode == 1
    assert "E-API-01" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run(tmp_path, "--port", str(taken.getsockname()[1]), **SECRETS)
    assert ended.returncode == 1
    assert "E-NET-01" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_invalid_file_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "offhook.yaml").write_text("server:\n  prot: 5001\n")
    ended = run(tmp_path, **SECRETS)
    assert ended.returncode == 1
    assert "offhook.yaml:2:3" in ended.stderr
    assert '"port"' in ended.stderr


def test_settings_that_deepgram_would_refuse_are_found_before_any_call(tmp_path: Path) -> None:
    listen = "{provider: {type: deepgram, model: flux-general-en}}"
    (tmp_path / "agent.yaml").write_text(f"settings:\n  listen: {listen}\n")
    (tmp_path / "offhook.yaml").write_text("lines:\n  default: agent.yaml\n")
    ended = run(tmp_path, **SECRETS)
    assert ended.returncode == 1
    assert "agent.yaml:2" in ended.stderr
    assert "version" in ended.stderr
