"""`offhook twiml`, as a user runs it."""

import asyncio
import json
import socket
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from offhook.cli import app
from offhook.cli.twiml import HANG_UP_URL
from offhook.clock import LoopClock
from offhook.errors import UserError
from offhook.testing.scenarios.caller import CallReport, SimulatedCaller
from offhook.testing.simulator.twilio.phone import place_call

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


# --- for the time when the server is down ---

DESK, OTHER = "+12025550123", "+12025550100"
BIN, HANG_UP_BIN = "https://handler.twilio.com/twiml/EH1", "https://handler.twilio.com/twiml/EH2"


def configured(fallback: str) -> None:
    Path("a.yaml").write_text(f"settings: {{greeting: hi}}\nfallback: {fallback}\n")
    Path("b.yaml").write_text("settings: {greeting: hi}\nfallback: {say: Of the other line.}\n")
    Path("offhook.yaml").write_text(f"lines: {{default: a.yaml, '{OTHER}': b.yaml}}\n")


async def call_while_nothing_is_up(bins: dict[str, str]) -> CallReport:
    """Call a number whose webhook is at a port where nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        async with asyncio.timeout(240):
            return await place_call(
                f"http://127.0.0.1:{port}/twilio/voice",
                SimulatedCaller((), lambda text: b""),
                clock=LoopClock(asyncio.get_running_loop(), 20.0),
                auth_token="12345",
                account_sid="AC" + "1" * 32,
                from_="+12025550142",
                to=OTHER,
                fallback_url=BIN,
                bins=bins,
            )


@pytest.mark.parametrize(
    ("fallback", "verbs", "ending"),
    [
        ("{say: Tea & talk.}", ["Say", "Hangup"], "hangup_verb"),
        ("{}", ["Say", "Hangup"], "hangup_verb"),
        (f"{{say: Sorry., dial: '{DESK}'}}", ["Say", "Dial", "Hangup"], "hangup_verb"),
        ("{say: Sorry., voicemail: yes}", ["Say", "Say", "Record", "Hangup"], "hangup_verb"),
        ("{say: null}", ["Hangup"], "hangup_verb"),
    ],
)
def test_a_server_that_is_down_is_replaced_by_the_fallback(
    fallback: str, verbs: list[str], ending: str
) -> None:
    configured(fallback)
    printed = json.loads(twiml("--fallback", "--hang-up-url", HANG_UP_BIN, "--json")[1])
    bins = {BIN: printed["fallback"]}
    if printed["hang_up"] is not None:
        bins[HANG_UP_BIN] = printed["hang_up"]
    report = asyncio.run(call_while_nothing_is_up(bins))
    assert [verb.name for verb in report.verbs] == verbs
    assert report.ending == ending
    # The webhook's failure alone: the documents are valid, and nothing else is asked for.
    assert [note.code for note in report.notes] == [None, 11205]
    assert report.documents[0].url == BIN


def test_the_fallback_is_that_of_the_called_line() -> None:
    configured("{say: Of the default line.}")
    for arguments, words in (((), "Of the default line."), (("--to", OTHER), "Of the other line.")):
        code, output = twiml("--fallback", *arguments)
        assert code == 0
        assert f"<Say>{words}</Say>" in output
        assert "VoiceFallbackUrl" in output


def test_a_message_needs_a_second_document_that_ends_the_call() -> None:
    configured("{voicemail: {say: After the tone.}}")
    code, output = twiml("--fallback")
    assert code == 0
    assert f'action="{HANG_UP_URL}#' in output
    first, then = output.index("<Hangup />"), output.index("<Record ")
    assert first < then
    assert "--hang-up-url" in output
    assert "--hang-up-url" not in twiml("--fallback", "--hang-up-url", HANG_UP_BIN)[1]


def test_a_fallback_needs_a_line() -> None:
    Path("a.yaml").write_text("settings: {greeting: hi}\n")
    lines = f"{{'{OTHER}': a.yaml, '{DESK}': a.yaml}}"
    Path("offhook.yaml").write_text(f"lines: {lines}\n")
    assert twiml("--fallback")[0] == 2
    assert twiml("--fallback", "--to", OTHER)[0] == 0
    with pytest.raises(UserError, match="E-OUT-04"):
        twiml("--fallback", "--to", "12")
