"""The whole server over real sockets: good calls, bad input, the doors, endings, draining."""

import asyncio
import contextlib
import dataclasses
import errno
import gc
import json
import re
import socket
import ssl
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import httpx2
import pytest
import trustme
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from tests.in_time import in_time
from tests.waiting import until
from tests.whole_server import (
    ACCOUNT,
    ASK,
    GREET,
    HANG_UP,
    HOURS,
    QUICK,
    TOKEN,
    RawStream,
    WholeServer,
    configured,
    fresh_sid,
    texts,
    tokens,
    whole_server,
)

from offhook.calls.session import Session
from offhook.config.server_settings import ServerSettings
from offhook.errors import UserError
from offhook.events.types import (
    AgentLost,
    AgentResumed,
    AgentSaid,
    CallBegan,
    CallEnded,
    CallerSaid,
    CallEvent,
    CallStarted,
    KeyPressed,
    ProtocolViolation,
    StreamTrouble,
)
from offhook.net import websocket
from offhook.net.uvicorn_server import OwnedUvicorn
from offhook.outbound.ledger import CallLedger
from offhook.outbound.ledger_file import FILE
from offhook.serving import http_server
from offhook.serving.listen import OTHER_PORT, listen
from offhook.serving.server import Server
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn, Stage
from offhook.testing.simulator.twilio.calls import executing
from offhook.testing.simulator.twilio.calls.leg import Leg
from offhook.testing.simulator.twilio.verbs import Verb
from offhook.twilio.messages import MediaFormat
from offhook.twilio.signature import SharedKey, settings_of, sign, sign_with_key
from offhook.webhooks import form_checks
from offhook.webhooks.form_checks import BODY_MAX, FIELDS_MAX
from offhook.webhooks.routes import Webhooks

MANY = 20
"""Calls at once; `make soak` has 5,000."""

BIN = "/twilio"


def verbs(document: str) -> list[str]:
    return [element.tag for element in ElementTree.fromstring(document)]


def token_in(document: str) -> str:
    found = re.search('name="token" value="([^"]+)"', document)
    assert found is not None
    return found[1]


# --- calls that go as they should ------------------------------------------------------------


async def test_a_call_by_the_webhook() -> None:
    async with whole_server() as h:
        report = await h.call(GREET, ASK, GREET, HANG_UP)
        assert report.faults == []
        assert report.ending == "caller_hung_up"
        assert h.endings() == ["caller_hung_up"]
        said = h.events()
        assert texts(said, CallerSaid) == [HOURS]
        assert texts(said, AgentSaid) == [
            "Hello! How can I help you today?",
            "Of course, what else?",
        ]
        assert not any(e.interrupted for e in said if isinstance(e, AgentSaid))
        (session,) = h.sessions
        (stream,) = report.streams
        assert len(session.arrivals.frame_times()) == len(stream.sent_at)
        assert stream.dropped == 0


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize("path", ["/twilio/voice", BIN])
async def test_a_call_that_is_over_waits_for_no_garbage_collection(
    tmp_path: Path, path: str, recording: bool
) -> None:
    """A collection of thousands of dead calls would stop every live one."""
    sessions: list[weakref.ref[Session]] = []
    servers: list[Server] = []

    def watch(told: CallEvent) -> None:
        if isinstance(told.event, CallStarted):
            session = servers[0].calls.registry.live[told.call_sid].session
            assert session is not None
            sessions.append(weakref.ref(session))

    config = configured("ws://127.0.0.1:1/", announcement="It is recorded.", recording=recording)
    records = config.records.model_copy(update={"folder": tmp_path})
    config = dataclasses.replace(config, records=records)
    barge_in = ScenarioStep.model_validate({"barge_in": {"after_ms": 300, "say": HOURS}})
    async with whole_server(config=config, watchers=[watch]) as h:
        servers.append(h.server)
        gc.disable()
        try:
            report = await h.call(GREET, ASK, barge_in, GREET, HANG_UP, path=path)
            assert report.ending == "caller_hung_up"
            (session,) = sessions
            await until(lambda: session() is None)
        finally:
            gc.enable()


async def test_a_call_by_a_twiml_bin_as_in_deepgrams_tutorial() -> None:
    async with whole_server() as h:
        report = await h.call(GREET, ASK, GREET, HANG_UP, path=BIN)
        assert report.faults == []
        assert texts(h.events(), AgentSaid)[0] == "Hello! How can I help you today?"
        assert h.endings() == ["caller_hung_up"]


async def test_the_agent_is_interrupted_and_its_heard_text_is_cut() -> None:
    long = "We are open from Monday to Friday, from nine in the morning until six in the evening."
    script = Script(turns=[ScriptTurn(hear=HOURS, say=[long])], silence_ms=300, reply_ms=50)
    barge_in = ScenarioStep.model_validate({"barge_in": {"after_ms": 1000, "say": "Stop."}})
    async with whole_server(script) as h:
        report = await h.call(GREET, ASK, barge_in, GREET, HANG_UP)
        assert report.faults == []
        cut = [e for e in h.events() if isinstance(e, AgentSaid) and e.interrupted]
        assert [e.intended for e in cut] == [long]
        assert cut[0].text
        assert long.startswith(cut[0].text)
        assert cut[0].text != long
        assert len(report.streams[0].cleared_at) == 1
        heard_s = cut[0].heard_ms / 1000
        burst = next(b for b in report.streams[0].bursts if b.cut_by == "clear")
        assert heard_s == pytest.approx(burst.ended - burst.began, abs=0.25)


