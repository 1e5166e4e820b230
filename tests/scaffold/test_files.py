"""The files of a new agent."""

import json
from pathlib import Path
from typing import Any

import dotenv
import jsonschema
import pytest
import yaml

from offhook.config import schema
from offhook.scaffold import files

EXAMPLES = Path(__file__).parents[2] / "examples"
NEW = {"DEEPGRAM_API_KEY": "d" * 40, "TWILIO_AUTH_TOKEN": "t" * 32}


def faults(of: dict[str, Any], value: object) -> list[str]:
    return [one.message for one in jsonschema.Draft202012Validator(of).iter_errors(value)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "DEEPGRAM_API_KEY={d}\nTWILIO_AUTH_TOKEN={t}\n"),
        ("A=1", "A=1\nDEEPGRAM_API_KEY={d}\nTWILIO_AUTH_TOKEN={t}\n"),
        (
            "# mine\r\nDEEPGRAM_API_KEY=\r\nA='x y'\r\n",
            "# mine\r\nDEEPGRAM_API_KEY={d}\nA='x y'\r\nTWILIO_AUTH_TOKEN={t}\n",
        ),
        (
            'export TWILIO_AUTH_TOKEN=""\nDEEPGRAM_API_KEY=\n',
            "TWILIO_AUTH_TOKEN={t}\nDEEPGRAM_API_KEY={d}\n",
        ),
    ],
)
def test_dotenv_is_completed_and_nothing_of_it_is_lost(
    before: str, after: str, tmp_path: Path
) -> None:
    text = files.dotenv_text(before, NEW)
    assert text == after.format(d="d" * 40, t="t" * 32)
    (tmp_path / ".env").write_text(text)
    found = dotenv.dotenv_values(tmp_path / ".env")
    assert {name: found[name] for name in NEW} == NEW
    assert files.dotenv_text(text, {}) == text


def test_a_new_dotenv_has_a_line_for_each_key(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(files.dotenv_text(None, NEW))
    assert dotenv.dotenv_values(tmp_path / ".env") == {**NEW, "TWILIO_ACCOUNT_SID": ""}


@pytest.mark.parametrize("before", [None, "", "*.pyc", "calls/\n.env\n"])
def test_gitignore_is_completed(before: str | None) -> None:
    text = files.gitignore_text(before)
    assert text.startswith(before or "")
    lines = text.splitlines()
    assert {".env", "calls/", "offhook-data/"} <= set(lines)
    assert len(lines) == len(set(lines))
    assert files.gitignore_text(text) == text


@pytest.mark.parametrize("number", [None, "+12025550100"])
def test_each_yaml_file_names_its_schema_and_obeys_it(number: str | None) -> None:
    own = files.user_files(number)
    schemas = files.schema_files(
        Path(EXAMPLES / "../src/offhook/testing/scenarios/schema.json").read_text()
    )
    for name in (files.APP, files.AGENT, files.SCENARIO):
        head = own[name].splitlines()[0]
        where = head.removeprefix("# yaml-language-server: $schema=")
        assert where != head
        path = (Path("x") / name).parent / where
        of = json.loads(schemas[str(Path(*path.resolve().relative_to(Path("x").resolve()).parts))])
        assert faults(of, yaml.safe_load(own[name])) == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=str)
def test_the_schemas_take_every_example(path: Path) -> None:
    value = yaml.safe_load(path.read_text())
    if "settings" in value:
        assert faults(schema.agent_schema(), value) == []
    elif value.keys() & {"lines", "server"}:
        assert faults(schema.app_schema(), value) == []


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        ({"settings": {}, "announcement": "x", "busy": {"reject": "on"}}, True),
        ({"settings": "01234567-89ab-cdef-0123-456789abcdef", "limits": None}, True),
        ({"settings": {}, "fallback": {"voicemail": "yes"}, "timezone": "Europe/Berlin"}, True),
        ({"settings": {}, "keypad": {"actions": {"0": "hang_up"}}, "variables": None}, True),
        ({"settings": {"speak": {"provider": {"type": "deepgram", "model": "new-1"}}}}, True),
        ({"settings": {"agent": {"think": [{"prompt": "x"}]}, "tags": ["x"]}}, True),
        ({}, False),
        ({"settings": {}, "limts": {}}, False),
        ({"settings": {}, "limits": {"max_minute": 3}}, False),
        ({"settings": {}, "limits": {"max_minutes": "x"}}, False),
        ({"settings": {}, "tools": "tools.py"}, False),
        ({"settings": {"greeting": 5}}, False),
        ({"settings": {"think": {"prompt": ["x"]}}}, False),
        ({"settings": {}, "recording": "maybe"}, False),
    ],
)
def test_the_schema_of_agent_files(value: object, is_good: bool) -> None:
    assert (faults(schema.agent_schema(), value) == []) is is_good
