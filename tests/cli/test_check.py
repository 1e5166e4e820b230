"""`offhook check`, as a user runs it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offhook import config
from offhook.cli import app
from offhook.deepgram import model_names

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
    code, output = check("nowhere.yaml")
    assert code == 1
    assert output.startswith("error nowhere.yaml cannot be read: No such file or directory.\n")
    assert output.endswith("E-YAML-01: not usable (1 error, 0 remarks)\n")


# --- A newcomer's mistakes ---


def test_all_mistakes_of_all_files_are_told_in_one_round() -> None:
    Path("offhook.yaml").write_text(
        "server: {prt: 5000}\nport: 5000\ntwilio: {auth_token: x}\n"
        'lines: {default: a.yaml, "+15550100100": gone.yaml}\n'
    )
    Path("a.yaml").write_text(
        """settings:
  listen: {provider: {type: deepgram, version: v1, model: nova-33}}
  think:
    - provider: {type: openai, model: gpt-4o-mnii}
      promt: Be brief, {{callr}}.
    - {provider: {type: open_ai, model: gpt-5}, prompt: "{{callr}}"}
  speak:
    - provider: {type: deepgram, version: v2, model: flux-kitt-en}
    - provider: {type: deepgram, model: aura-2-thalya-en}
  greetng: Hello.