async def test_keys_are_told() -> None:
    async with whole_server() as h:
        await h.call(GREET, ScenarioStep(press="4#"), HANG_UP)
        assert [e.digit for e in h.events() if isinstance(e, KeyPressed)] == ["4", "#"]


@pytest.mark.long
async def test_many_calls_at_once() -> None:
    """Every call its own ending and transcript; tasks and sockets back to the start."""

    async def check() -> None:
        lines = {f"+1202555{1000 + n}": n for n in range(MANY)}
        base = configured("ws://127.0.0.1:1/")
        agent = base.lines["default"]
        made = {}
        for number, n in lines.items():
            raw = json.loads(agent.settings.message())
            raw["agent"]["greeting"] = f"Greeting {n}."
            made[number] = agent.model_copy(update={"settings": _Said(json.dumps(raw).encode())})
        async with whole_server(QUICK, config=dataclasses.replace(base, lines=made)) as h:
            tasks = len(asyncio.all_tasks())
            async with asyncio.TaskGroup() as group:
                rung = {
                    number: group.create_task(
                        h.call(GREET, ASK, ScenarioStep(press=f"{n}#"), GREET, HANG_UP, to=number)
                    )
                    for number, n in lines.items()
                }
            await h.until_ended(MANY)
            for number, n in lines.items():
                report = rung[number].result()
                assert report.faults == []
                said = h.events(report.call_sid)
                assert texts(said, AgentSaid)[0] == f"Greeting {n}."
                assert "".join(e.digit for e in said if isinstance(e, KeyPressed)) == f"{n}#"
                assert h.endings(report.call_sid) == ["caller_hung_up"]
            assert len(h.endings()) == MANY
            assert h.server.calls.registry.live_count == 0
            assert len(h.sessions) == MANY
            await until(lambda: len(asyncio.all_tasks()) <= tasks)
            await until(lambda: all(session.closed is not None for session in h.sessions))

    await in_time(check)


class _Said:
    listens_with_flux = False
    stored = False

    def __init__(self, message: bytes) -> None:
        self._message = message

    def message(
        self,
        *,
        greeting: bool,
        context: Sequence[object],
        functions: Sequence[object],
        fill: object,
        changes: Sequence[object],
    ) -> bytes:
        return self._message


# --- the doors -------------------------------------------------------------------------------


async def test_forged_missing_and_mutated_signatures_are_refused() -> None:
    async with whole_server() as h:
        for path in ("/twilio/voice", "/twilio/after", "/twilio/status", "/twilio/stream-status"):
            assert (await h.post(path, signature="")).status_code == 403
            assert (await h.post(path, signature="L/OH5YylLD5NRKLltdqwSvS0BnU=")).status_code == 403
        with pytest.raises(websocket.UpgradeRefusedError) as refused:
            await h.stream(signature="")
        assert refused.value.status == 403
        with pytest.raises(websocket.UpgradeRefusedError) as refused:
            await h.stream(signature="PGLrn08/Ba1sEIuSwPQRBPD54PA=")
        assert refused.value.status == 403
        assert h.happened == []
        assert h.sessions == []


async def test_a_recorded_request_is_no_other_call_however_it_is_cut() -> None:
    """Each variant has the recorded request's signed text, and so its signature."""
    async with whole_server() as h:
        whole = {"CallSid": fresh_sid(), "AccountSid": ACCOUNT, "To": "+12025550100"}
        whole |= {"CallStatus": "ringing", "Direction": "inbound", "From": "+12025550142"}
        signature = sign(TOKEN, f"https://127.0.0.1:{h.server.port}/twilio/voice", whole.items())
        known = (await h.post("/twilio/voice", **whole)).text
        sid, after = whole["CallSid"], "CallStatusringingDirectioninboundFrom+12025550142To"
        after += "+12025550100"
        account = ("AccountSid", ACCOUNT)
        variants: list[list[tuple[str, str]]] = [
            [account, ("CallSid", sid + after)],
            [account, ("CallSid", sid + after[:1]), (after[1:], "")],
            [account, ("CallSid", sid + after[:10]), (after[10:], "")],
            [account, ("CallSid", sid + "CallStatus"), ("ringing", after[17:])],
            [account, ("CallSid", sid + after[:26]), ("inbound", after[33:])],
            [account, ("CallSid", sid), (after[:6], after[6:])],
            [("AccountSid", ACCOUNT + "CallSid" + sid + after)],
        ]
        for fields in variants:
            assert sign(TOKEN, "", fields) == sign(TOKEN, "", whole.items())
            headers = {"X-Twilio-Signature": signature}
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            url = h.origin + "/twilio/voice"
            answer = await h.http.post(url, content=urlencode(fields), headers=headers)
            assert answer.status_code == 400
        assert (await h.post("/twilio/voice", **whole)).text == known
        assert [type(event) for event in h.events()].count(CallBegan) == 1


