"""offhook reload, as a process, against a server that answers what a test wants."""

import json
from pathlib import Path

from tests.cli.calls.test_event_stream import Connection
from tests.cli.calls.test_event_stream import serving as answering
from tests.cli.in_process import offhook

DONE = {"agents": ["back", "front"], "lines": 2, "restart": ["server.port"]}
REFUSED = {
    "type": "urn:offhook:error:E-YAML-03",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": '/srv/front.yaml:9:1 "colour" is not known here.',
    "code": "E-YAML-03",
    "fix": "Remove it.",
}
TOKEN = "a-token-of-the-api"


def test_what_new_calls_get_is_printed(tmp_path: Path) -> None:
    with answering([Connection(json.dumps(DONE))] * 2) as (url, asked):
        ended = offhook(tmp_path, "reload", "--url", url, OFFHOOK_API_TOKEN=TOKEN)
        as_json = offhook(tmp_path, "reload", "--json", OFFHOOK_URL=url, OFFHOOK_API_TOKEN=TOKEN)
    assert (ended.returncode, ended.stdout) == (
        0,
        "New calls get: back, front\n  Only a restart applies: server.port\n",
    )
    assert json.loads(as_json.stdout) == {"done": True} | DONE
    assert {each["path"] for each in asked} == {"/api/v1/agents/reload"}


def test_a_mistake_is_printed_with_its_place(tmp_path: Path) -> None:
    with answering([Connection(json.dumps(REFUSED), 422)] * 2) as (url, _):
        ended = offhook(tmp_path, "reload", "--url", url, OFFHOOK_API_TOKEN=TOKEN)
        as_json = offhook(tmp_path, "reload", "--url", url, "--json", OFFHOOK_API_TOKEN=TOKEN)
    assert (ended.returncode, ended.stdout) == (1, "")
    what = '/srv/front.yaml:9:1 "colour" is not known here.'
    assert ended.stderr == f"E-YAML-03 {what}\n  → Remove it.\n"
    told = {"done": False, "code": "E-YAML-03", "what": what, "fix": "Remove it."}
    assert (as_json.returncode, json.loads(as_json.stdout)) == (1, told)


def test_without_a_server_it_says_which_command_starts_one(tmp_path: Path) -> None:
    ended = offhook(tmp_path, "reload", OFFHOOK_API_TOKEN=TOKEN)
    assert (ended.returncode, ended.stderr[:9]) == (1, "E-ASK-15 ")
    assert "Start offhook serve" in ended.stderr