limts: {max_minutes: 3}
recording: true
fallback: {dial: "+19005550100"}
tools: [hangup, tools.py, gone.py, bad.py]
keypad: {actions: {"0": {transfer: desk}}}
"""
    )
    Path("tools.py").write_text(TOOLS.replace("hang_up(why)", "look_up(why: str)"))
    Path("bad.py").write_text("from offhook.tools import tool\n@tool\ndef f(x): ...\n")
    code, output = check()
    assert code == 1
    told = [line for line in output.splitlines() if " error " in line]
    assert [re.sub(r"( error \S+ ?\S*).*", r"\1", line) for line in told] == [
        'a.yaml:2:59 error "nova-33" is',
        'a.yaml:4:24 error think.provider.type "openai"',
        'a.yaml:4:39 error "gpt-4o-mnii" is',
        'a.yaml:5:7 error "promt" is',
        "a.yaml:6:58 error No variable",
        'a.yaml:8:54 error "flux-kitt-en" is',
        'a.yaml:9:41 error "aura-2-thalya-en" is',
        'a.yaml:10:3 error "greetng" is',
        'a.yaml:11:1 error "limts" is',
        "a.yaml:12:12 error recording is",
        "a.yaml:13:18 error This would",
        "a.yaml:14:9 error No built-in",
        "a.yaml:14:27 error There is",
        "a.yaml:15:36 error Key 0",
        "bad.py:2:1 error f has",
        'offhook.yaml:1:10 error "prt" is',
        'offhook.yaml:2:1 error "port" is',
        'offhook.yaml:3:10 error "auth_token" is',
        "offhook.yaml:4:42 error There is",
    ]
    assert '→ Did you mean "port", under "server"?' in output
    assert output.splitlines()[-1].startswith("E-CFG-04: not usable (19 errors, ")


def test_a_misspelling_alone_fails_the_check_and_not_the_server() -> None:
    Path("a.yaml").write_text(
        "settings: {speak: [{provider: {type: deepgram, version: v2, model: flux-kitt-en}}]}\n"
    )
    Path("offhook.yaml").write_text("lines: {default: a.yaml}\n")
    code, output = check()
    assert code == 1
    (line,) = [line for line in output.splitlines() if " error " in line]
    assert line == (
        'a.yaml:1:68 error "flux-kitt-en" is not among the names that Deepgram had on'
        f" {model_names.AS_OF}."
    )
    assert '→ Did you mean "flux-kit-en"?' in output
    assert "offhook.yaml: probably mistaken (1 error, " in output
    (row,) = [one for one in json.loads(check("--json")[1])["findings"] if one["level"] == "error"]
    assert row["fix"] == 'Did you mean "flux-kit-en"?'
    loaded = config.load(None, {})
    assert loaded.lines["default"].settings.message().count(b"flux-kitt-en") == 1


@pytest.mark.parametrize(
    ("grace", "minutes", "errors"),
    [(1799, None, 1), (1800, None, 0), (3599, 60, 1), (3600, 60, 0), (60, 1, 0), (0, 1, 1)],
)
def test_a_grace_that_is_shorter_than_the_longest_call_is_refused(
    grace: int, minutes: int | None, errors: int
) -> None:
    limits = "" if minutes is None else f"limits: {{max_minutes: {minutes}}}\n"
    Path("a.yaml").write_text("settings: {}\n" + limits)
    Path("offhook.yaml").write_text(
        f"lines: {{default: a.yaml}}\nserver:\n  grace_seconds: {grace}\n"
    )
    code, output = check()
    assert code == bool(errors)
    if errors:
        needed = 60 * (minutes or 30)
        assert f"offhook.yaml:3:18 error grace_seconds is {grace}" in output
        assert f"→ Write grace_seconds: {needed} or more" in output
    assert config.load(None, {}).server.grace_seconds == grace, "a server starts, and warns"


def test_a_grace_of_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFHOOK_SERVER__GRACE_SECONDS", "5")
    Path("a.yaml").write_text("settings: {}\n")
    Path("offhook.yaml").write_text("lines: {default: a.yaml}\n")
    code, output = check()
    assert code == 1
    assert "OFFHOOK_SERVER__GRACE_SECONDS" in output


FLAT = """prompt: You answer the telephone of a shop.
greetng: Hello
voice: thalia
temperature: 0.5
tools: tools.py
"""
MEANT = (
    "settings: {think: {provider: {type: open_ai, model: gpt-4o-mini, temperature: 0.5},"
    " prompt: …}, greeting: …,"
    " speak: {provider: {type: deepgram, version: v1, model: aura-2-thalia-en}}}"
)


@pytest.mark.parametrize("named", ["agent.yaml", None])
def test_a_flat_agent_file_is_understood(named: str | None) -> None:
    Path("tools.py").write_text(TOOLS.replace("why", "why: str").replace("hang_up", "f"))
    Path("agent.yaml").write_text(FLAT)
    Path("offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    code, output = check(*([named] if named else []))
    assert code == 1
    errors = [line for line in output.splitlines() if " error " in line]
    assert errors[0] == (
        "agent.yaml:1:1 error settings is missing; at the top of the file is what is part of it:"
        ' "prompt", "greetng", "voice", "temperature".'
    )
    assert f"  → Write: {MEANT}\n" in output
    assert "agent.yaml:5:8 error tools is a list.\n  → Write tools: [tools.py]\n" in output
    assert len(errors) == 3  # thalia is not the whole name of the voice

    # What the error shows can be used.
    Path("agent.yaml").write_text(f"{MEANT}\ntools: [tools.py]\n".replace("…", "Hello."))
    code, output = check("agent.yaml")
    assert code == 0


def test_settings_beside_what_is_part_of_them() -> None:
    Path("a.yaml").write_text("settings: {language: en}\nprompt: x\nvoice: kit\n")
    code, output = check("a.yaml")
    assert code == 1
    assert 'a.yaml:2:1 error "prompt" stands at the top of the file' in output
    assert 'a.yaml:3:1 error "voice" stands at the top of the file' in output
    assert "a.yaml:1:12 remark agent.language is deprecated" in output


def test_a_settings_message_in_place_of_an_agent_file() -> None:
    Path("a.json").write_text('{"type": "Settings", "agent": {"greetng": "Hi"}}')
    Path("offhook.yaml").write_text("lines: {default: a.json}\n")
    code, output = check()
    assert code == 1
    assert "a.json:1:1 error This is a Settings message" in output
    assert 'a.json:1:32 error "greetng" is not a field known here.' in output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lines: a.yaml", "1:8 error lines gives each called number its agent file."),
        ("lines: [a.yaml]", "1:8 error lines gives each called number its agent file."),
        ("agent: a.yaml", '1:1 error "agent" is not known here: which agent answers'),
        ("lines: {}\nprompt: x", '2:1 error "prompt" is not known here: it is part of an agent'),
        ("lines: {}\npublic_url: x", '2:1 error "public_url" is not known here.'),
        ("lnes: {}", '1:1 error "lnes" is not known here.\n  → Did you mean "lines"?'),
        ("- a", "1:1 error This must be a mapping."),
    ],
)
def test_offhook_yaml_as_newcomers_write_it(text: str, told: str) -> None:
    Path("a.yaml").write_text("settings: {greeting: Hi}\n")
    Path("offhook.yaml").write_text(f"{text}\n")
    code, output = check()
    assert code == 1
    assert output.startswith(f"offhook.yaml:{told}")