async def test_a_shared_key_signs_webhooks_beside_the_token() -> None:
    twilio = tokens(TOKEN).model_copy(update={"signing_secrets": {"key-1": SecretStr("secret-1")}})
    async with whole_server(twilio=twilio) as h:
        form = {"CallSid": fresh_sid(), "AccountSid": ACCOUNT, "To": "+12025550100"}
        url = f"https://127.0.0.1:{h.server.port}/twilio/voice"
        by_key = sign_with_key("secret-1", url, form.items())
        assert (await h.post("/twilio/voice", **form)).status_code == 200
        answers = {
            settings: await h.post("/twilio/voice", by_key, settings=settings, **form)
            for settings in (settings_of("key-1"), settings_of("key-2"), "", None)
        }
        assert [answer.status_code for answer in answers.values()] == [200, 403, 403, 403]
        by_token = await h.post("/twilio/voice", settings=settings_of("key-1"), **form)
        assert by_token.status_code == 403, "a request that names a key is not tried with a token"
        named = answers[settings_of("key-2")]
        assert named.text == "The signature names an unknown key.\n"


async def test_a_stream_may_be_signed_with_a_shared_key() -> None:
    twilio = tokens().model_copy(update={"signing_secrets": {"key-1": SecretStr("secret-1")}})
    async with whole_server(twilio=twilio) as h:
        signature = sign_with_key("secret-1", "wss://127.0.0.1/twilio")
        stream = await h.stream(signature=signature, settings=settings_of("key-1"))
        stream.start(fresh_sid())
        await until(lambda: any(isinstance(event, CallBegan) for event in h.events()))
        for settings in (settings_of("key-2"), None):
            with pytest.raises(websocket.UpgradeRefusedError) as refused:
                await h.stream(signature=signature, settings=settings)
            assert refused.value.status == 403


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio"])
async def test_a_call_that_a_shared_key_signs_is_answered_and_by_a_token_refused(path: str) -> None:
    """With the webhook the call is signed in three requests, without it in the upgrade alone."""
    twilio = tokens().model_copy(update={"signing_secrets": {"key-1": SecretStr("secret-1")}})
    async with whole_server(twilio=twilio) as h:
        report = await h.call(HANG_UP, path=path, auth_token=SharedKey("key-1", "secret-1"))
        assert (report.ending, report.faults) == ("caller_hung_up", [])
        assert len(report.streams) == 1
        for other in ("secret-1", TOKEN, SharedKey("key-1", TOKEN), SharedKey("key-2", "secret-1")):
            refused = await h.call(HANG_UP, path=path, auth_token=other)
            assert (refused.streams, len(refused.faults)) == ([], 1)
            assert "403" in refused.faults[0]
        await h.until_ended()
        assert [type(event) for event in h.events()].count(CallBegan) == 1


async def test_everything_else_is_404_and_operators_pages_need_their_host() -> None:
    async with whole_server() as h:
        for path in ("/", "/docs", "/api/v1/calls", "/twilio", "/twilio/sms", "/twilio/voice/x"):
            assert (await h.http.get(h.origin + path)).status_code == 404
        with pytest.raises(websocket.UpgradeRefusedError) as refused:
            await h.stream(path="/other")
        assert refused.value.status == 404
        for path in ("/healthz", "/readyz"):
            assert (await h.http.get(h.origin + path)).status_code == 200
            public = await h.http.get(h.origin + path, headers={"Host": "voice.example.com"})
            assert public.status_code == 404


async def test_probes_by_the_address_at_which_they_arrive_are_answered() -> None:
    config = configured("ws://127.0.0.1:1/")
    server = config.server.model_copy(update={"operator_hosts": ("ops.example.com",)})
    async with whole_server(config=dataclasses.replace(config, server=server)) as h:
        port = h.origin.rpartition(":")[2]
        hosts = {"127.0.0.1": 200, f"127.0.0.1:{port}": 200, "127.0.0.9": 404, "localhost": 404}
        hosts |= {"10.1.2.3": 404, f"10.1.2.3:{port}": 404, "[::1]": 404, "127.1": 404}
        for path in ("/healthz", "/readyz"):
            for host, status in hosts.items():
                asked = await h.http.get(h.origin + path, headers={"Host": host})
                assert asked.status_code == status, (path, host)


async def test_calls_that_outlast_the_grace_end() -> None:
    config = configured("ws://127.0.0.1:1/")
    server = config.server.model_copy(update={"grace_seconds": 0.1})
    async with (
        whole_server(config=dataclasses.replace(config, server=server)) as h,
        asyncio.TaskGroup() as group,
    ):
        live = group.create_task(h.call(GREET, ScenarioStep(wait=600)))
        await until(lambda: texts(h.events(), AgentSaid))
        h.server.stop()
        await live
        assert h.endings() == ["shut_down"]


async def test_bad_requests_are_told_apart() -> None:
    async with whole_server() as h:
        assert (await h.http.get(h.origin + "/twilio/voice")).status_code == 405
        for sid in ("", "CA1", "CA" + "g" * 32, "MZ" + "1" * 32):
            assert (await h.post("/twilio/voice", CallSid=sid)).status_code == 400
        assert (await h.post("/twilio/after", AccountSid="AC1")).status_code == 400
        shaped = {"X-Twilio-Signature": "A" * 27 + "="}
        for content, status in (
            (b"a=" + b"x" * (BODY_MAX - 1), 413),
            (b"a=" + b"x" * (BODY_MAX - 2), 403),
            (b"&".join([b"a=b"] * (FIELDS_MAX + 1)), 413),
            (b"&".join([b"a=b"] * FIELDS_MAX), 403),
            (b"\xff\xfe\x00", 400),
        ):
            url = h.origin + "/twilio/voice"
            answer = await h.http.post(url, content=content, headers=shaped)
            assert answer.status_code == status


