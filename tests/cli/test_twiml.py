"""`offhook twiml`, as a user runs it."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from offhook.cli import app
from offhook.errors import UserError

URL = ("--public-url", "https://voice.example.com")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def twiml(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["twiml", *arguments], catch_exceptions=False)
    return result.exit_code, result.output


def test_the_bin_and_the_webhooks() -> None:
    code, output = twiml(*URL)
    assert code == 0
    assert (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<Response>\n"
        "  <Connect>\n"
        '    <Stream url="wss://voice.example.com/twilio" />\n'
        "  </Connect>\n"
        "</Response>\n"
    ) in output
    assert "https://voice.example.com/twilio/voice  HTTP POST" in output
    assert "https://voice.example.com/twilio/status  HTTP POST" in output


def test_an_announcement_is_said_first_and_escaped() -> None:
    Path("a.yaml").write_text(
        "settings: {greeting: hi}\nannouncement: {say: Tea & <talk>, language: en-GB}\n"
    )
    Path("offhook.yaml").write_text(
        "server: {public_url: 'https://x.example'}\nlines: {default: a.yaml}\n"
    )
    code, output = twiml("--json")
    assert code == 0
    root = ElementTree.fromstring(json.loads(output)["bin"].encode())
    assert [element.tag for element in root] == ["Say", "Connect"]
    assert (root[0].text, root[0].attrib) == ("Tea & <talk>", {"language": "en-GB"})


def test_what_a_bin_cannot_know_is_left_to_twilio_or_has_its_default() -> None:
    Path("a.yaml").write_text(
        "settings: {greeting: hi}\nvariables: {name: friend}\n"
        "announcement: 'Hello {{name}}, {{caller}}, of {{agent}}, on {{date}}.'\n"
    )
    Path("offhook.yaml").write_text("lines: {default: a.yaml}\n")
    root = ElementTree.fromstring(json.loads(twiml(*URL, "--json")[1])["bin"].encode())
    assert root[0].text == "Hello friend, {{From}}, of a, on ."


def test_json() -> None:
    answer = json.loads(twiml(*URL, "--json")[1])
    assert answer["voice_url"] == "https://voice.example.com/twilio/voice"
    assert answer["status_callback"] == "https://voice.example.com/twilio/status"
    assert answer["method"] == "POST"


def test_a_bin_that_would_be_refused_is_not_offered() -> None:
    Path("offhook.yaml").write_text("twilio: {bin: off}\n")
    code, output = twiml(*URL)
    assert code == 0
    assert "<Response>" not in output
    assert "twilio.bin is off" in output
    assert json.loads(twiml(*URL, "--json")[1])["bin"] is None


def test_without_an_address_it_is_wrong_use() -> None:
    code, output = twiml()
    assert code == 2
    assert "server.public_url" in output


def test_an_address_that_twilio_cannot_use_is_a_problem() -> None:
    with pytest.raises(UserError, match="E-CFG-02 --public-url"):
        twiml("--public-url", "http://localhost:5000")
