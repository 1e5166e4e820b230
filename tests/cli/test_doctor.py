"""`offhook doctor` and `offhook explain`, as they are typed."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import offhook
from offhook.cli import app
from offhook.doctor import error_page
from offhook.errors import UserError

SET_UP = """
deepgram: {url: "ws://127.0.0.1:1", max_sessions: 5}
twilio: {api_url: "http://127.0.0.1:1"}
server: {capacity: 5}
"""
"""Nothing is asked but this machine."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DEEPGRAM_API_KEY", "TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID"):
        monkeypatch.delenv(name, raising=False)


def test_a_set_up_with_nothing_set_says_what_is_missing_and_exits_with_1() -> None:
    Path("offhook.yaml").write_text(SET_UP)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0].startswith("good    configuration: 1 agent")
    assert "bad     Deepgram key: E-DG-01 No Deepgram key." in done.output
    assert "bad     Twilio token: E-TW-01 " in done.output
    assert lines[lines.index(next(x for x in lines if "E-TW-01" in x)) + 1].startswith("        → ")
    assert lines[-1].endswith("2 bad")


def test_json_has_every_check_with_its_command() -> None:
    Path("offhook.yaml").write_text(SET_UP)
    done = CliRunner().invoke(app, ["doctor", "--json"], env={"FORCE_COLOR": "1", "TERM": "xterm"})
    assert "looking" in done.stderr, "on a terminal"
    told = json.loads(done.stdout)
    assert (done.exit_code, told["bad"]) == (1, 2)
    assert {"name", "status", "reason", "command"} == set(told["checks"][0])
    assert all(each["command"] for each in told["checks"] if each["status"] != "good")


def test_a_file_that_cannot_be_read_is_the_first_line_and_the_machine_is_looked_at() -> None:
    Path("offhook.yaml").write_text("server: {prot: 1}\nlogs: {level: 5}\n")
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    lines = [line for line in done.output.splitlines() if line[:1] in ("g", "r", "b")]
    assert lines[0].startswith("bad     configuration: E-YAML-03 offhook.yaml:1:")
    assert lines[1].startswith("bad     configuration: E-YAML-03 offhook.yaml:2:")
    assert lines[-1].startswith("good    versions: ")


def test_the_page_is_read_from_the_package_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["docs/errors.md"] == "offhook/errors.md"
    package = tmp_path / "lib" / "offhook"
    package.mkdir(parents=True)
    monkeypatch.setattr(offhook, "__file__", str(package / "__init__.py"))
    with pytest.raises(UserError) as missing:
        error_page.read()
    assert missing.value.code == "E-EXP-01"
    (package / "errors.md").write_text("### E-DG-02\n\n> It is installed.\n")
    assert error_page.read().sections["E-DG-02"].title == "It is installed."


@pytest.mark.parametrize("typed", ["E-DG-02", "e-dg-2", "dg-02", "DG2"])
def test_a_code_is_explained_however_it_is_typed(typed: str) -> None:
    done = CliRunner().invoke(app, ["explain", typed])
    assert done.exit_code == 0
    assert done.output.startswith("E-DG-02\n\n  Deepgram refused the key (401).")
    assert "Why: as it says" in done.output
    assert not any(mark in done.output for mark in ("**", "`", "]("))


def test_every_code_and_every_ending_is_explained_from_the_page() -> None:
    page = error_page.read()
    listed = CliRunner().invoke(app, ["explain"]).output.splitlines()
    assert [line.split()[0] for line in listed] == list(page.sections)
    assert all(len(line.split()) > 2 for line in listed)
    assert "server_died" in page.endings
    text = page.find("agent_lost")
    assert text is not None
    assert "Deepgram's socket ended in mid-call" in text


def test_a_code_that_does_not_exist_names_the_nearest() -> None:
    done = CliRunner().invoke(app, ["explain", "E-DG-22"])
    assert done.exit_code == 2
    assert "E-DG-02" in done.output
    assert "agent_lost" in CliRunner().invoke(app, ["explain", "agnet_lost"]).output


def test_an_explanation_fits_a_terminal_and_has_no_gaps() -> None:
    page = error_page.read()
    for section in page.sections.values():
        prose = [line for line in section.text.splitlines() if not line.startswith(("|", "    "))]
        assert [line for line in prose if len(line) > 79 and " " in line.strip()] == []
        assert [line for line in prose if "  " in line.strip()] == []
