"""offhook serve, as a process: what it says at start and of a call, and how it stops."""

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import uvloop
from tests.cli.in_process import refused_start
from tests.cli.served import COMMAND, SECRETS, run, serving
from tests.cli.test_serve_log import SAID
from tests.waiting import GIVEN_UP_AFTER_S, until_it
from tests.whole_server import TOKEN

from offhook.observability.metrics.catalogue import SECTIONS
from offhook.testing.scenarios.caller import CallReport

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Start:
    """One run of a server with one call: what it said, and what it answered."""

    said: str
    report: CallReport
    token: str
    metrics: str
    answers: Mapping[str, list[int]]
    """Status of each of API_PATHS without the token, with it, and with it at the public port."""


API_PATHS = ("/api/v1/calls", "/metrics", "/openapi.json")


async def start(folder: Path, *arguments: str) -> Start:
    """Run a server for one call."""
    async with (
        serving(folder, *arguments) as server,
        httpx2.AsyncClient(trust_env=False, verify=False) as http,
    ):
        url = await server.operator_url()
        await server.until_said(f"{url}/docs, its token: offhook-data/api-token")
        assert "server.operator_listen" not in server.said
        token, headers, answers = server.api_token, server.headers, {}
        for path in API_PATHS:
            asked = (
                await http.get(url + path),
                await http.get(url + path, headers=headers),
                await http.get(server.url + path, headers=headers),
            )
            answers[path] = [answer.status_code for answer in asked]
        report = await server.call()
        metrics = (await http.get(url + "/metrics", headers=headers)).text
        assert await server.stop() == 0
        assert not (server.records / "operator.json").exists()
    return Start(server.said, report, token, metrics, answers)


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Start, Start]:
    """A first start, with a name that looks misspelt; and one without a file, with --show."""
    folder = tmp_path_factory.mktemp("starts")
    (folder / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    (folder / "agent.yaml").write_text(
        "settings: {speak: {provider: {type: deepgram, version: v2, model: flux-kitt-en}}}\n"
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        first = runner.run(start(folder))
        (folder / "offhook.yaml").unlink()
        return first, runner.run(start(folder, "--show"))


def test_without_a_file_it_answers_as_the_seed_and_shows_the_conversation(
    starts: tuple[Start, Start],
) -> None:
    _, shown = starts
    assert shown.report.faults == []
    assert "agent   Hello! How can I help you today?" in shown.said
    assert "caller  What are your opening hours?" in shown.said
    assert shown.report.call_sid in shown.said
    assert "canary-key" not in shown.said
    assert TOKEN not in shown.said


def test_without_show_nothing_that_was_said_is_printed(starts: tuple[Start, Start]) -> None:
    quiet, _ = starts
    assert "caller_hung_up" in quiet.said
    assert quiet.report.call_sid in quiet.said
    assert "How can I help" not in quiet.said
    assert "+1202" not in quiet.said


def test_a_call_is_in_the_log_by_its_sid_without_words_and_in_every_metric(
    starts: tuple[Start, Start],
) -> None:
    quiet, _ = starts
    lines = [json.loads(line) for line in quiet.said.splitlines()]
    of_call = [line for line in lines if line["logger"] == "offhook.call"]
    assert {line["fields"]["happened"] for line in of_call} == LOGGED
    assert {line["call_sid"] for line in of_call} == {quiet.report.call_sid}
    assert [text for text in SAID if text in quiet.said] == []
    has_every_metric(quiet.metrics)


LOGGED = {"CallBegan", "CallStarted", "AgentConnected", "CallEnded"}
"""Events of a call that are lines of the log."""


def test_the_log_is_whole_where_it_is_kept_and_the_conversation_shown(
    starts: tuple[Start, Start],
) -> None:
    _, shown = starts
    rows = shown.said.splitlines()
    lines = [json.loads(row) for row in rows if row.startswith("{")]
    happened = {line["fields"]["happened"] for line in lines if line["logger"] == "offhook.call"}
    assert happened == LOGGED
    assert [row for row in rows if "caller  What are your opening hours?" in row] != []


def has_every_metric(scrape: str) -> None:
    """Check what a server tells after its first call, by the webhook."""
    typed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", scrape, re.MULTILINE))
    # Gauges of a fleet are asked for in a fleet alone.
    fleet = {metric.name for metric in SECTIONS["Fleet"] if metric.kind == "gauge"}
    every = [metric for section in SECTIONS.values() for metric in section]
    network = (Path(__file__).parents[2] / "docs" / "grafana-dashboard.json").read_text()
    named = {n.removesuffix("_bucket") for n in re.findall(r"\b(offhook_\w+)[{]", network)}
    assert len(named) == len(every)
    assert named - fleet <= typed.keys()
    alone = [metric for metric in every if metric.name not in fleet]
    assert {m.name: typed.get(m.name) for m in alone} == {m.name: m.kind for m in alone}
    assert 'offhook_calls_admitted_total{by="webhook"} 1.0' in scrape


def test_a_name_that_looks_misspelt_is_warned_about_and_the_server_starts(
    starts: tuple[Start, Start],
) -> None:
    misspelt, _ = starts
    assert re.search(r"agent\.yaml:1:67 .*flux-kitt-en.* Did you mean .*flux-kit-en", misspelt.said)


def test_the_api_is_open_to_the_token_whose_file_is_named(starts: tuple[Start, Start]) -> None:
    for one in starts:
        assert one.answers == {path: [401, 200, 404] for path in API_PATHS}
        assert one.token not in one.said
        hinted = one.said.count("server.operator_listen")
        assert hinted == 1, "an operator's path at the public port is told, once"
    assert starts[0].token == starts[1].token, "the second start takes what the first one has made"


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
    ended = refused_start(tmp_path, **environ)
    assert ended.returncode == 1
    assert code in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_token_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    ended = refused_start(tmp_path, **SECRETS, OFFHOOK_API_TOKEN="letmein")
    assert ended.returncode == 1
    assert "E-CFG-02" in ended.stderr
    assert "OFFHOOK_API_TOKEN" in ended.stderr
    assert "letmein" not in ended.stderr


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "offhook-data").mkdir()
    (tmp_path / "offhook-data" / "api-token").write_text("0123456789abcdef0123\n")
    (tmp_path / "offhook-data" / "api-token").chmod(0o644)
    ended = refused_start(tmp_path, "--port", "0", **SECRETS)
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
    ended = refused_start(tmp_path, **SECRETS)
    assert ended.returncode == 1
    assert "agent.yaml:2" in ended.stderr
    assert "version" in ended.stderr
