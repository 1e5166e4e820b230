"""offhook serve, as a process: what it says at start, and how it stops."""

import asyncio
import re
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
from tests.cli.served import COMMAND, SECRETS, run, serving
from tests.waiting import GIVEN_UP_AFTER_S, until_it
from tests.whole_server import TOKEN


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


async def test_a_name_that_looks_misspelt_is_warned_about_and_the_server_starts(
    tmp_path: Path,
) -> None:
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    (tmp_path / "agent.yaml").write_text(
        "settings: {speak: {provider: {type: deepgram, version: v2, model: flux-kitt-en}}}\n"
    )
    async with serving(tmp_path) as server:
        assert re.search(
            r"agent\.yaml:1:67 .*flux-kitt-en.* Did you mean .*flux-kit-en", server.said
        )
        assert await server.stop() == 0


async def test_the_api_is_open_to_the_token_whose_file_is_named(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(2):
        async with (
            serving(tmp_path) as server,
            httpx2.AsyncClient(trust_env=False, verify=False) as http,
        ):
            url = await server.operator_url()
            await server.until_said(f"{url}/docs, its token: offhook-data/api-token")
            assert "server.operator_listen" not in server.said
            tokens.add(server.api_token)
            for at in ("/api/v1/calls", "/metrics", "/openapi.json"):
                assert (await http.get(url + at)).status_code == 401
                assert (await http.get(url + at, headers=server.headers)).status_code == 200
                assert (await http.get(server.url + at, headers=server.headers)).status_code == 404
            assert await server.stop() == 0
            assert server.api_token not in server.said
            hinted = server.said.count("server.operator_listen")
            assert hinted == 1, "an operator's path at the public port is told, once"
            assert not (server.records / "operator.json").exists()
    assert len(tokens) == 1, "the second start takes what the first one has made"


FEW_FILES = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Program that runs a command whose processes may have 256 files each."""


async def test_silent_connections_leave_calls_their_files_and_are_told(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    limited = [sys.executable, "-c", FEW_FILES, *COMMAND]
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(serving(tmp_path, command=limited))
        port = int(made.url.rpartition(":")[2])
        for _ in range(300):
            silent = stack.enter_context(socket.socket())
            silent.setblocking(False)
            await asyncio.get_running_loop().sock_connect(silent, ("127.0.0.1", port))
        report = await made.call()
        assert report.faults == []
        async with httpx2.AsyncClient(
            trust_env=False, verify=False, timeout=GIVEN_UP_AFTER_S
        ) as http:

            async def is_recorded() -> bool:
                ready = (await http.get(made.url + "/readyz")).json()
                return bool(ready["records"] == "ok")  # a busy machine may be some seconds behind

            await until_it(is_recorded)
        made.process.send_signal(signal.SIGTERM)
        assert await made.end() == 0
    assert "dropped a connection (silent) for a new one: 64 are open" in made.said


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
