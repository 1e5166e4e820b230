"""Connection overrides (twilio.md §4.2): which requests the simulated Twilio repeats, and when."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.testing.twilio.doors import CUT, TOKEN, Answer, Server, serving, xml
from tests.testing.twilio.rig import rig

from offhook.testing.simulator.twilio.calls.network import Callbacks
from offhook.testing.simulator.twilio.overrides import InvalidOverrideError, read_overrides
from offhook.testing.simulator.twilio.webhooks import (
    IDEMPOTENCY_HEADER,
    RehearsedHost,
    Request,
    WebhookError,
)

TOKEN_HEADER = IDEMPOTENCY_HEADER.lower()
GOOD = xml("<Hangup/>")
ERROR = (503, "text/plain", "not now")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


def answers(server: Server, *given: Answer) -> None:
    """Have /x give those answers, one after another."""
    left = iter(given)
    server.pages["/x"] = lambda request: next(left)


class Asked:
    """The result of one request with its retries."""

    def __init__(self) -> None:
        self.retries: list[str] = []
        self.status: int | None = None
        self.code: int | None = None

    @property
    def kinds(self) -> list[str]:
        return [text.rpartition("(")[2].rstrip(")") for text in self.retries]


async def ask(server: Server, fragment: str, **more: Any) -> Asked:
    asked = Asked()
    front = RehearsedHost(server.url, TOKEN)
    request = Request(f"https://127.0.0.1:{server.port}/x{fragment}", **more)
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=None) as http:
        try:
            response = await front.send(http, request, asked.retries.append)
            asked.status = response.status_code
        except WebhookError as error:
            asked.code = error.code
    return asked


def test_the_defaults_are_one_retry_of_a_failed_connection() -> None:
    plain = read_overrides("https://h/x")
    assert (plain.connect_s, plain.read_s, plain.total_s, plain.retries) == (5, 15, 15, 1)
    assert plain.retried == {"ct"}
    ours = read_overrides("https://h/x?stream=1#rc=5&rp=ct,rt,5xx&ct=200&rt=300&tt=400&e=dublin")
    assert (ours.connect_s, ours.read_s, ours.total_s, ours.retries) == (0.2, 0.3, 0.4, 5)
    assert ours.retried == {"ct", "rt", "5xx"}
    assert read_overrides("#rp=all").retried == {"4xx", "5xx", "ct", "rt", "cut"}


@pytest.mark.parametrize(
    ("fragment", "code"),
    [
        ("#rp=ct,6xx", 11243),
        ("#rp=", 11243),
        ("#rc=6", 11100),
        ("#ct=99", 11100),
        ("#rt=x", 11100),
        ("#retries=3", 11100),
    ],
)
def test_a_fragment_that_twilio_does_not_have_is_an_error(fragment: str, code: int) -> None:
    with pytest.raises(InvalidOverrideError) as caught:
        read_overrides("https://h/x" + fragment)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("fragment", "given", "status", "kinds"),
    [
        ("", [ERROR], 503, []),
        ("#rc=5", [ERROR], 503, []),
        ("#rp=5xx", [ERROR, GOOD], 200, ["5xx"]),
        ("#rc=2&rp=5xx", [ERROR] * 3, 503, ["5xx", "5xx"]),
        ("#rc=5&rp=ct,rt,5xx", [ERROR, ERROR, GOOD], 200, ["5xx", "5xx"]),
        ("#rc=5&rp=ct,rt,5xx", [(404, "text/plain", "")], 404, []),
        ("#rp=4xx", [(404, "text/plain", ""), GOOD], 200, ["4xx"]),
        ("#rp=all", [(CUT, "", ""), GOOD], 200, ["cut"]),
        ("#rc=0&rp=all", [ERROR], 503, []),
    ],
)
async def test_which_answers_are_asked_for_again(
    server: Server, fragment: str, given: list[Answer], status: int, kinds: list[str]
) -> None:
    answers(server, *given)
    asked = await ask(server, fragment)
    assert (asked.status, asked.kinds) == (status, kinds)
    assert len(server.requests) == len(given)


async def test_an_answer_that_breaks_off_is_not_asked_for_again(server: Server) -> None:
    answers(server, (CUT, "", ""))
    asked = await ask(server, "#rc=5&rp=ct,rt,5xx")
    assert asked.code in (11200, 11206)
    assert len(server.requests) == 1


async def test_no_connection_is_tried_again() -> None:
    async with serving() as gone:
        pass
    assert (await ask(gone, "")).kinds == ["ct"]
    asked = await ask(gone, "#rc=5")
    assert (asked.code, asked.kinds) == (11205, ["ct"] * 5)


async def test_no_answer_is_tried_again_until_the_total_time_is_over(server: Server) -> None:
    server.mute = True
    answers(server, *[GOOD] * 3)
    asked = await ask(server, "#rc=2&rp=rt&rt=100")
    assert (asked.code, asked.kinds, len(server.requests)) == (11200, ["rt", "rt"], 3)
    answers(server, *[GOOD] * 2)
    asked = await ask(server, "#rc=5&rp=rt&rt=15000&tt=100")
    assert (asked.code, asked.kinds, len(server.requests)) == (11203, [], 4)


async def test_all_attempts_have_one_token_and_no_fragment(server: Server) -> None:
    answers(server, ERROR, GOOD, GOOD)
    await ask(server, "?stream=1#rp=5xx")
    await ask(server, "#rp=5xx", method="GET", parameters={"a": "1"})
    first, again, other = server.requests
    assert first.headers[TOKEN_HEADER] == again.headers[TOKEN_HEADER]
    assert first.headers[TOKEN_HEADER] != other.headers[TOKEN_HEADER]
    assert first.headers["x-twilio-signature"] == again.headers["x-twilio-signature"]
    assert (first.target, other.target) == ("/x?stream=1", "/x?a=1")
    for request, url in ((first, "/x?stream=1"), (other, "/x?a=1")):
        signed = RehearsedHost(server.url, TOKEN).signature(f"https://127.0.0.1{url}", request.form)
        assert signed["X-Twilio-Signature"] == request.headers["x-twilio-signature"]


async def test_a_call_goes_on_after_retries_which_are_no_faults() -> None:
    async with rig() as made:
        server, stream = made.server, made.stream
        action = f"<Connect action='{made.url('/after')}#rc=5&amp;rp=ct,rt,5xx'>"
        server.page("/voice", stream.replace("<Connect>", action))
        left = iter([ERROR, ERROR, GOOD])
        server.pages["/after"] = lambda request: next(left)
        report = await made.inbound()
        assert report.ending == "hangup_verb"
        assert report.faults == []
        assert len([note for note in report.notes if "sent again (5xx)" in note.text]) == 2


async def test_action_is_requested_at_once_when_the_socket_of_a_stream_breaks() -> None:
    """As in twilio.md §1.7 (inferred): without waiting for anything else."""
    async with rig() as made:
        server = made.server
        server.patient = True
        action = f"<Connect action='{made.url('/after')}'>"
        server.page("/voice", made.stream.replace("<Connect>", action))
        server.page("/after", "<Hangup/>")
        async with asyncio.TaskGroup() as tasks:
            calling = tasks.create_task(made.inbound())
            await server.answered.wait()
            await server.agents[0].spoke.wait()
            server.agents[0].socket.abort()
        report = calling.result()
        assert report.streams[0].ended_by == "loss"
        assert [note.code for note in report.notes] == [31903]
        assert server.at("/after")[0].form["CallStatus"] == "in-progress"
        assert report.ending == "hangup_verb"
        # In seconds of a clock that runs 20 times as fast as the machine's.
        assert report.ended_at - report.streams[0].started_at < 10


async def test_documents_that_are_requested_twice_must_be_alike() -> None:
    async with rig(callbacks=Callbacks(documents_twice=True)) as made:
        made.server.page("/voice", "<Hangup/>")
        assert (await made.inbound()).faults == []
        assert len(made.server.at("/voice")) == 2
        turns = iter([GOOD, xml("<Say>Hi.</Say>")])
        made.server.pages["/voice"] = lambda request: next(turns)
        report = await made.inbound()
        assert ["two answers" in fault for fault in report.faults] == [True]
        assert [verb.name for verb in report.verbs] == ["Say"]