@pytest.mark.parametrize(
    "signature", [None, "", "x", "A" * 28, "A" * 26 + "==", "A" * 27 + "=,", "A" * 4000 + "="]
)
async def test_a_signature_of_the_wrong_shape_is_refused_before_the_body_is_read(
    signature: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(form_checks, "parse_qsl", parse)
    header = "" if signature is None else f"X-Twilio-Signature: {signature}\r\n"
    async with whole_server() as h:
        reader, writer = await asyncio.open_connection("127.0.0.1", h.server.port)
        head = f"POST /twilio/voice HTTP/1.1\r\nHost: h\r\n{header}Content-Length: 900\r\n\r\n"
        writer.write(head.encode())
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 403 ")
        writer.close()


async def test_too_many_fields_are_counted_and_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: Any, **__: Any) -> None:
        raise AssertionError("they were parsed")

    monkeypatch.setattr(form_checks, "parse_qsl", parse)
    async with whole_server() as h:
        answer = await h.http.post(
            h.origin + "/twilio/voice",
            content=b"&" * FIELDS_MAX,
            headers={"X-Twilio-Signature": "A" * 27 + "="},
        )
        assert answer.status_code == 413


async def test_any_of_several_tokens_is_good_while_one_is_rotated() -> None:
    async with whole_server(twilio=tokens("another", TOKEN)) as h:
        report = await h.call(GREET, HANG_UP)
        assert report.faults == []


async def test_the_public_url_decides_what_is_signed() -> None:
    async with whole_server() as h:
        assert (await h.post("/twilio/voice", host="voice.example.com")).status_code == 200
        wrong = await h.post("/twilio/voice", CallSid=fresh_sid(), signature="x", host="v.example")
        assert wrong.status_code == 403
    config = configured("ws://127.0.0.1:1/")
    named = config.server.model_copy(update={"public_url": "https://voice.example.com"})
    async with whole_server(config=dataclasses.replace(config, server=named)) as h:
        form = {"CallSid": fresh_sid(), "AccountSid": ACCOUNT, "To": "+12025550100"}
        signature = sign(TOKEN, "https://voice.example.com/twilio/voice", form.items())
        right = await h.post("/twilio/voice", signature, "another.example", **form)
        assert right.status_code == 200
        wrong = await h.post("/twilio/voice", host="another.example", **form)
        assert wrong.status_code == 403, "signed for the Host that came"


async def test_unsigned_answers_this_machine_alone() -> None:
    async with whole_server(unsigned=True) as h:
        report = await h.call(GREET, HANG_UP, auth_token=None)
        assert report.faults == []
        tunnel = {"Host": "calm-fox.example"}
        url = h.origin + "/twilio/voice"
        form = {"CallSid": fresh_sid()}
        assert (await h.http.post(url, data=form, headers=tunnel)).status_code == 403
        page = {"Origin": "https://evil.example"}
        assert (await h.http.post(url, data=form, headers=page)).status_code == 403
        forwarded = {"X-Forwarded-For": "203.0.113.7"}
        assert (await h.http.post(url, data=form, headers=forwarded)).status_code == 403


async def test_a_token_is_good_once_for_its_own_call() -> None:
    async with whole_server() as h:
        first, second = fresh_sid(), fresh_sid()
        token = token_in((await h.post("/twilio/voice", CallSid=first)).text)
        again = token_in((await h.post("/twilio/voice", CallSid=first)).text)
        assert again == token, "a webhook that is asked twice gives the same answer"
        other = token_in((await h.post("/twilio/voice", CallSid=second)).text)
        assert other != token

        async def try_in(call_sid: str, token: str | None, account: str = ACCOUNT) -> int | None:
            stream = await h.stream()
            stream.start(call_sid, token, account)
            stream.speak(5)
            return (await stream.end()).received

        assert await try_in(first, other) == 1008
        assert await try_in(first, "forged") == 1008
        assert await try_in(first, "nön-äscii") == 1008
        assert await try_in(fresh_sid(), token) == 1008
        assert await try_in(first, token, "AC" + "f" * 32) == 1008
        assert await try_in(first, None) == 1008, "a call that owes a token comes with it"
        good = await h.stream()
        good.start(first, token)
        good.speak(3)
        assert await try_in(first, token) == 1008, "a used token"
        assert h.endings() == []
        assert not good.closed.done()
        good.channel.close()
        await good.end()


async def test_an_expired_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offhook.call.handoff.STREAM_OWED_S", 0.1)
    async with whole_server() as h:
        token = token_in((await h.post("/twilio/voice")).text)
        await h.until_ended()
        assert h.endings() == ["stream_never_came"]
        stream = await h.stream()
        stream.start("CA" + "1" * 32, token)
        assert (await stream.end()).received == 1008


