"""Who gets in at the operator's paths: by host, origin and token."""

import asyncio
import base64
import logging
from itertools import product
from pathlib import Path

import pytest
from tests.api.desk import TOKEN, desk

from offhook.api import throttle
from offhook.api.throttle import FAILURES_MAX
from offhook.observability.metrics.meter import Metrics

API = ("/api/v1/calls", "/api/v1/totals", "/api/v1/nothing", "/api", "/metrics")
PAGES = ("/docs", "/openapi.json")
WRONG = "a-token-of-somebody-else"
THERE = (200, 404)
"""What answers behind the doors: some of these paths have nothing."""


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


REFUSED = (
    None,
    "Bearer",
    f"Bearer {WRONG}",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN.upper()}",
    f"Token {TOKEN}",
    TOKEN,
    "Basic !!!",
    basic(WRONG)["Authorization"],
)


async def test_without_the_token_there_is_nothing_but_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ADDRESS_FAILURES_MAX", 1000)
    monkeypatch.setattr(throttle, "FAILURES_MAX", 1000)
    async with desk(tmp_path) as d:
        for path, given in product([*API, *PAGES], REFUSED):
            headers = {} if given is None else {"Authorization": given}
            answer = await d.ask(path, token=None, headers=headers)
            assert answer.status_code == 401, (path, given)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json() == {
                "type": "urn:offhook:error:E-API-03",
                "title": "Unauthorized",
                "status": 401,
                "detail": answer.json()["detail"],
                "code": "E-API-03",
                "fix": answer.json()["fix"],
            }
            scheme = "Basic" if path in PAGES else "Bearer"
            assert answer.headers["www-authenticate"] == f'{scheme} realm="Offhook"'
            assert answer.headers["cache-control"] == "no-store"
        for path in (*API, *PAGES):
            answer = await d.ask(path)
            assert answer.status_code in THERE, path
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_browser_signs_in_to_the_pages_with_the_token_as_password(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for path in PAGES:
            assert (await d.ask(path, token=None, headers=basic(TOKEN))).status_code == 200
        # What a browser remembers must not open what a foreign page could have it ask for.
        for path in API:
            assert (await d.ask(path, token=None, headers=basic(TOKEN))).status_code == 401


async def test_another_host_name_has_none_of_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for host in ("voice.example.com", "localhost.example.com", "", "[::2]:5000"):
            unknown = await d.ask("/nothing", host=host)
            assert unknown.status_code == 404
            for path in (*API, *PAGES, "/api/v1/calls/CA1/audio", "/healthz"):
                for token in (TOKEN, None):
                    answer = await d.ask(path, host=host, token=token)
                    assert answer.status_code == 404
                    if path != "/healthz":
                        assert answer.content == unknown.content
                        assert "www-authenticate" not in answer.headers
            assert (await d.ask("/api/v1/calls", method="DELETE", host=host)).status_code == 404


async def test_another_host_name_is_told_which_setting_names_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        answer = await d.ask("/api/v1/calls", host="voice.example.com")
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["code"], answer.json()["status"]) == ("E-API-20", 404)


async def test_the_configured_hosts_are_served_and_no_others(tmp_path: Path) -> None:
    async with desk(tmp_path, hosts=("Ops.example.com",)) as d:
        for host in ("ops.example.com", "OPS.example.com:5000"):
            assert (await d.ask("/api/v1/calls", host=host)).status_code == 200
        assert (await d.ask("/api/v1/calls", host="localhost")).status_code == 404


async def test_what_a_foreign_page_asks_for_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for path in (*API, *PAGES):
            for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "", "http://["):
                for method in ("GET", "OPTIONS", "POST"):
                    answer = await d.ask(path, method=method, headers={"Origin": origin})
                    assert answer.status_code == 403, (path, origin)
                    assert answer.json()["code"] == "E-API-04"
                    assert "access-control-allow-origin" not in answer.headers
            answer = await d.ask(path, headers={"Origin": d.url})
            assert answer.status_code in THERE


