"""Which webhooks and upgrades are believed, what the others are told, counted and logged as."""

import dataclasses
import logging
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.requests import Request

from offhook.config import load
from offhook.net.websocket import Upgrade
from offhook.observability.metrics.meter import Metrics
from offhook.twilio.signature import HEADER, SETTINGS_HEADER, settings_of, sign, sign_with_key
from offhook.webhooks.auth import TwilioAuth, UnbelievedRequestError, host_name, wss

TOKEN, KEY, SECRET = "canary-token", "KEY_1", "canary-secret"
ORIGIN = "https://voice.example.com"
ACCOUNT_FIELDS = [("AccountSid", "AC" + "1" * 32), ("CallSid", "CA" + "2" * 32)]


class Refusals(Metrics):
    """Counts refusals alone."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def refused(self, request: str, why: str) -> None:
        self.told.append((request, why))

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Nothing is asked about this here."""


def auth(metrics: Metrics, *, unsigned: bool = False, account: str | None = None) -> TwilioAuth:
    config = load(
        None,
        {
            "TWILIO_AUTH_TOKEN": TOKEN,
            "TWILIO_SIGNING_SECRETS": f"{KEY}={SECRET}",
            **({"TWILIO_ACCOUNT_SID": account} if account else {}),
        },
    )
    server = config.server.model_copy(update={"unsigned": unsigned})
    return TwilioAuth(dataclasses.replace(config, server=server), metrics)


def request(
    path: str = "/twilio/status",
    fields: list[tuple[str, str]] = ACCOUNT_FIELDS,
    *,
    host: str = "voice.example.com",
    sign_as: str | None = None,
    headers: dict[str, str] | None = None,
) -> Request:
    signed = f"https://{host}{path}" if sign_as is None else sign_as
    body = urlencode(fields).encode()
    given = {"host": host, HEADER: sign(TOKEN, signed, fields), **(headers or {})}
    path, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "raw_path": path.encode(),
        "path": path,
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in {"content-length": str(len(body)), **given}.items()
        ],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


async def test_a_signed_form_is_read_with_the_one_value_of_its_query() -> None:
    told = Refusals()
    fields = [*ACCOUNT_FIELDS, ("CallStatus", "completed"), ("Other", "x")]
    form = await auth(told).form(request("/twilio/status?left=3", fields), ("CallStatus",))
    assert form == {**dict(ACCOUNT_FIELDS), "CallStatus": "completed", "left": "3"}
    assert told.told == []


async def test_a_shared_key_signs_as_well() -> None:
    signature = sign_with_key(SECRET, f"{ORIGIN}/twilio/status", ACCOUNT_FIELDS)
    headers = {HEADER: signature, SETTINGS_HEADER: settings_of(KEY)}
    assert await auth(Refusals()).form(request(headers=headers), ()) == dict(ACCOUNT_FIELDS)


@pytest.mark.parametrize(
    ("asked", "status", "words", "why"),
    [
        (request(sign_as="https://other.example.com/"), 403, "missing or wrong", "signature"),
        (request(headers={HEADER: "short"}), 403, "missing or wrong", "signature"),
        (
            request(headers={SETTINGS_HEADER: settings_of("KEY_2")}),
            403,
            "an unknown key",
            "an unknown signing key",
        ),
        (request(fields=ACCOUNT_FIELDS[:1]), 400, "CallSid is missing", "a misread field"),
        (request("/twilio/after?left=12345678"), 400, "a query is cut", "a misread field"),
    ],
)
async def test_what_is_not_believed_is_counted(
    asked: Request, status: int, words: str, why: str
) -> None:
    told = Refusals()
    with pytest.raises(UnbelievedRequestError) as refused:
        await auth(told).form(asked, ())
    assert (refused.value.status, len(told.told)) == (status, 1)
    assert words in refused.value.words
    assert told.told[0][0] == "webhook"
    assert why in told.told[0][1]


async def test_a_foreign_account_is_refused() -> None:
    told = Refusals()
    with pytest.raises(UnbelievedRequestError, match="not our account"):
        await auth(told, account="AC" + "9" * 32).form(request(), ())
    assert told.told == [("webhook", "a foreign account")]


async def test_a_body_that_is_too_large_is_not_read() -> None:
    with pytest.raises(UnbelievedRequestError) as refused:
        await auth(Refusals()).form(request(headers={"content-length": "1000000"}), ())
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("host", "headers", "believed"),
    [
        ("localhost:5000", {}, True),
        ("127.0.0.1", {}, True),
        ("[::1]:80", {}, True),
        ("voice.example.com", {}, False),
        ("localhost", {"x-forwarded-for": "1.2.3.4"}, False),
        ("localhost", {"origin": "http://localhost"}, False),
    ],
)
async def test_unsigned_believes_this_machine_alone(
    host: str, headers: dict[str, str], believed: bool
) -> None:
    told = Refusals()
    local = auth(told, unsigned=True)
    upgrade = Upgrade("/twilio", {"host": host, **headers}, "203.0.113.1")
    if believed:
        assert await local.form(request(host=host, headers=headers), ()) == dict(ACCOUNT_FIELDS)
        local.check_upgrade(upgrade)
    else:
        with pytest.raises(UnbelievedRequestError):
            await local.form(request(host=host, headers=headers), ())
        with pytest.raises(UnbelievedRequestError):
            local.check_upgrade(upgrade)
    assert len(told.told) == (0 if believed else 2)


def test_an_upgrade_is_signed_for_its_wss_address(caplog: pytest.LogCaptureFixture) -> None:
    told = Refusals()
    headers = {"host": "voice.example.com", HEADER: sign(TOKEN, wss(ORIGIN) + "/twilio")}
    auth(told).check_upgrade(Upgrade("/twilio", headers, "203.0.113.1"))
    assert told.told == []
    with caplog.at_level(logging.WARNING), pytest.raises(UnbelievedRequestError):
        auth(told).check_upgrade(Upgrade("/other?token=canary", headers, "203.0.113.1"))
    assert told.told == [("upgrade", "a wrong signature")]
    assert "E-SEC-01 403" in caplog.text
    assert "canary" not in caplog.text, "a query may be a secret"


@pytest.mark.parametrize(
    ("host", "name"),
    [("A.example.com:443", "a.example.com"), ("[::1]:5000", "::1"), ("[::1]", "::1"), ("", "")],
)
def test_the_name_of_a_host(host: str, name: str) -> None:
    assert host_name({"host": host}) == name
