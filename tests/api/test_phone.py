"""Calls from the console's softphone, over real sockets."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.api.desk import TOKEN, Desk, desk
from tests.page import ConsolePage, OpenedPhone, begin
from tests.waiting import until
from tests.whole_server import (
    ACCOUNT,
    ASK,
    GREET,
    HANG_UP,
    QUICK,
    RawStream,
    texts,
)
from tests.whole_server import TOKEN as TWILIO_TOKEN

from offhook.api import auth, streams
from offhook.calls.lookup import LookupResult
from offhook.config import Agent, Config, Prices, TwilioSettings
from offhook.config.inbound_settings import InboundSettings, UseSettings
from offhook.events.types import (
    AgentSaid,
    CallBegan,
    CallEnded,
    CallerSaid,
    LookedUp,
    ProtocolViolation,
)
from offhook.link import orders
from offhook.link.streams import TOKEN_S
from offhook.net.websocket import UpgradeRefusedError
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.tools.declare import Call
from offhook.twilio import messages
from offhook.users.principal import Principal, Role
from offhook.webhooks import pending_streams

STAYS = (GREET, ScenarioStep(wait=600))


def page_of(d: Desk) -> ConsolePage:
    return ConsolePage(d.url, d.whole.http, {"Authorization": f"Bearer {TOKEN}"})


def live(d: Desk) -> int:
    return d.whole.server.calls.registry.live_count


async def ended_as(d: Desk, call_sid: str, slug: str) -> None:
    await until(lambda: d.whole.endings(call_sid))
    assert d.whole.endings(call_sid) == [slug]


async def refused(d: Desk, body: Any) -> tuple[int, str]:
    answer = await page_of(d).post("/api/v1/phone-calls", body)
    if answer.status_code == 429:
        assert int(answer.headers["retry-after"]) > 0
    return answer.status_code, answer.json().get("code", "")


async def on_the_line(d: Desk, page: ConsolePage) -> tuple[OpenedPhone, RawStream]:
    """A call whose stream has begun, in the test's hands."""
    opened = await page.open_phone()
    raw = await page.socket(opened.stream)
    begin(raw, opened)
    registry = d.whole.server.calls.registry
    await until(lambda: registry.live[opened.call_sid].has_stream)
    return opened, raw


async def test_a_call_from_the_browser_is_a_call_like_every_other(tmp_path: Path) -> None:
    announced: dict[str, Any] = {
        "recording": True,
        "announcement": {"say": "This call is recorded."},
    }
    async with desk(tmp_path, script=QUICK, **announced) as d:
        call = await page_of(d).call(GREET, ASK, GREET, HANG_UP, name="Ada")
        await d.whole.until_ended()
        events = d.whole.events(call.call_sid)
        assert d.whole.endings() == ["caller_hung_up"]
        assert texts(events, CallerSaid)
        assert texts(events, AgentSaid)
        assert call.stream.echoes, "marks come back"
        (began,) = [event for event in events if isinstance(event, CallBegan)]
        assert (began.by, began.from_, began.direction) == ("browser", "API token", "inbound")
        await d.until_stored()
        record = (await d.ask(f"/api/v1/calls/{call.call_sid}")).json()
        assert record["call"]["came_by"] == "browser"
        assert record["variables"]["name"] == "Ada"
        assert record["call"]["recording"] is not None
        meters = record["meters"]
        assert (meters["twilio_ms"], meters["stream_ms"]) == (None, 0), "Twilio charges nothing"
        assert meters["deepgram_ms"] > 0


IMPOSSIBLE: tuple[tuple[Any, int, str], ...] = (
    ({"agent": "seeed"}, 404, "E-PHONE-01"),
    ({"agent": "\x1b[31m" + "x" * 100}, 404, "E-PHONE-01"),
    ({"variables": {"a name": "Ada"}}, 422, "E-PHONE-02"),
    ({"variables": {f"n{n}": "x" for n in range(100)}}, 422, "E-PHONE-02"),
    ({"variables": {"name": {}}}, 422, "E-API-08"),
    ({"agent": "x" * 300_000}, 413, "E-API-06"),
    ([], 422, "E-API-08"),
    (None, 422, "E-API-08"),
)


async def test_a_request_that_cannot_be_done_begins_no_call(tmp_path: Path) -> None:
    async with desk(tmp_path, script=QUICK) as d:
        for body, status, code in IMPOSSIBLE:
            assert await refused(d, body) == (status, code), str(body)[:80]
        assert live(d) == 0
        assert d.whole.events() == []


# --- limits -----------------------------------------------------------------------------------


