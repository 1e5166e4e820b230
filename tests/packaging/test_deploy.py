"""The files of deploy/ and the workflow say what the code and docs/deploy.md say."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main
import yaml
from tests.test_docs import ROOT, committed

from offhook.cli import app
from offhook.config import ServerSettings
from offhook.config.agent_file import LimitSettings
from offhook.serving.listen import WAITING_MAX
from offhook.serving.server import HAND_OVER_S
from offhook.serving.service_manager import BEATS_IN_LIMIT
from offhook.serving.supervisor import OPERATOR_STOP_S

DEPLOY: Final = ROOT / "deploy"
PAGE: Final = (ROOT / "docs" / "deploy.md").read_text("utf-8")
FLEET_PAGE: Final = (ROOT / "docs" / "deploy-fleet.md").read_text("utf-8")
DOCKERFILE: Final = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
UNIT: Final = (DEPLOY / "offhook.service").read_text("utf-8")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKFLOW: Final = ROOT / ".github" / "workflows" / "test.yml"


def value_of(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def test_every_file_is_linked_from_one_of_the_pages() -> None:
    names = {path.name for path in committed() if path.parent == DEPLOY}
    assert len(names) >= 6
    assert {name for name in names if f"](../deploy/{name})" not in PAGE + FLEET_PAGE} == set()


def longest_stop_s() -> float:
    """Seconds that a stop takes at most, unless an agent's file allows longer calls."""
    return LimitSettings().max_minutes * 60 + HAND_OVER_S + OPERATOR_STOP_S


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("offhook.service", r"^TimeoutStopSec=(\d+)min$"),
        ("compose.yaml", r"^    stop_grace_period: (\d+)m\b"),
        ("Caddyfile", r"^\t+stream_close_delay (\d+)m$"),
        ("haproxy.cfg", r"^    hard-stop-after (\d+)m$"),
        ("haproxy-fleet.cfg", r"^    hard-stop-after (\d+)m$"),
    ],
)
def test_nothing_ends_a_call_that_is_as_long_as_it_may_be(file: str, pattern: str) -> None:
    (minutes,) = re.findall(pattern, (DEPLOY / file).read_text("utf-8"), re.MULTILINE)
    assert int(minutes) * 60 > longest_stop_s()


def test_the_beats_are_as_often_as_the_page_says() -> None:
    limit = int(value_of("WatchdogSec").removesuffix("s"))
    assert f"every {limit // BEATS_IN_LIMIT} s that it goes on" in UNIT
    assert f"every {limit // BEATS_IN_LIMIT} s that it goes on" in " ".join(PAGE.split())


def commands() -> Iterator[list[str]]:
    yield shlex.split(value_of("ExecStart"))[1:]
    check, hangup = re.findall(r"^ExecReload=(.*)$", UNIT, re.MULTILINE)
    assert hangup == "/bin/kill -HUP $MAINPID", "the supervisor starts the next call process"
    yield shlex.split(check)[1:]
    (command,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    yield json.loads(command)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_the_commands_have_these_options(words: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    command = group.get_command(None, words[0])
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_image_copies_what_is_there_and_is_not_left_out() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert ignored[0] == "*"
    sent = [line[1:].rstrip("/") for line in ignored if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    names = [name.rstrip("/") for line in copied for name in line.split()]
    assert len(names) > 4
    for name in names:
        assert (ROOT / name).exists(), name
        assert any(name == one or name.startswith(one + "/") for one in sent), name
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "README.md", "LICENSE", "src", *wheel["force-include"]}
    assert needed <= set(names)


def test_the_container_is_not_root_and_is_asked_whether_it_is_well() -> None:
    user = DOCKERFILE.rindex("\nUSER offhook\n")
    assert user < DOCKERFILE.index("\nENTRYPOINT ")
    assert "http://127.0.0.1:5000/healthz" in DOCKERFILE
    assert re.search(r"^STOPSIGNAL SIGTERM$", DOCKERFILE, re.MULTILINE)
    server = COMPOSE["services"]["offhook"]
    assert server["depends_on"] == ["caddy"], "Caddy is stopped after it"
    assert "ports" not in server, "Caddy alone is public"
    assert {volume.partition(":")[0] for volume in server["volumes"]} >= {"records"}
    assert COMPOSE["volumes"].keys() == {"records", "certificates"}
    assert re.search(r"^VOLUME /var/lib/offhook$", DOCKERFILE, re.MULTILINE)


def test_the_workflow_runs_every_python_and_system_that_is_promised() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    matrix = jobs["first-call"]["strategy"]["matrix"]
    classifiers = "\n".join(PROJECT["project"]["classifiers"])
    promised = re.findall(r"Python :: (3\.\d+)", classifiers)
    assert matrix["python"] == promised == jobs["everything"]["strategy"]["matrix"]["python"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    steps = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    assert any(".ci/run" in step for step in steps)
    for name in re.findall(r"(?:requirements|examples)/[\w./-]+", "\n".join(steps)):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize(
    "path", [DEPLOY / "Dockerfile", DEPLOY / "compose.yaml", WORKFLOW], ids=lambda path: path.name
)
def test_what_was_never_run_says_so(path: Path) -> None:
    assert path.read_text("utf-8").partition("\n\n")[0].count("# Untried: ") == 1
    live = (ROOT / "docs" / "live-checks.md").read_text("utf-8")
    assert path.name in live, "with the step that settles it"


def test_the_socket_unit_has_the_one_address_that_the_server_has_by_default() -> None:
    unit = (DEPLOY / "offhook.socket").read_text("utf-8")
    (address,) = re.findall(r"^ListenStream=(.*)$", unit, re.MULTILINE)
    server = ServerSettings()
    assert address == f"{server.host}:{server.port}"
    assert re.findall(r"^Backlog=(.*)$", unit, re.MULTILINE) == [str(WAITING_MAX)]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """The program of the service is not installed here: another stands in for it."""
    for name in ("offhook.service", "offhook.socket"):
        text = (DEPLOY / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("/opt/offhook/current/bin/offhook", "/bin/true"))
    units = [str(tmp_path / name) for name in ("offhook.socket", "offhook.service")]
    command = ["systemd-analyze", "verify", "--man=no", *units]
    verified = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in verified.stderr.splitlines() if "offhook" in line]
    assert said == []
    assert verified.returncode == 0, verified.stderr
