"""offhook calls show: one page about one call."""

import json
from pathlib import Path

import pytest
from tests.cli.in_process import offhook
from tests.records.filling import sid_of

LATENCIES = (
    "first byte 310 ms, played 350 ms; Deepgram: hearing 100, thinking 300, speaking 200,"
    " all 600 ms"
)


def test_the_page_tells_all_of_it(folder: Path) -> None:
    ended = offhook(folder, "calls", "show", sid_of(2)[-6:])
    assert ended.returncode == 0, ended.stderr
    page = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    for line in (
        f"Call {sid_of(2)}",
        "began 2026-10-26 07:33:22, 0:04 long",
        "from, to +12025550142 → +12025550100",
        "agent desk (inbound, by webhook)",
        "lookup failed after 90 ms: HTTP 503",
        "1000 agent We are ⟨not heard: open from nine⟩ [cut after 900 ms, estimated]",
        "2500 caller Is it [31mred [0m?",
        f"3300 answer {LATENCIES}",
        '3400 tool paint({"colour": "red"}) → answered, 50 ms: "done"',
        "3500 key 7",
        "3600 message from Ada, 555 0143: Call back.",
        "ended agent lost (agent's doing) [agent_lost]",
        "Twilio 1 min (4200 ms, completed); stream 1 min",
        "Deepgram 3700 ms (standard)",
        "cost USD 0.0177",
        "recording two.wav",
    ):
        assert line in page
    assert "\x1b" not in ended.stdout


def test_a_live_call_is_shown_as_far_as_it_is(folder: Path) -> None:
    shown = offhook(folder, "calls", "show", sid_of(3)).stdout
    assert "and is live" in shown
    assert "ended" not in shown


def test_the_json_is_that_of_the_export(folder: Path) -> None:
    shown = json.loads(offhook(folder, "calls", "show", sid_of(2), "--json").stdout)
    exported = offhook(folder, "calls", "export", "--fault", "agent").stdout
    assert shown == json.loads(exported)
    assert shown["version"] == 1
    assert shown["lookup"] == {"outcome": "failed", "why": "HTTP 503", "after_ms": 90}
    assert [entry["kind"] for entry in shown["timeline"]].count("utterance") == 2


@pytest.mark.parametrize(("sid", "code"), [("CA77777", "E-ASK-04"), ("0000", "E-ASK-04")])
def test_no_such_call(folder: Path, sid: str, code: str) -> None:
    ended = offhook(folder, "calls", "show", sid)
    assert (ended.returncode, ended.stderr[:8]) == (1, code)