async def test_it_counts_against_the_capacity_from_the_request_on(tmp_path: Path) -> None:
    async with desk(tmp_path, script=QUICK, capacity=1) as d:
        page = page_of(d)
        opened = await page.open_phone()
        assert await refused(d, {}) == (429, "E-PHONE-03")
        busy = await d.whole.call(GREET, HANG_UP)
        assert not busy.streams, "the telephone gets the busy answer"
        call = await page.dial(opened, *STAYS)
        assert await refused(d, {}) == (429, "E-PHONE-03")
        call.stream.hang_up()
        await d.whole.until_ended()
        await page.open_phone()
        text = (await d.ask("/metrics")).text
        assert 'offhook_calls_refused_total{request="browser",reason="at capacity"} 2.0' in text
        assert 'offhook_calls_admitted_total{by="browser"} 2.0' in text


async def test_the_sessions_of_deepgram_are_counted(tmp_path: Path) -> None:
    async with desk(tmp_path, script=QUICK, max_sessions=1) as d:
        await page_of(d).open_phone()
        assert await refused(d, {}) == (429, "E-PHONE-03")


LIMITS = {
    "calls of an hour": InboundSettings(calls_per_hour=1),
    "minutes of a caller": InboundSettings(minutes=UseSettings(per_caller_day=0.000_01)),
    "minutes of all": InboundSettings(minutes=UseSettings(per_day=0.000_01)),
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_limits_of_inbound_hold_for_each_user(
    tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(config: Config) -> Config:
        return dataclasses.replace(config, inbound=LIMITS[limit])

    async with desk(tmp_path, script=QUICK, change=limited) as d:
        await page_of(d).call(GREET, HANG_UP)
        await d.whole.until_ended()
        assert await refused(d, {}) == (429, "E-PHONE-04")
        monkeypatch.setattr(auth, "API_TOKEN", Principal("somebody", Role.OPERATOR))
        other, _ = await refused(d, {})
        assert other == (429 if limit == "minutes of all" else 201)


async def test_the_limit_of_a_call_ends_it(tmp_path: Path) -> None:
    def limited(config: Config) -> Config:
        spend = InboundSettings(minutes=UseSettings(per_call=0.02))
        return dataclasses.replace(config, inbound=spend)

    async with desk(tmp_path, script=QUICK, change=limited) as d:
        await page_of(d).call(*STAYS)
        assert d.whole.endings() == ["spend_limit"]


async def test_spend_counts_what_a_browser_costs_and_no_telephone(tmp_path: Path) -> None:
    def limited(config: Config) -> Config:
        prices = Prices(
            currency="USD", twilio_minute=9.0, stream_minute=9.0, deepgram_minute={"standard": 0.06}
        )
        records = config.records.model_copy(update={"prices": prices})
        spend = InboundSettings(spend=UseSettings(per_call=0.001, per_day=8.0))
        return dataclasses.replace(config, inbound=spend, records=records)

    async with desk(tmp_path, script=QUICK, change=limited) as d:
        call = await page_of(d).call(*STAYS)
        assert d.whole.endings() == ["spend_limit"]
        ended = [event for event in d.whole.events(call.call_sid) if isinstance(event, CallEnded)]
        assert ended[0].duration_ms > 500, "a second of Deepgram's costs the limit of a call"
        await page_of(d).open_phone()  # a begun minute of Twilio's would have used the day up


async def test_a_lookup_is_asked_as_for_a_withheld_number_and_the_page_has_precedence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Call] = []

    async with desk(tmp_path, script=QUICK, capacity=1) as d:
        calls = d.whole.server.calls

        async def find(agent: Agent, call: Call) -> LookupResult:
            asked.append(call)
            assert calls.registry.limit_reached is not None, "it counts while it is looked up"
            return LookupResult({"name": "Grace", "debt": "12.5"}, LookedUp("answered", "", 1))

        monkeypatch.setattr(calls.browser, "_look_up", find)
        opened = await page_of(d).open_phone(name="Ada")
        (call,) = asked
        assert (call.sid, call.caller, call.called) == (opened.call_sid, None, None)
        assert call.variables["name"] == "Ada"
        events = d.whole.events(opened.call_sid)
        (began,) = [event for event in events if isinstance(event, CallBegan)]
        values = json.loads(began.variables)
        assert (values["name"], values["debt"]) == ("Ada", "12.5")
        assert [event.outcome for event in events if isinstance(event, LookedUp)] == ["answered"]


async def test_the_page_is_told_what_it_is_to_announce(tmp_path: Path) -> None:
    announced: dict[str, Any] = {
        "announcement": {"say": "This call is recorded, {{name}}.", "language": "en-GB"}
    }
    async with desk(tmp_path, script=QUICK, **announced) as d:
        opened = await page_of(d).open_phone(name="Ada")
        words = "This call is recorded, Ada."
        assert opened.announcement == {"say": words, "language": "en-GB"}
        entry = d.whole.server.calls.registry.live[opened.call_sid]
        left = entry.expected_until - entry.began
        assert left > TOKEN_S, "the time in which it is said is added"
        page = page_of(d)
        call = await page.dial(opened, GREET, HANG_UP)
        await call.ended.wait()


# --- tokens -----------------------------------------------------------------------------------


async def status_of(page: ConsolePage, path: str, **headers: str) -> int:
    try:
        raw = await page.socket(path, {**page.headers, **headers} if headers else None)
    except UpgradeRefusedError as error:
        return error.status
    raw.channel.close()
    return 101


async def test_a_stream_is_opened_once_by_its_user_from_its_own_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, script=QUICK) as d:
        page = page_of(d)
        opened = await page.open_phone()
        with monkeypatch.context() as other:
            other.setattr(auth, "API_TOKEN", Principal("somebody", Role.ADMIN))
            assert await status_of(page, opened.stream) == 403
        assert await status_of(page, opened.stream, Origin="https://evil.example") == 403
        assert await status_of(page, opened.stream, Authorization="Bearer wrong") == 401
        assert await status_of(page, opened.stream, Host="evil.example") == 404
        for path in ("/console/streams/unknown", "/console/streams/", "/twilio", "/"):
            assert await status_of(page, path) == 404
        call = await page.dial(opened, *STAYS)
        assert await status_of(page, opened.stream) == 404, "it is used"
        assert not call.ended.is_set()


