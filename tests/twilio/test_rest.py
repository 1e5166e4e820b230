"""The REST client against a vendor on a real socket that answers as each test wants."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import httpx2
import pytest
from pydantic import SecretStr

from offhook.config import TwilioSettings
from offhook.errors import UserError
from offhook.twilio import errors as refusals
from offhook.twilio import rest
from offhook.twilio.errors import (
    WORDS,
    CallMovedError,
    TwilioRefusedError,
    TwilioUnreachableError,
)
from offhook.twilio.rest import MachineDetection, Permit, TwilioRest

ACCOUNT: Final = "AC" + "1" * 32
KEY: Final = "SK" + "2" * 32
CALL: Final = "CA" + "3" * 32
ADA: Final = "+12025550142"
DESK: Final = "+12025550100"
CALLED: Final = {"sid": CALL, "status": "queued", "to": ADA, "from": DESK, "duration": None}
BASE: Final = f"/2010-04-01/Accounts/{ACCOUNT}"


@dataclass
class Answer:
    status: int = 200
    body: Any = field(default_factory=lambda: CALLED)
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return (
            f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body
        )


@dataclass
class Asked:
    method: str
    target: str
    user: str
    form: list[tuple[str, str]]


def refusal(status: int, code: int, **more: Any) -> Answer:
    said = {"code": code, "message": f"about {ADA}", "status": status}
    return Answer(status, said | {"more_info": f"https://www.twilio.com/docs/errors/{code}"} | more)


class Vendor:
    """Answers the n-th request by the n-th of `script`, and all that follow by the last."""

    def __init__(self, script: tuple[Answer | Literal["cut", "hang"], ...]) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.url = ""
        self.at_once = self.most_at_once = 0
        self.dwell_s = 0.0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {k.lower(): v for k, v in (x.split(": ", 1) for x in head[1:] if x)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, target, _ = head[0].split(" ")
                user = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
                answer = self.script[min(len(self.asked), len(self.script) - 1)]
                form = parse_qsl(body.decode(), keep_blank_values=True)
                self.asked.append(Asked(method, target, user, form))
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await asyncio.sleep(self.dwell_s)  # how long Twilio takes
                self.at_once -= 1
                if answer == "hang":
                    await reader.read()
                if not isinstance(answer, Answer):
                    break
                writer.write(answer.encode())
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def vendor(*script: Answer | Literal["cut", "hang"]) -> AsyncIterator[Vendor]:
    made = Vendor(script or (Answer(),))
    server = await asyncio.start_server(made.connected, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def client(
    url: str, permit: Permit | None = None, **twilio: Any
) -> AsyncIterator[TwilioRest]:
    given: dict[str, Any] = {"api_key": KEY, "api_secret": SecretStr("hush")} | twilio
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=None) as http:
        account = TwilioSettings(account_sid=ACCOUNT, api_url=url, **given).require_rest()
        yield TwilioRest(account, http, permit=permit)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "BACKOFF_S", 0.001)


async def test_a_call_is_created_with_all_that_is_asked_for() -> None:
    async with vendor(Answer(201)) as twilio, client(twilio.url) as it:
        call = await it.create_call(
            to=ADA,
            from_=DESK,
            twiml="<Response/>",
            status_callback="https://voice.example/twilio/status",
            time_limit_s=600,
            machine_detection=MachineDetection("Enable", "https://voice.example/twilio/amd"),
            call_reason="Your table",
        )
    assert (call.sid, call.status, call.to, call.from_) == (CALL, "queued", ADA, DESK)
    [asked] = twilio.asked
    assert (asked.method, asked.target) == ("POST", f"{BASE}/Calls.json")
    assert asked.user == f"{KEY}:hush"
    assert sorted(asked.form) == sorted(
        [
            ("To", ADA),
            ("From", DESK),
            ("Twiml", "<Response/>"),
            ("Timeout", "30"),
            ("TimeLimit", "600"),
            ("CallReason", "Your table"),
            ("StatusCallback", "https://voice.example/twilio/status"),
            *(
                ("StatusCallbackEvent", event)
                for event in ("initiated", "ringing", "answered", "completed")
            ),
            ("MachineDetection", "Enable"),
            ("AsyncAmd", "true"),
            ("AsyncAmdStatusCallback", "https://voice.example/twilio/amd"),
            ("MachineDetectionTimeout", "30"),
            ("MachineDetectionSpeechThreshold", "2400"),
            ("MachineDetectionSpeechEndThreshold", "1200"),
            ("MachineDetectionSilenceTimeout", "5000"),
        ]
    )


async def test_without_a_key_the_account_and_its_first_token_are_used() -> None:
    tokens = (SecretStr("new"), SecretStr("old"))
    async with (
        vendor() as twilio,
        client(twilio.url, api_key=None, api_secret=None, auth_tokens=tokens) as it,
    ):
        await it.fetch_call(CALL)
    assert twilio.asked[0].user == f"{ACCOUNT}:new"


async def test_a_call_is_redirected_ended_and_fetched() -> None:
    over = Answer(body=CALLED | {"status": "completed", "duration": "12", "answered_by": "human"})
    async with vendor(Answer(), Answer(), over) as twilio, client(twilio.url) as it:
        await it.update_call(CALL, url="https://voice.example/next")
        await it.hang_up(CALL)
        call = await it.fetch_call(CALL)
    assert (call.duration_s, call.answered_by) == (12, "human")
    assert [one.form for one in twilio.asked] == [
        [("Url", "https://voice.example/next")],
        [("Status", "completed")],
        [],
    ]
    assert {one.target for one in twilio.asked} == {f"{BASE}/Calls/{CALL}.json"}


@pytest.mark.parametrize("over", [refusal(404, 20404), refusal(400, 21220), Answer(404, b"")])
async def test_hanging_up_what_is_over_is_fine(over: Answer) -> None:
    async with vendor(over) as twilio, client(twilio.url) as it:
        await it.hang_up(CALL)
        with pytest.raises(TwilioRefusedError):
            await it.update_call(CALL, twiml="<Response/>")
    assert len(twilio.asked) == 2


async def test_a_text_is_sent() -> None:
    sent = Answer(201, {"sid": "SM1", "status": "queued", "num_segments": "2"})
    async with vendor(sent) as twilio, client(twilio.url) as it:
        message = await it.send_message(to=ADA, from_=DESK, body="Grüße & Küsse")
    assert (message.sid, message.num_segments) == ("SM1", "2")
    assert dict(twilio.asked[0].form) == {"To": ADA, "From": DESK, "Body": "Grüße & Küsse"}


async def test_numbers_are_read_page_by_page_and_changed() -> None:
    def number(digit: str) -> dict[str, Any]:
        return {"sid": "PN" + digit * 32, "phone_number": ADA, "voice_url": None, "other": []}

    next_page = f"{BASE}/IncomingPhoneNumbers.json?PageSize=100&Page=1&PageToken=x"
    async with (
        vendor(
            Answer(body={"incoming_phone_numbers": [number("1")], "next_page_uri": next_page}),
            Answer(body={"incoming_phone_numbers": [number("2")], "next_page_uri": None}),
            Answer(body=number("2") | {"voice_url": "https://voice.example/twilio/voice"}),
        ) as twilio,
        client(twilio.url) as it,
    ):
        found = await it.numbers(ADA)
        changed = await it.update_number(
            found[1].sid, voice_url="https://x.example", voice_method="GET"
        )
    assert [one.sid[2] for one in found] == ["1", "2"]
    assert changed.voice_url == "https://voice.example/twilio/voice"
    assert [one.target for one in twilio.asked] == [
        f"{BASE}/IncomingPhoneNumbers.json?PageSize=100&PhoneNumber=%2B12025550142",
        next_page,
        f"{BASE}/IncomingPhoneNumbers/PN{'2' * 32}.json",
    ]
    assert twilio.asked[2].form == [("VoiceUrl", "https://x.example"), ("VoiceMethod", "GET")]


async def test_a_next_page_elsewhere_is_not_asked() -> None:
    page = {"incoming_phone_numbers": [], "next_page_uri": "@evil.example/"}
    async with vendor(Answer(body=page)) as twilio, client(twilio.url) as it:
        with pytest.raises(TwilioUnreachableError):
            await it.numbers()
    assert len(twilio.asked) == 1


# --- what is repeated, and what never is -----------------------------------------------------


async def test_too_many_requests_is_repeated_even_for_a_call_that_is_created() -> None:
    busy = refusal(429, 20429)
    async with vendor(busy, busy, Answer(201)) as twilio, client(twilio.url) as it:
        await it.create_call(to=ADA, from_=DESK, twiml="<Response/>")
    assert len(twilio.asked) == 3


async def test_retry_after_is_obeyed() -> None:
    busy = Answer(429, b"", {"Retry-After": "1"})
    loop = asyncio.get_running_loop()
    async with vendor(busy, Answer(201)) as twilio, client(twilio.url) as it:
        began = loop.time()
        await it.send_message(to=ADA, from_=DESK, body="x")
        assert loop.time() - began >= 1
    assert len(twilio.asked) == 2


async def test_a_retry_after_of_an_hour_is_given_up() -> None:
    async with (
        vendor(Answer(429, b"", {"Retry-After": "3600"})) as twilio,
        client(twilio.url) as it,
    ):
        with pytest.raises(TwilioRefusedError) as refused:
            await it.fetch_call(CALL)
    assert refused.value.retry_after_s == 3600
    assert len(twilio.asked) == 1


async def test_it_gives_up_in_the_end() -> None:
    async with vendor(refusal(429, 20429)) as twilio, client(twilio.url) as it:
        with pytest.raises(TwilioRefusedError, match="too many requests at once"):
            await it.fetch_call(CALL)
    assert len(twilio.asked) == rest.ATTEMPTS


@pytest.mark.parametrize("fault", [refusal(503, 20503), "cut"])
async def test_what_may_have_been_carried_out_is_repeated_only_where_that_does_no_harm(
    fault: Any,
) -> None:
    async with vendor(fault) as twilio, client(twilio.url) as it:
        for creation in (
            it.create_call(to=ADA, from_=DESK, twiml="<Response/>"),
            it.send_message(to=ADA, from_=DESK, body="x"),
        ):
            with pytest.raises((TwilioRefusedError, TwilioUnreachableError)) as caught:
                await creation
            assert getattr(caught.value, "sent", True)
    assert len(twilio.asked) == 2
    async with (
        vendor(fault, Answer(), fault, Answer(), fault, Answer()) as twilio,
        client(twilio.url) as it,
    ):
        await it.fetch_call(CALL)
        await it.hang_up(CALL)
        await it.update_call(CALL, twiml="<Response/>")
    assert len(twilio.asked) == 6


async def test_a_call_is_not_placed_again_when_no_answer_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rest, "ANSWER_S", 0.2)
    async with vendor("hang") as twilio, client(twilio.url) as it:
        with pytest.raises(TwilioUnreachableError, match="no answer in time") as unreachable:
            await it.create_call(to=ADA, from_=DESK, twiml="<Response/>")
    assert unreachable.value.sent
    assert unreachable.value.problem().code == "E-TW-04"
    assert len(twilio.asked) == 1


async def test_a_connection_that_never_was_is_tried_again() -> None:
    async with vendor() as twilio:
        pass
    async with client(twilio.url) as it:
        with pytest.raises(TwilioUnreachableError) as unreachable:
            await it.create_call(to=ADA, from_=DESK, twiml="<Response/>")
    assert not unreachable.value.sent
    assert "Nothing was carried out" in unreachable.value.problem().what


async def test_no_more_requests_are_in_flight_than_are_allowed() -> None:
    async with vendor() as twilio, client(twilio.url) as it:
        twilio.dwell_s = 0.05
        await asyncio.gather(*(it.fetch_call(CALL) for _ in range(3 * rest.AT_ONCE)))
    assert twilio.most_at_once == rest.AT_ONCE


# --- calls that another process has -----------------------------------------------------------


ACTS: Final[dict[str, Callable[[TwilioRest], Awaitable[Any]]]] = {
    "redirect": lambda it: it.update_call(CALL, url="https://x"),
    "hang up": lambda it: it.hang_up(CALL),
    "dial": lambda it: it.create_call(to=ADA, from_=DESK, url="https://x", for_call=CALL),
    "text": lambda it: it.send_message(to=ADA, from_=DESK, body="x", for_call=CALL),
}


@pytest.mark.parametrize("act", ACTS)
async def test_about_a_call_that_another_process_has_nothing_is_asked_but_how_it_is(
    act: str,
) -> None:
    asked: list[str] = []

    async def permit(sid: str) -> bool:
        asked.append(sid)
        return False

    async with vendor() as twilio, client(twilio.url, permit) as it:
        with pytest.raises(CallMovedError) as moved:
            await ACTS[act](it)
        await it.fetch_call(CALL)
    assert [each.method for each in twilio.asked] == ["GET"]
    assert asked == [CALL]
    assert str(moved.value) == "Twilio was not asked: another process has this call"


async def test_a_request_is_not_repeated_once_another_process_has_its_call() -> None:
    may = [True, False]

    async def permit(sid: str) -> bool:
        return may.pop(0)

    async with vendor(refusal(429, 20429)) as twilio, client(twilio.url, permit) as it:
        with pytest.raises(CallMovedError):
            await it.hang_up(CALL)
    assert len(twilio.asked) == 1


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"code": 21211, "message": f"{ADA} is not valid", "more_info": "https://evil.example"},
        {"type": "https://www.twilio.com/docs/errors/21211", "title": ADA, "status": 400}
        | {"code": 21211, "errors": [{"detail": ADA, "pointer": "#/To"}]},
    ],
)
async def test_both_formats_of_a_refusal_are_read_and_neither_is_quoted(body: Any) -> None:
    async with vendor(Answer(400, body)) as twilio, client(twilio.url) as it:
        with pytest.raises(TwilioRefusedError) as caught:
            await it.create_call(to=ADA, from_=DESK, twiml="<Response/>")
    refused = caught.value
    assert (refused.status, refused.code) == (400, 21211)
    assert refused.words == "the number that is called is not valid"
    assert refused.more_info == "https://www.twilio.com/docs/errors/21211"
    assert ADA not in f"{refused} {refused!r} {refused.problem()}"
    assert str(refused.problem()).startswith("E-TW-03 Twilio refused: the number that is called")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"<html>", "the credentials are not accepted"),
        (403, b"[]", "do not allow"),
        (502, b"", "a fault of its own"),
        (418, b'{"code": true}', "does not know"),
        (302, b"", "does not know"),
        (400, b'{"code": 99999}', "does not understand"),
        (400, b"[" * 100_000, "does not understand"),
    ],
)
def test_without_a_code_that_is_known_the_status_says_what_is_known(
    status: int, body: bytes, words: str
) -> None:
    assert words in refusals.read(status, body, "tomorrow").words


def test_every_code_that_the_reference_names_has_words() -> None:
    """twilio.md §1.9, those of dialling and texts, and what a trial account may not do."""
    named = """10002 10004 11100 11200 11205 11206 11210 11215 11220 11235 11236 11237 11750 11770
        12100 12200 12300 12400 13201 13214 13223 13224 13225 13227 15003 20003 20404 20429
        21205 21210 21211 21212 21213 21214 21215 21216 21217 21219 21220 21262 21263 21610
        21614 21617 30003"""
    assert sorted(WORDS) == [int(code) for code in named.split()]


@pytest.mark.parametrize("body", [b"", b"null", b'{"sid": 5}', b'{"sid": "CA1"}'])
async def test_an_answer_that_is_none_is_told(body: bytes) -> None:
    async with vendor(Answer(201, body)) as twilio, client(twilio.url) as it:
        with pytest.raises(TwilioUnreachableError) as unreachable:
            await it.create_call(to=ADA, from_=DESK, twiml="<Response/>")
    assert unreachable.value.sent
    assert len(twilio.asked) == 1


async def test_nothing_private_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    busy = refusal(429, 20429)
    async with vendor(busy, Answer(201)) as twilio, client(twilio.url) as it:
        call = await it.create_call(to=ADA, from_=DESK, twiml="<Response>secret</Response>")
    assert "again in" in caplog.text
    for private in (ADA, DESK, "secret", "hush", "2" * 32):
        assert private not in f"{caplog.text} {call}"
    assert CALL in repr(call)


async def test_what_cannot_be_meant_is_not_sent() -> None:
    async with vendor() as twilio, client(twilio.url) as it:
        for given in ({}, {"twiml": "x", "url": "y"}):
            with pytest.raises(ValueError):
                await it.update_call(CALL, **given)
        with pytest.raises(TwilioRefusedError, match="4000 characters"):
            await it.update_call(CALL, twiml="x" * 4001)
        await it.fetch_call("CA1/../../x?y")
    assert twilio.asked[0].target == f"{BASE}/Calls/CA1%2F..%2F..%2Fx%3Fy.json"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(201, b'{"sid": "\xff\xfe", "status": "queued"}'),
        Answer(201, b'{"sid": "\\ud83d", "status": "queued"}'),
        Answer(201, b"<html>"),
        Answer(201, b"[" * 100_000),
        Answer(201, {"sid": 1, "status": None}),
        Answer(201, b'"' + b"x" * (rest.BODY_MAX + 1) + b'"'),
        Answer(201, b"\x1f\x8b", {"Content-Encoding": "gzip"}),
        Answer(302, b"", {"Location": "http://[::1"}),
        Answer(400, b'{"code": "\xff"}'),
        Answer(400, b'{"code": 1e999, "more_info": {}}'),
        Answer(503, b"\xff" * 100, {"Retry-After": "\u0663".encode().decode("latin-1")}),
    ],
)
async def test_an_answer_that_makes_no_sense_is_no_more_than_that(answer: Answer) -> None:
    async with vendor(answer) as twilio, client(twilio.url) as it:
        with pytest.raises((TwilioRefusedError, TwilioUnreachableError)):
            await it.create_call(to=ADA, from_=DESK, twiml="<Response/>")
        with pytest.raises((TwilioRefusedError, TwilioUnreachableError)):
            await it.fetch_call(CALL)


async def test_half_a_character_does_not_keep_a_text_from_being_sent() -> None:
    taken = Answer(201, {"sid": "SM1", "status": "queued"})
    async with vendor(taken) as twilio, client(twilio.url) as it:
        await it.send_message(to=ADA, from_=DESK, body="a \ud83d b \ud83d\ude00")
    assert dict(twilio.asked[0].form)["Body"] == "a \ufffd b \U0001f600"


def test_numbers_of_any_length_are_read_or_not() -> None:
    call = rest.RestCall(sid=CALL, status="completed", duration="9" * 5000, date_created="x")
    assert (call.duration_s, call.created_s) == (None, None)


# --- the account -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({}, "https://api.twilio.com"),
        ({"region": "ie1", "edge": "dublin"}, "https://api.dublin.ie1.twilio.com"),
        ({"edge": "ashburn"}, "https://api.ashburn.us1.twilio.com"),
        ({"api_url": "http://127.0.0.1:9/"}, "http://127.0.0.1:9"),
        ({"api_url": "https://proxy.example", "edge": "x"}, "https://proxy.example"),
    ],
)
def test_region_and_edge_make_the_host(given: dict[str, Any], origin: str) -> None:
    assert TwilioSettings(**given).rest_origin == origin


def test_without_credentials_there_is_no_client() -> None:
    with pytest.raises(UserError, match=r"E-TW-02 .*TWILIO_ACCOUNT_SID, .env"):
        TwilioSettings(auth_tokens=(SecretStr("x"),)).require_rest()
    with pytest.raises(UserError, match=r"E-TW-02 .*TWILIO_API_KEY and TWILIO_API_SECRET"):
        TwilioSettings(account_sid=ACCOUNT).require_rest()