ODD = [
    template.replace("PATH", path)
    for path in ("/api/v1/calls", "/docs", "/openapi.json", "/metrics")
    for template in (
        "PATH%0A",
        "PATH%0a%0a",
        "PATH%0D",
        "PATH%00",
        "PATH%20",
        "PATH/",
        "PATH//",
        "/PATH",
        "//PATH",
        "/.PATH",
        "/twilio/..PATH",
        "/twilio/%2e%2ePATH",
        "/twilio/voice/..PATH",
        "/healthz/..PATH",
        "/%2FPATH",
        "/PATH%2F",
        "PATH;x=y",
        "/;PATH",
        "PATH%3F",
        "PATH?x=/healthz",
        "PATH%23",
        "/%5C..PATH",
        "http://127.0.0.1PATH",
        "http://127.0.0.1:1/healthz/..PATH",
    )
] + [
    "/METRICS",
    "/Metrics",
    "/%6Detrics",
    "/%6detrics%0a",
    "/API/calls",
    "/%61pi/calls",
    "/api%2Fcalls",
    "/api//calls",
    "/apix",
    "/readyz%0A/../metrics",
    "/healthz%0A",
    "/twilio/voice%0A",
]
INSIDE = (b"offhook_", b'"calls"', b"openapi", b"<html", b"sumCalls")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {WRONG}"},
        {"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"},
        {"Authorization": f"Bearer {TOKEN}", "Host": "voice.example.com"},
    ],
    ids=["no token", "a wrong token", "a foreign page", "another host"],
)
async def test_no_spelling_of_a_path_opens_anything(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    """Over a bare socket: a client would tidy the paths up."""
    given = "".join(
        f"{name}: {value}\r\n" for name, value in ({"Host": "127.0.0.1"} | headers).items()
    )
    async with desk(tmp_path) as d:
        ports = (d.port, d.whole.server.port)
        for port, target in ((port, target) for port in ports for target in ODD):
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                request = f"{method} {target} HTTP/1.1\r\n{given}Connection: close\r\n\r\n"
                writer.write(request.encode())
                answer = await reader.read()
                writer.close()
                status = int(answer.split(b" ", 2)[1])
                assert status in (400, 401, 403, 404, 405, 429), (method, target, answer)
                assert not any(word in answer for word in INSIDE), (method, target)


async def test_everything_that_is_not_public_is_asked_for_the_token(tmp_path: Path) -> None:
    """Also what is not there: a path that is added later is behind the doors already."""
    async with desk(tmp_path) as d:
        for path in (
            "/nothing",
            "/assets/x.js",
            "/livex",
            "/metrics/new",
            "/twilio",
            "/healthz/",
            "/static/x.js",
        ):
            assert (await d.ask(path, token=None)).status_code == 401
            assert (await d.ask(path)).status_code == 404


async def test_wrong_tokens_are_counted_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as d:
        with caplog.at_level(logging.WARNING):
            for _ in range(FAILURES_MAX):
                assert (await d.ask("/api/v1/calls", token=WRONG)).status_code == 401
            for token in (WRONG, TOKEN):
                answer = await d.ask("/api/v1/calls", token=token)
                assert answer.status_code == 429
                assert answer.json()["code"] == "E-API-05"
                assert 0 < int(answer.headers["retry-after"]) <= 61
        said = [r.getMessage() for r in caplog.records if "E-API-02" in r.getMessage()]
        assert len(said) == 1
        assert WRONG not in caplog.text
        assert TOKEN not in caplog.text


async def test_asking_without_a_token_does_not_count(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for _ in range(FAILURES_MAX + 5):
            assert (await d.ask("/api/v1/calls", token=None)).status_code == 401
        assert (await d.ask("/api/v1/calls")).status_code == 200


async def test_metrics_need_the_same_authentication(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        answer = await d.ask("/metrics")
        assert answer.status_code == 200
        assert "offhook_calls_live" in answer.text
        assert answer.headers["content-type"] == Metrics.content_type
        assert answer.headers["cache-control"] == "no-store"


async def test_twilios_paths_and_health_stay_as_they_are(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        assert (await d.ask("/healthz", token=None)).text == "ok\n"
        assert (await d.ask("/readyz", token=None)).status_code == 200
        answer = await d.whole.post("/twilio/voice")
        assert answer.status_code == 200
        assert "cache-control" not in answer.headers