async def test_a_stream_that_nobody_opens_is_the_end_of_its_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "TOKEN_S", 0.3)
    async with desk(tmp_path, script=QUICK) as d:
        page = page_of(d)
        opened = await page.open_phone()
        await d.whole.until_ended()
        (ended,) = [event for event in d.whole.events() if isinstance(event, CallEnded)]
        assert (ended.slug, ended.fault) == ("stream_never_came", "caller")
        assert live(d) == 0
        # The page's path may expire a moment after the call's token.
        assert await status_of(page, opened.stream) in (404, 101)
        assert live(d) == 0


# --- what a page may do wrong -----------------------------------------------------------------

BEFORE: dict[str, Callable[[RawStream, OpenedPhone], None]] = {
    "nothing": lambda raw, opened: None,
    "garbage": lambda raw, opened: raw.channel.send_text(b"\x00garbage"),
    "a list": lambda raw, opened: raw.channel.send_text(b"[1]"),
    "audio": lambda raw, opened: raw.speak(1),
    "the start of another call": lambda raw, opened: begin(
        raw, dataclasses.replace(opened, call_sid="CA" + "9" * 32)
    ),
    "the start of another stream": lambda raw, opened: begin(
        raw, dataclasses.replace(opened, stream_sid="MZ" + "9" * 32)
    ),
    "a foreign account": lambda raw, opened: begin(
        raw, dataclasses.replace(opened, account_sid="AC" + "9" * 32)
    ),
    "a close": lambda raw, opened: raw.channel.close(),
}


async def test_a_page_that_does_not_begin_its_call_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, script=QUICK) as d:
        page = page_of(d)
        other = await page.dial(await page.open_phone(), *STAYS)
        await until(lambda: live(d) == 1)
        for what, do in BEFORE.items():
            with monkeypatch.context() as impatient:
                if what == "nothing":
                    impatient.setattr(pending_streams, "PATIENCE_S", 0.1)
                opened = await page.open_phone()
                raw = await page.socket(opened.stream)
                do(raw, opened)
                closed = await raw.end()
            sid = opened.call_sid
            await ended_as(d, sid, "stream_never_came")
            if what != "a close":
                assert closed.received == 1008, what
                assert closed.reason, what
            assert live(d) == 1
        assert not other.ended.is_set()


def flood(raw: RawStream, opened: OpenedPhone) -> None:
    for _ in range(streams.MESSAGES_MAX + 1):
        raw.speak(1, opened.stream_sid)