async def test_a_replayed_bin_stream_is_refused() -> None:
    async with whole_server() as h:
        report = await h.call(GREET, HANG_UP, path=BIN)
        stream = await h.stream()
        stream.start(report.call_sid)
        closed = await stream.end()
        assert closed.received == 1008
        assert "seen before" in closed.reason


async def test_a_replayed_bin_stream_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    with CallLedger(tmp_path / FILE) as ledger:
        async with whole_server(ledger=ledger) as h:
            report = await h.call(GREET, HANG_UP, path=BIN)
    with CallLedger(tmp_path / FILE) as ledger:
        async with whole_server(ledger=ledger) as h:
            stream = await h.stream()
            stream.start(report.call_sid)
            assert "seen before" in (await stream.end()).reason


async def test_streams_without_a_token_can_be_refused() -> None:
    off = tokens(TOKEN).model_copy(update={"bin": False})
    async with whole_server(twilio=off) as h:
        stream = await h.stream()
        stream.start(fresh_sid())
        assert (await stream.end()).received == 1008
        assert h.sessions == []


async def test_a_foreign_account_is_refused() -> None:
    ours = tokens(TOKEN).model_copy(update={"account_sid": "AC" + "b" * 32})
    async with whole_server(twilio=ours) as h:
        for path in ("/twilio/voice", "/twilio/after", "/twilio/status"):
            assert (await h.post(path)).status_code == 403
        stream = await h.stream()
        stream.start(fresh_sid())
        assert (await stream.end()).received == 1008


async def test_what_comes_before_start_closes_the_socket() -> None:
    async with whole_server() as h:
        early = await h.stream()
        early.speak()
        assert (await early.end()).received == 1008
        binary = await h.stream()
        binary.channel.send_binary(b"x")
        assert (await binary.end()).received == 1008
        garbage = await h.stream()
        garbage.channel.send_text(b"{")
        assert (await garbage.end()).received == 1008
        assert h.happened == []


# --- garbage in a call, and its neighbours ---------------------------------------------------


async def test_garbage_is_counted_and_too_much_of_it_ends_that_call_alone() -> None:
    async with whole_server() as h, asyncio.TaskGroup() as group:
        bystander = group.create_task(h.call(GREET, ASK, GREET, HANG_UP))
        bad_sid, worse_sid, huge_sid = fresh_sid(), fresh_sid(), fresh_sid()
        bad, worse, huge = await h.stream(), await h.stream(), await h.stream()
        bad.start(bad_sid)
        for nonsense in (b"{", b'{"event":"media"}', b'{"event":"new"}', b"\xff"):
            bad.channel.send_text(nonsense)
        bad.channel.send_binary(b"\x00")
        bad.speak(stream_sid="MZ-foreign")
        bad.start(bad_sid)
        worse.start(worse_sid)
        for _ in range(25):
            worse.channel.send_text(b"nonsense")
        huge.start(huge_sid)
        huge.channel.send_text(b'{"event":"' + b"x" * 70_000 + b'"}')
        assert (await worse.end()).received == 1000
        await huge.end()
        await h.until_ended(2)
        assert h.endings(worse_sid) == ["caller_leg_garbage"]
        assert h.endings(huge_sid) == ["caller_leg_oversized"]
        assert h.endings(bad_sid) == []
        # Malformed four times, a foreign stream, and `connected` and `start` a second time.
        assert len([e for e in h.events(bad_sid) if isinstance(e, ProtocolViolation)]) == 7
        bad.channel.abort()
        report = await bystander
        assert report.faults == []
        await h.until_ended(4)
        assert h.endings(report.call_sid) == ["caller_hung_up"]
        assert h.endings(bad_sid) == ["caller_leg_lost"]


@pytest.mark.parametrize("by_webhook", [True, False])
async def test_a_stream_that_is_not_mulaw_ends_by_that_name(by_webhook: bool) -> None:
    async with whole_server(fallback={"say": "One moment, please."}) as h:
        call_sid, token = fresh_sid(), None
        if by_webhook:
            token = token_in((await h.post("/twilio/voice", CallSid=call_sid)).text)
        stream = await h.stream()
        stream.start(call_sid, token, media_format=MediaFormat("audio/l16", "16000", 1))
        assert (await stream.end()).received == 1000
        (ended,) = (each for each in h.events(call_sid) if isinstance(each, CallEnded))
        assert (ended.slug, ended.fault) == ("caller_leg_format", "twilio")
        assert ended.detail == "audio/l16, 16000 Hz, channels: 1"
        if by_webhook:
            form = {"CallSid": call_sid, "CallStatus": "in-progress"}
            assert "One moment, please." in (await h.post("/twilio/after", **form)).text


@pytest.mark.parametrize("fault", ["garbage", "unknown"])
async def test_garbage_from_the_agent_is_survived(fault: str) -> None:
    turn = ScriptTurn.model_validate(
        {"hear": HOURS, "say": ["Of course, what else?"], "fault": fault}
    )
    script = Script(turns=[turn], silence_ms=300, reply_ms=50)
    async with whole_server(script) as h:
        report = await h.call(GREET, ASK, GREET, HANG_UP)
        assert report.faults == []
        faults = [e for e in h.events() if isinstance(e, ProtocolViolation)]
        assert len(faults) == (1 if fault == "garbage" else 0)
        assert texts(h.events(), AgentSaid)[-1] == "Of course, what else?"


