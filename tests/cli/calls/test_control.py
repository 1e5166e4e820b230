"""Commands that act on a live call: the processes of a server, a caller, and commands."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.calls.test_event_stream import Connection
from tests.cli.calls.test_event_stream import serving as answering
from tests.cli.in_process import offhook, run_offhook
from tests.cli.served import Serving, serving
from tests.whole_server import ACCOUNT, GREET, TOKEN, caller

from offhook.cli.api_client import ApiClient
from offhook.clock import LoopClock
from offhook.errors import UserError
from offhook.testing.simulator.twilio.phone import place_call

SID = "CA" + "0123456789abcdef" * 2


async def run(folder: Path, server: Serving, *arguments: str) -> tuple[int, str, str]:
    """One command: its exit code, and what it printed."""
    url = await server.operator_url()
    ended = await run_offhook(folder, "calls", *arguments, "--url", url)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.long
async def test_a_live_call_is_acted_on(tmp_path: Path) -> None:
    # The caller says nothing for as long as nine commands take, on however slow a machine.
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    (tmp_path / "agent.yaml").write_text("settings: {}\nlimits: {silence_seconds: 0}\n")
    async with serving(tmp_path) as server, asyncio.TaskGroup() as group:
        call = group.create_task(
            place_call(
                server.url + "/twilio/voice",
                caller(GREET),
                clock=LoopClock(asyncio.get_running_loop()),
                auth_token=TOKEN,
                account_sid=ACCOUNT,
                call_sid=SID,
                from_="+12025550142",
                to="+12025550100",
            )
        )
        assert server.process.stderr is not None
        async with asyncio.timeout(240):
            await server.process.stderr.readuntil(b"agent is on the line")
        end = SID[-8:]
        said = await run(tmp_path, server, "say", SID, "One moment.", "--behavior", "queue")
        assert said == (0, "it is being said\n", "")
        code, out, _ = await run(tmp_path, server, "mute", end, "--json")
        assert (code, json.loads(out)) == (0, {"sid": SID, "done": True, "what": "muted"})
        assert await run(tmp_path, server, "unmute", end) == (0, "not muted\n", "")
        (tmp_path / "voice.yaml").write_text("provider: {type: deepgram, model: flux-kit-en}")
        code, _, err = await run(tmp_path, server, "speak", end, "voice.yaml")
        assert (code, err[:9]) == (2, "E-SET-01 ")
        code, _, err = await run(tmp_path, server, "pause", end)
        assert (code, err[:9]) == (1, "E-API-13 ")
        code, out, err = await run(tmp_path, server, "transfer", SID, "nobody", "--json")
        assert (code, err) == (1, "")
        refused = json.loads(out)
        assert (refused["sid"], refused["done"], refused["code"]) == (SID, False, "E-API-19")
        code, _, err = await run(tmp_path, server, "hang-up", "f" * 8)
        assert code == 1
        assert err.startswith("E-API-18 No call with that CallSid is live.\n  → ")
        ended = await run(tmp_path, server, "hang-up", end, "--farewell", "Goodbye.")
        assert ended == (0, "the call is over\n", "")
        assert (await call).faults == []


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (("hang-up", SID), "hang-up", {}),
        (("tell", SID, "It rains."), "tell", {"text": "It rains."}),
        (("prompt", SID, "Be brief."), "prompt", {"prompt": "Be brief."}),
        (("think", SID, "block.json"), "think", {"think": {"prompt": "Be."}}),
        (("listen", SID, "block.json"), "listen", {"listen": {"prompt": "Be."}}),
        (("digits", SID, "1w#"), "digits", {"digits": "1w#"}),
        (("resume", SID), "recording", {"state": "recording"}),
        (("say", "a/?", "\udcff"), "say", {"text": "\udcff", "behavior": "default"}),
    ],
)
def test_each_command_asks_for_one_thing(
    tmp_path: Path, arguments: tuple[str, ...], path: str, body: Any
) -> None:
    (tmp_path / "block.json").write_text('{"prompt": "Be."}')
    with answering([Connection('{"done": true, "what": "so \\u001b[31mit is"}')]) as (url, asked):
        ended = offhook(
            tmp_path, "calls", *arguments, "--url", url, OFFHOOK_API_TOKEN="a-token-of-the-api"
        )
    assert (ended.returncode, ended.stdout) == (0, "so  [31mit is\n"), ended.stderr
    sid = SID if arguments[1] == SID else "a%2F%3F"
    assert asked[0]["path"] == f"/api/v1/calls/{sid}/{path}"
    assert asked[0]["authorization"] == "Bearer a-token-of-the-api"
    assert json.loads(asked[0]["body"]) == body


async def test_the_end_of_a_callsid_is_looked_for_among_live_calls() -> None:
    sids = [SID, "CA" + "1" * 32, "CA" + "01" * 14 + "1111"]
    calls = json.dumps({"calls": [{"sid": sid} for sid in sids]})
    with answering([Connection(calls)] * 3) as (url, asked):
        async with ApiClient(url, "t") as client:
            assert await client.find_call_sid("cdef") == SID
            assert await client.find_call_sid("beef") == "beef"
            with pytest.raises(UserError, match="E-ASK-05"):
                await client.find_call_sid("1111")
    assert {one["path"] for one in asked} == {"/api/v1/calls?live=true&limit=500"}


@pytest.mark.parametrize("answer", ["<html>", "[]", "{}", '{"calls": []}'])
@pytest.mark.parametrize("status", [200, 404, 502])
async def test_what_is_no_offhook_is_said(answer: str, status: int) -> None:
    with answering([Connection(answer, status)]) as (url, _):
        async with ApiClient(url, "t") as client:
            with pytest.raises(UserError, match="E-ASK-14"):
                await client.act(SID, "mute", {"on": True})


def test_no_server_and_no_token_are_said(tmp_path: Path) -> None:
    with answering([]) as (url, _):
        pass
    ended = offhook(tmp_path, "calls", "mute", SID, "--url", url, OFFHOOK_API_TOKEN="t" * 16)
    assert (ended.returncode, ended.stderr[:9]) == (1, "E-ASK-13 ")
    ended = offhook(tmp_path, "calls", "mute", SID, "--url", url)
    assert (ended.returncode, ended.stderr[:9]) == (1, "E-ASK-11 ")
    ended = offhook(tmp_path, "calls", "mute", SID)
    assert (ended.returncode, ended.stderr[:9]) == (1, "E-ASK-15 ")
    assert offhook(tmp_path, "calls", "say", SID).returncode == 2
    assert offhook(tmp_path, "calls", "think", SID, "none.yaml").returncode == 2


def test_the_server_is_the_one_that_its_data_folder_names(tmp_path: Path) -> None:
    folder = tmp_path / "offhook-data"
    folder.mkdir()
    done = '{"done": true, "what": "muted"}'
    secret = {"OFFHOOK_API_TOKEN": "t" * 16}
    with answering([Connection(done)]) as (url, asked), answering([Connection(done)] * 2) as other:
        (folder / "operator.json").write_text(json.dumps({"url": url, "pid": 1}))
        for more, variables, where in (
            ((), {}, asked),
            (("--url", other[0]), {}, other[1]),
            ((), {"OFFHOOK_URL": other[0]}, other[1]),
        ):
            before = len(where)
            ended = offhook(tmp_path, "calls", "mute", SID, *more, **secret, **variables)
            assert (ended.returncode, ended.stdout) == (0, "muted\n"), ended.stderr
            assert len(where) == before + 1
    (folder / "operator.json").write_text('{"url": 5}')
    ended = offhook(tmp_path, "calls", "mute", SID, **secret)
    assert (ended.returncode, ended.stderr[:9]) == (1, "E-ASK-16 ")