def heavy(raw: RawStream, opened: OpenedPhone) -> None:
    for _ in range(streams.BYTES_MAX // 60_000 + 1):
        raw.channel.send_text(json.dumps({"event": "x", "y": "z" * 60_000}).encode())


def garbage(raw: RawStream, opened: OpenedPhone) -> None:
    for _ in range(25):
        raw.channel.send_text(b"garbage")


DURING: dict[str, tuple[Callable[[RawStream, OpenedPhone], None], int, str]] = {
    "a flood": (flood, 1008, "caller_leg_lost"),
    "a heavy flood": (heavy, 1008, "caller_leg_lost"),
    "a megabyte": (
        lambda raw, opened: raw.channel.send_text(b"x" * 1_000_000),
        1009,
        "caller_leg_lost",
    ),
    "a binary message": (
        lambda raw, opened: raw.channel.send_binary(b"\xff" * 160),
        1003,
        "caller_leg_lost",
    ),
    "garbage": (
        garbage,
        1000,
        "caller_leg_garbage",
    ),
    "streams of others": (
        lambda raw, opened: raw.speak(25, "MZ" + "9" * 32),
        1000,
        "caller_leg_garbage",
    ),
    "nothing more": (lambda raw, opened: raw.channel.abort(), 0, "caller_leg_lost"),
    "stop": (
        lambda raw, opened: raw.send(messages.Stop(stream_sid=opened.stream_sid)),
        1000,
        "caller_hung_up",
    ),
}


async def test_a_page_that_misbehaves_ends_its_own_call_alone(tmp_path: Path) -> None:
    async with desk(tmp_path, script=QUICK) as d:
        page = page_of(d)
        other = await page.dial(await page.open_phone(), *STAYS)
        for what, (do, code, slug) in DURING.items():
            opened, raw = await on_the_line(d, page)
            do(raw, opened)
            closed = await raw.end()
            sid = opened.call_sid
            await ended_as(d, sid, slug)
            if code:
                assert closed.received == code, what
            (ended,) = [e for e in d.whole.events(sid) if isinstance(e, CallEnded)]
            assert ended.fault in ("caller", "nobody"), "no fault of Twilio's, which has no part"
            assert "Twilio" not in ended.words
            assert live(d) == 1
        assert not other.ended.is_set()


async def test_line_breaks_in_a_message_are_blanks(tmp_path: Path) -> None:
    async with desk(tmp_path, script=QUICK) as d:
        opened, raw = await on_the_line(d, page_of(d))
        key = {"event": "dtmf", "streamSid": opened.stream_sid, "dtmf": {"digit": "5"}}
        raw.channel.send_text(json.dumps(key, indent=2).encode())
        raw.send(messages.Stop(stream_sid=opened.stream_sid))
        await d.whole.until_ended()
        kinds = [type(event).__name__ for event in d.whole.events(opened.call_sid)]
        assert "KeyPressed" in kinds
        assert not any(isinstance(event, ProtocolViolation) for event in d.whole.events())


# --- what takes a telephone -------------------------------------------------------------------


@asynccontextmanager
async def counting_twilio() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A REST API that counts whoever asks it, and refuses."""
    asked: list[bytes] = []

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(on_client, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_twilio_is_asked_nothing_and_what_needs_it_is_refused_in_words(
    tmp_path: Path,
) -> None:
    desks = {"front": {"to": "+12025550143", "warm": False}}
    async with counting_twilio() as (api_url, asked):
        account = TwilioSettings(
            account_sid=ACCOUNT, auth_tokens=(SecretStr(TWILIO_TOKEN),), api_url=api_url
        )

        def changed(config: Config) -> Config:
            server = config.server.model_copy(update={"public_url": "https://phone.example"})
            return dataclasses.replace(config, twilio=account, server=server)

        options: dict[str, Any] = {"transfer": {"destinations": desks}, "change": changed}
        async with desk(tmp_path, script=QUICK, **options) as d:
            page = page_of(d)
            call = await page.dial(await page.open_phone(), *STAYS)
            await until(lambda: texts(d.whole.events(call.call_sid), AgentSaid))
            path = f"/api/v1/calls/{call.call_sid}"
            for operation, body in (
                ("transfer", {"destination": "front"}),
                ("digits", {"digits": "12"}),
            ):
                answer = await page.post(f"{path}/{operation}", body)
                assert answer.status_code == 409, answer.text
                assert "this call comes from a browser" in answer.text
            answer = await page.post(f"{path}/hang-up", {})
            assert answer.status_code == 200, answer.text
            await d.whole.until_ended()
            assert d.whole.endings() == ["operator_hung_up"]
            await call.ended.wait()
            assert call.stream.closed is not None
            assert call.stream.closed.received == 1000
            assert asked == []


async def test_a_server_that_stops_lets_the_call_finish_and_takes_no_other(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, script=QUICK) as d:
        page = page_of(d)
        call = await page.dial(await page.open_phone(), GREET, ASK, GREET, ScenarioStep(wait=600))
        await until(lambda: texts(d.whole.events(), AgentSaid))
        d.whole.server.stop()
        await until(lambda: d.whole.server.calls.registry.is_draining)
        assert await refused(d, {}) == (429, "E-PHONE-03")
        await until(lambda: texts(d.whole.events(), CallerSaid))
        assert not call.ended.is_set()
        d.whole.server.stop()
        await d.whole.until_stopped()
        assert d.whole.endings() == ["shut_down"]
        await call.ended.wait()