# --- the agent fails -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "slug", "words"),
    [(429, "agent_busy", "busy"), (401, "agent_key_refused", "sorry"), (404, None, "sorry")],
)
async def test_a_refused_dial_is_answered_without_a_stream(
    status: int, slug: str | None, words: str
) -> None:
    async with whole_server(Script(upgrade_status=status)) as h:
        report = await h.call(HANG_UP)
        assert report.ending == "hangup_verb"
        assert [verb.name for verb in report.verbs] == ["Say", "Hangup"]
        assert words in report.verbs[0].text
        assert h.endings() == [slug or "agent_unreachable"]
        # Deepgram's refusal is a full budget; that of a key is not.
        assert h.server.calls.limits.sessions.limit == (1 if status == 429 else None)


async def test_an_unreachable_agent_brings_the_fallback() -> None:
    async with whole_server(deepgram_url="ws://127.0.0.1:9/v1/agent/converse") as h:
        # It is dialled three times more, for which the caller waits.
        report = await h.call(GREET)
        assert [verb.name for verb in report.verbs] == ["Connect", "Say", "Hangup"]
        assert h.endings() == ["agent_unreachable"]


async def test_settings_that_deepgram_refuses_end_the_call_with_its_code() -> None:
    script = Script(settings=Stage(fault="close", error="INVALID_SETTINGS"))
    async with whole_server(script) as h:
        report = await h.call(HANG_UP)
        assert report.verbs[-1].name == "Hangup"
        (ended,) = (e for e in h.events() if isinstance(e, CallEnded))
        assert (ended.slug, ended.detail) == ("agent_settings_refused", "INVALID_SETTINGS")


@pytest.mark.parametrize("fault", ["close", "cut"])
async def test_an_agent_lost_in_mid_call_brings_the_fallback(fault: str) -> None:
    turn = ScriptTurn.model_validate(
        {"hear": HOURS, "say": ["Of course, what else?"], "fault": fault}
    )
    script = Script(turns=[turn], silence_ms=300, reply_ms=50)
    fallback = {"say": "One moment.", "dial": "+12025550199"}
    async with whole_server(script, fallback=fallback) as h:
        report = await h.call(GREET, ASK)
        names = [verb.name for verb in report.verbs]
        assert names == ["Connect", "Say", "Dial", "Hangup"]
        assert report.ending == "hangup_verb"
        # The next agents get the same question, and each of them is lost in its answer.
        assert sum(isinstance(e, AgentLost) for e in h.events()) == 3
        assert h.endings() == ["agent_lost"]


@pytest.mark.parametrize("fault", ["close", "cut"])
async def test_a_caller_goes_on_after_the_agent_is_lost_in_mid_call(fault: str) -> None:
    loop = asyncio.get_running_loop()
    losses = iter([fault])

    def lose(happened: CallEvent) -> None:
        # The question was confirmed, and its answer has not begun.
        if isinstance(happened.event, CallerSaid):
            for each in losses:
                loop.call_soon(h.sessions[0].fault, each)

    async with whole_server(watchers=[lose]) as h:
        report = await h.call(GREET, ASK, GREET, HANG_UP)
        assert report.faults == []
        assert h.endings() == ["caller_hung_up"]
        said = h.events()
        assert texts(said, CallerSaid) == [HOURS]
        assert [e.why for e in said if isinstance(e, AgentLost)] == ["closed"]
        (resumed,) = (e for e in said if isinstance(e, AgentResumed))
        assert resumed.attempts == 1
        first, second = h.sessions
        assert first.settings is not None
        assert second.settings is not None
        assert texts(said, AgentSaid)[0] == "Hello! How can I help you today?"
        assert texts(said, AgentSaid).count("Hello! How can I help you today?") == 1
        assert texts(said, AgentSaid)[-1] == "Of course, what else?"


async def test_the_fallback_takes_a_message() -> None:
    async with whole_server(Script(upgrade_status=404), fallback={"voicemail": True}) as h:
        report = await h.call(HANG_UP)
        assert [verb.name for verb in report.verbs] == ["Say", "Say", "Record", "Hangup"]


async def test_a_dial_that_nobody_answers_ends_with_words() -> None:
    async with whole_server(Script(upgrade_status=404), fallback={"dial": "+12025550199"}) as h:
        report = await h.call(HANG_UP, dial_status="no-answer")
        assert [verb.name for verb in report.verbs] == ["Say", "Dial", "Say", "Hangup"]


async def test_after_answers_for_calls_it_does_not_know() -> None:
    async with whole_server() as h:
        unknown = await h.post("/twilio/after", CallSid=fresh_sid(), CallStatus="in-progress")
        assert verbs(unknown.text) == ["Say", "Hangup"]
        over = await h.post("/twilio/after", CallSid=fresh_sid(), CallStatus="completed")
        assert verbs(over.text) == []
        assert over.headers["content-type"].startswith("text/xml")


