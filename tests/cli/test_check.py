"""`offhook check`, as a user runs it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offhook.cli import app
from offhook.errors import UserError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *arguments], catch_exceptions=False)
    return result.exit_code, result.output


def test_the_seeds_settings_are_good_with_remarks() -> None:
    code, output = check()
    assert code == 0
    assert "remark agent.language is deprecated." in output
    assert output.endswith("The built-in settings: good (0 errors, 5 remarks)\n")


def test_an_error_has_its_place_its_fix_and_exit_code_1() -> None:
    Path("offhook.yaml").write_text("lines: {default: a.yaml}")
    Path("a.yaml").write_text(
        "settings:\n  language: en\n  listen: {provider: {type: deepgram, model: flux-general-en}}"
    )
    code, output = check()
    assert code == 1
    lines = output.splitlines()
    assert lines[0].startswith("a.yaml:2:3 remark agent.language")
    assert lines[2].startswith('a.yaml:3:46 error The model "flux-general-en" is Flux')
    assert lines[3] == '  → Add "version": "v2" beside it.'
    assert lines[-1] == "E-SET-01: not usable (1 error, 1 remark)"


def test_json_holds_every_finding() -> None:
    Path("a.json").write_text('{"agent": {\n  "language": "en",\n  "speak": []}}')
    code, output = check("a.json", "--json")
    assert code == 1
    answer = json.loads(output)
    assert (answer["errors"], answer["remarks"]) == (1, 1)
    rows = {row["level"]: row for row in answer["findings"]}
    assert rows["error"] == {
        "level": "error",
        "file": "a.json",
        "line": 3,
        "column": 12,
        "text": "speak is an empty list.",
        "fix": "Give it an entry, or remove it.",
    }
    assert rows["remark"]["line"] == 2


@pytest.mark.parametrize(
    ("name", "remarks"),
    [("offhook.yaml", 6), ("agents/seed.yaml", 5), ("agents/front-desk.yaml", 0)],
)
def test_the_examples_are_good(name: str, remarks: int) -> None:
    code, output = check(str(EXAMPLES / name))
    assert code == 0
    assert output.endswith(f"good (0 errors, {remarks} remarks)\n")


def test_hours_of_people_without_a_zone_are_said() -> None:
    Path("a.yaml").write_text("settings: {greeting: Hello.}\noutbound: {hours: '10:00-12:00'}\n")
    Path("offhook.yaml").write_text("outbound: {agents: [a.yaml]}\n")
    code, output = check("offhook.yaml")
    assert code == 0
    assert "a.yaml:2:19 remark A person without a time zone of their own is rung only" in output
    assert "10:00-12:00" in output


def test_the_agent_block_alone_may_be_a_file() -> None:
    Path("a.yaml").write_text("greeting: hi\nlisten: {provider: {type: deepgram}}\n")
    assert check("a.yaml")[0] == 0
    Path("b.json").write_text('"not a UUID"')
    code, output = check("b.json")
    assert code == 1
    assert "b.json:1:1 error agent is neither" in output


TOOLS = """from offhook.tools import tool

@tool
def hang_up(why):
    'End it.'
"""


@pytest.mark.parametrize(
    ("tools", "source", "told"),
    [
        ("[hang_up, gone.py]", TOOLS, "a.yaml:2:18 error There is no file gone.py."),
        ("[tools.py]", TOOLS, "tools.py:3:1 error hang_up: the parameter why has no type hint."),
        (
            "[tools.py]",
            TOOLS.replace("why", "why: set[tuple[int, str]]"),
            "tools.py:3:1 error hang_up: a tuple is nothing that every maker knows; take a list.",
        ),
        (
            "[tools.py, hang_up]",
            TOOLS.replace("why", ""),
            'tools.py:3:1 error "hang_up" is the name of a built-in tool',
        ),
        ("[hangup]", TOOLS, 'a.yaml:2:9 error No built-in tool is called "hangup"'),
        ("[send_sms]", TOOLS, "a.yaml:2:9 error send_sms takes Twilio's REST API"),
    ],
)
def test_a_tool_that_cannot_be_is_told_with_file_and_line(
    tools: str, source: str, told: str
) -> None:
    Path("tools.py").write_text(source)
    texts = 'texts: {from: "+12025550100"}\n'
    Path("a.yaml").write_text(f"settings: {{greeting: Hi}}\ntools: {tools}\n{texts}")
    Path("offhook.yaml").write_text("lines: {default: a.yaml}")
    code, output = check()
    assert code == 1
    assert output.startswith(told)


def test_a_broken_file_is_told_like_any_error() -> None:
    Path("offhook.yaml").write_text("server: {port: x}\n")
    code, output = check()
    assert code == 1
    assert output.startswith('offhook.yaml:1:16 error "port" is wrong')
    assert output.endswith("E-YAML-03: not usable (1 error, 0 remarks)\n")


def test_a_file_that_is_not_there_is_a_problem() -> None:
    with pytest.raises(UserError, match="E-YAML-01"):
        check("nowhere.yaml")