async def test_a_long_announcement_delays_the_dial_but_not_the_answer() -> None:
    long = "This call may be recorded. " * 8
    async with whole_server(announcement=long) as h:
        document = (await h.post("/twilio/voice")).text
        assert verbs(document)[:2] == ["Say", "Connect"]
        assert h.sessions == []
        stream = await h.stream()
        stream.start("CA" + "1" * 32, token_in(document))
        await until(lambda: len(h.sessions) == 1)
        stream.channel.close()
        await stream.end()


async def test_a_call_beyond_the_capacity_gets_the_busy_answer() -> None:
    async with whole_server(capacity=1, busy={"reject": True}) as h:
        assert verbs((await h.post("/twilio/voice", CallSid=fresh_sid())).text)[0] == "Connect"
        full = await h.post("/twilio/voice", CallSid=fresh_sid())
        assert verbs(full.text) == ["Reject"]
        assert await closed_with(h) == 1008
        ready = await h.http.get(h.origin + "/readyz")
        assert (ready.status_code, ready.json()["state"]) == (503, "full")


async def closed_with(h: WholeServer) -> int | None:
    """Return the code with which the stream of another call, of a TwiML Bin, is closed."""
    stream = await h.stream()
    stream.start(fresh_sid())
    closed: websocket.Closed = await stream.end()
    return closed.received


async def test_a_call_beyond_the_sessions_leaves_a_message_and_is_not_dialled_for() -> None:
    async with whole_server(max_sessions=1, busy={"voicemail": {"say": "Later."}}) as h:
        first, second = fresh_sid(), fresh_sid()
        assert verbs((await h.post("/twilio/voice", CallSid=first)).text)[0] == "Connect"
        answers = [await h.post("/twilio/voice", CallSid=second) for _ in range(2)]
        assert [verbs(answer.text) for answer in answers] == [["Say", "Record", "Hangup"]] * 2
        assert await closed_with(h) == 1008
        assert len(h.sessions) == 1
        assert [(e.slug, e.detail) for e in h.events(second) if isinstance(e, CallEnded)] == [
            ("server_full", "no agent session left")
        ]
        ready = await h.http.get(h.origin + "/readyz")
        assert ready.status_code == 503
        told = {"state": "full", "sessions": 1, "reason": "no agent session left"}
        assert ready.json() == ready.json() | told
        taken = {"RecordingSid": "RE" + "1" * 32, "RecordingUrl": "https://api.twilio.com/RE"}
        after = await h.post("/twilio/after?last=1", CallSid=second, **taken)
        assert verbs(after.text) == ["Hangup"]
        await h.post("/twilio/status", CallSid=first, CallStatus="completed")
        await until(lambda: h.server.calls.limits.sessions.dialled == 0)
        assert verbs((await h.post("/twilio/voice", CallSid=fresh_sid())).text)[0] == "Connect"


async def test_a_late_event_loop_takes_no_further_call_and_then_does() -> None:
    async with whole_server(busy={"reject": True}) as h:
        h.server.calls.limits.lag.is_late = True
        sid = fresh_sid()
        assert verbs((await h.post("/twilio/voice", CallSid=sid)).text) == ["Reject"]
        # Beats that come in time end it.
        await until(lambda: not h.server.calls.limits.lag.is_late)
        assert verbs((await h.post("/twilio/voice", CallSid=sid)).text)[0] == "Connect"


async def test_a_caller_who_leaves_during_the_announcement_frees_the_place() -> None:
    async with whole_server(capacity=1) as h:
        call_sid = fresh_sid()
        await h.post("/twilio/voice", CallSid=call_sid)
        status = await h.post("/twilio/status", CallSid=call_sid, CallStatus="completed")
        assert status.status_code == 204
        assert h.endings() == ["caller_hung_up"]
        assert h.server.calls.registry.live_count == 0


async def test_stream_errors_are_told_in_words() -> None:
    async with whole_server() as h:
        call_sid = fresh_sid()
        await h.post("/twilio/voice", CallSid=call_sid)
        form = {"StreamEvent": "stream-error", "StreamError": "31920 - handshake"}
        answer = await h.post("/twilio/stream-status", CallSid=call_sid, **form)
        assert answer.status_code == 204
        (trouble,) = (e for e in h.events() if isinstance(e, StreamTrouble))
        assert trouble.code == "31920"
        assert "TWILIO_AUTH_TOKEN" in trouble.words


# --- stopping --------------------------------------------------------------------------------


async def test_stopping_lets_the_live_call_finish_and_takes_no_other() -> None:
    async with whole_server() as h, asyncio.TaskGroup() as group:
        live = group.create_task(h.call(GREET, ASK, GREET, HANG_UP))
        await until(lambda: h.server.calls.registry.live_count > 0)
        h.server.stop()
        await asyncio.sleep(0)
        assert (await h.http.get(h.origin + "/readyz")).json()["state"] == "draining"
        refused = await h.post("/twilio/voice", CallSid=fresh_sid())
        assert verbs(refused.text) == ["Say", "Hangup"]
        report = await live
        assert report.faults == []
        assert h.endings() == ["caller_hung_up"]
        assert texts(h.events(), AgentSaid)[-1] == "Of course, what else?"


async def test_a_stopping_server_waits_for_what_twilio_asks_after_a_hang_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = executing._after_hang_up

    async def ask_late(leg: Leg, verb: Verb, base: str) -> None:
        h.server.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(h.until_stopped(), 0.5)
        await ask(leg, verb, base)

    monkeypatch.setattr(executing, "_after_hang_up", ask_late)
    async with whole_server() as h:
        report = await h.call(GREET, HANG_UP)
        assert report.faults == []
        await h.until_stopped()


async def test_a_request_that_waits_for_ever_does_not_keep_a_stopping_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = asyncio.Event()

    async def wait(self: Webhooks, request: Request) -> Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(http_server, "HANDLERS_S", 1)
    monkeypatch.setattr(Webhooks, "_healthz", wait)
    async with whole_server() as h, asyncio.TaskGroup() as group:

        async def ask() -> None:
            with contextlib.suppress(httpx2.TransportError):
                await h.http.get(h.origin + "/healthz")

        group.create_task(ask())
        await begun.wait()
        h.server.stop()
        await h.until_stopped()


async def test_stopping_twice_ends_the_calls_and_their_callers_hear_why() -> None:
    async with whole_server() as h:
        async with asyncio.TaskGroup() as group:
            live = group.create_task(h.call(GREET, GREET))
            await until(lambda: bool(texts(h.events(), AgentSaid)))
            h.server.stop()
            h.server.stop()
        report = live.result()
        assert [verb.name for verb in report.verbs] == ["Connect", "Say", "Hangup"]
        assert h.endings() == ["shut_down"]


def test_a_port_in_use_says_so() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(UserError) as problem:
        listen("127.0.0.1", first.getsockname()[1])
    assert problem.value.code == "E-NET-01"
    assert problem.value.fix == "Stop it, or use another port: --port 5050."


def test_a_port_in_use_is_not_exchanged_for_that_of_the_operators_listener(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the default ports, and of the one that is suggested itself."""

    def refuse(self: socket.socket, address: object) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    operator = int(ServerSettings().operator_listen.rpartition(":")[2])
    for port in (ServerSettings().port, OTHER_PORT):
        with pytest.raises(UserError) as problem:
            listen("127.0.0.1", port)
        suggested = int(problem.value.fix.rpartition("--port ")[2].rstrip("."))
        assert suggested not in (port, operator)
    with pytest.raises(UserError) as problem:
        listen("127.0.0.1", operator, option="--operator-listen")
    assert problem.value.fix.endswith(f"--operator-listen 127.0.0.1:{operator + 1}.")


def test_an_address_of_another_machine_says_so() -> None:
    with pytest.raises(UserError) as problem:
        listen("203.0.113.1", 5000)
    assert problem.value.code == "E-NET-02"


# --- TLS ends here ---------------------------------------------------------------------------


async def test_one_port_with_tls_serves_webhooks_and_streams(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key))
    config = configured("ws://127.0.0.1:1/")
    with_tls = config.server.model_copy(update={"tls_cert": chain, "tls_key": key})
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with whole_server(config=dataclasses.replace(config, server=with_tls)) as h:
        origin = h.origin.replace("http:", "https:")
        async with httpx2.AsyncClient(verify=trusting, trust_env=False) as http:
            assert (await http.get(origin + "/healthz")).text == "ok\n"
        stream = RawStream()
        await websocket.connect(
            origin.replace("https:", "wss:") + "/twilio",
            stream,
            headers={"x-twilio-signature": sign(TOKEN, "wss://127.0.0.1/twilio")},
            timeout=5,
            max_size=2**20,
            tls=trusting,
        )
        call_sid = fresh_sid()
        stream.start(call_sid)
        stream.speak(200)
        await until(lambda: any(m.startswith(b'{"event":"media"') for m in stream.received))
        stream.channel.close()
        await stream.end()
        await h.until_ended()
        assert h.endings(call_sid) == ["caller_leg_lost"]
        assert h.sessions[0].arrivals.total >= 160 * 100


@pytest.mark.parametrize("content", [None, b"this is no certificate"])
def test_a_certificate_that_cannot_be_read_is_said(tmp_path: Path, content: bytes | None) -> None:
    chain = tmp_path / "chain.pem"
    if content is not None:
        chain.write_bytes(content)
    config = configured("ws://127.0.0.1:1/")
    with_tls = config.server.model_copy(update={"tls_cert": chain, "tls_key": chain})
    with listen("127.0.0.1", 0) as sock, pytest.raises(UserError) as problem:
        Server(dataclasses.replace(config, server=with_tls), sock, [])
    assert problem.value.code == "E-CFG-05"
    assert str(chain) in problem.value.what


async def test_http_that_breaks_begins_anew_and_ends_no_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = asyncio.Event()
    tick = OwnedUvicorn.on_tick

    async def once_broken(self: OwnedUvicorn, counter: int) -> bool:
        if broken.is_set():
            broken.clear()
            raise RuntimeError("uvicorn's own loop")
        return await tick(self, counter)

    monkeypatch.setattr(OwnedUvicorn, "on_tick", once_broken)
    async with whole_server() as running, asyncio.TaskGroup() as group:
        live = group.create_task(running.call(GREET, ASK, GREET, HANG_UP))
        await until(lambda: running.server.calls.registry.live_count == 1)
        broken.set()
        await until(lambda: not broken.is_set())
        await running.call(GREET, HANG_UP)
        await live
    assert running.endings() == ["caller_hung_up"] * 2
    assert "a fault in the task 'HTTP'" in caplog.text
