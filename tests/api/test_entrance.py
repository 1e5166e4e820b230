"""Signing in and out, what a session's cookie may do, and what is tried with one."""

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import httpx2
import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from tests.api.desk import TOKEN, Desk, desk
from tests.page import ConsolePage, begin
from tests.waiting import GIVEN_UP_AFTER_S, until
from tests.whole_server import QUICK

from offhook.api.paths import SESSION
from offhook.api.signed_in import COOKIE, SignedIn
from offhook.api.throttle import FAILURES_MAX
from offhook.config import Config
from offhook.events.types import CallEvent, KeyPressed
from offhook.net.websocket import Refusal, Upgrade
from offhook.records import tables
from offhook.records.database import clock_ms
from offhook.users import accounts, audit, passwords, sessions
from offhook.users.accounts import User
from offhook.users.principal import API_TOKEN, Principal, Role

PASSWORD = "four words of mine"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash at little cost; tests/users/test_passwords.py has the real parameters."""
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", cheap)
    monkeypatch.setattr(passwords, "NO_ONES", cheap.hash("nobody's"))


def add(d: Desk, name: str, role: Role = Role.OPERATOR, password: str = PASSWORD) -> None:
    with d.engine.begin() as connection:
        accounts.add(connection, User(name, role, 0, passwords.hash_of(password)))


def link(d: Desk, age_ms: int = 0) -> str:
    with d.engine.begin() as connection:
        return sessions.make_link(connection, clock_ms(connection) - age_ms)


async def enter(d: Desk, *, headers: dict[str, str] | None = None, **body: str) -> httpx2.Response:
    d.whole.http.cookies.clear()
    return await d.ask(SESSION, method="POST", token=None, headers=headers, body=body)


def secret_in(answer: httpx2.Response) -> str:
    return answer.headers["set-cookie"].partition(";")[0].removeprefix(f"{COOKIE}=")


async def ask(d: Desk, path: str, secret: str, **options: Any) -> httpx2.Response:
    """Ask with a session's cookie, and with the token that goes with it unless told otherwise."""
    d.whole.http.cookies.clear()
    given = {"Cookie": f"{COOKIE}={secret}", "X-Offhook-CSRF": sessions.csrf_of(secret)}
    headers = given | options.pop("headers", {})
    return await d.ask(path, token=None, headers=headers, **options)


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def audited(d: Desk) -> list[tuple[str, str, str, int]]:
    with d.engine.connect() as connection:
        found = audit.entries(connection, 100)
    return [(entry.who, entry.what, entry.about, entry.status) for entry in reversed(found)]


async def test_a_link_signs_in_once_as_an_admin(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        code = link(d)
        answers = await asyncio.gather(*(enter(d, code=code) for _ in range(5)))
        assert sorted(one.status_code for one in answers) == [200, 401, 401, 401, 401]
        good = next(one for one in answers if one.status_code == 200)
        assert all(code_of(one) == (401, "E-API-25") for one in answers if one is not good)
        cookie = good.headers["set-cookie"].lower()
        for part in ("httponly", "samesite=strict", "path=/;", "max-age=604800"):
            assert part in cookie + ";"
        assert "secure" not in cookie
        assert "domain" not in cookie
        secret = secret_in(good)
        shown = (await ask(d, SESSION, secret)).json()
        assert shown == good.json()
        assert (shown["name"], shown["role"]) == ("sign-in link", "admin")
        assert shown["csrf"] == sessions.csrf_of(secret)
        assert code_of(await enter(d, code=code)) == (401, "E-API-25")
        assert code_of(await enter(d, code=link(d, age_ms=15 * 60_000))) == (401, "E-API-25")
        assert code_of(await enter(d, code="x" * 43)) == (401, "E-API-25")


async def test_a_password_signs_in_with_its_user_s_role(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        add(d, "ada", Role.VIEWER)
        for name, password in (
            ("ada", PASSWORD + "!"),
            ("ada", PASSWORD.upper()),
            ("ada", ""),
            ("Ada", PASSWORD),
            ("nobody", PASSWORD),
            ("", ""),
            ("ada' OR '1'='1", PASSWORD),
            ("ada\x00", PASSWORD),
            ("sign-in link", PASSWORD),
        ):
            answer = await enter(d, name=name, password=password)
            assert code_of(answer) == (401, "E-API-28"), name
            assert "set-cookie" not in answer.headers
        answer = await enter(d, name="ada", password=PASSWORD)
        assert answer.status_code == 200
        assert (answer.json()["name"], answer.json()["role"]) == ("ada", "viewer")
        assert audited(d)[-1] == ("ada", "signIn", "", 200)
        assert {who for who, *_ in audited(d)[:-1]} == {"ada", ""}, "no name that nobody has"


NO_WAY_IN = (
    "{}",
    "[]",
    "null",
    '{"code": null}',
    '{"code": "x", "name": "ada", "password": "y"}',
    '{"name": "ada"}',
    '{"code": ["x"]}',
    '{"code": "' + "x" * 1000 + '"}',
    '{"name": "ada", "password": "' + "x" * 2000 + '"}',
    '{"name": "ada", "password": "y", "role": "admin"}',
    "{",
    "\udcff",
)


async def test_what_is_no_way_to_sign_in_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for body in NO_WAY_IN:
            answer = await d.whole.http.request(
                "POST",
                d.url + SESSION,
                content=body.encode("utf-8", "surrogateescape"),
                headers={"Content-Type": "application/json"},
            )
            assert code_of(answer) in ((422, "E-API-08"), (400, "E-API-07")), body
        assert audited(d) == []


async def test_the_cookie_is_for_tls_alone_where_the_page_came_by_it(tmp_path: Path) -> None:
    async with desk(tmp_path, hosts=("ops.example.com",)) as d:
        headers = {"Host": "ops.example.com", "Origin": "https://ops.example.com"}
        answer = await enter(d, code=link(d), headers=headers)
        assert "; secure" in answer.headers["set-cookie"].lower()


async def test_a_session_ends_by_sign_out_age_removal_and_a_new_password(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        add(d, "ada")

        async def begun() -> str:
            secret = secret_in(await enter(d, name="ada", password=PASSWORD))
            assert (await ask(d, SESSION, secret)).status_code == 200
            return secret

        async def is_over(secret: str) -> None:
            assert code_of(await ask(d, SESSION, secret)) == (401, "E-API-23")

        secret, other = await begun(), await begun()
        gone = await ask(d, SESSION, secret, method="DELETE")
        assert gone.status_code == 204
        assert f'{COOKIE}=""' in gone.headers["set-cookie"]
        await is_over(secret)
        assert (await ask(d, SESSION, other)).status_code == 200
        changed = {"password": PASSWORD + "!"}
        await d.ask("/api/v1/users/ada", method="PUT", body=changed)
        await is_over(other)
        assert code_of(await enter(d, name="ada", password=PASSWORD)) == (401, "E-API-28")
        secret = secret_in(await enter(d, name="ada", password=PASSWORD + "!"))
        with d.engine.begin() as connection:
            connection.execute(update(tables.sessions).values(expires_ms=clock_ms(connection) - 1))
        # Not known in memory: as after a restart, or two seconds later.
        d.api.auth._signed_in.forget(secret)
        await is_over(secret)
        secret = secret_in(await enter(d, name="ada", password=PASSWORD + "!"))
        await d.ask("/api/v1/users/ada", method="DELETE")
        await is_over(secret)


async def test_no_session_that_somebody_else_chose_is_signed_in(tmp_path: Path) -> None:
    """Fixation: a cookie that was put there before counts for nothing afterwards."""
    async with desk(tmp_path) as d:
        add(d, "ada")
        theirs = secret_in(await enter(d, code=link(d)))
        for planted in (theirs, "chosen", "x" * 4000, '"quoted"'):
            headers = {"Cookie": f"{COOKIE}={planted}"}
            answer = await enter(d, name="ada", password=PASSWORD, headers=headers)
            assert answer.status_code == 200
            assert secret_in(answer) != planted
            assert code_of(await ask(d, SESSION, planted)) == (401, "E-API-23")
        # Of two cookies one may be planted, whichever comes first; the same twice is one.
        mine = secret_in(await enter(d, name="ada", password=PASSWORD))
        other = secret_in(await enter(d, name="ada", password=PASSWORD))
        for pair in ((mine, other), (other, mine), (mine, "x")):
            cookies = "; ".join(f"{COOKIE}={one}" for one in pair)
            answer = await d.ask(SESSION, token=None, headers={"Cookie": cookies})
            assert answer.status_code == 401, pair
        cookies = f"a=b; {COOKIE}={mine}; {COOKIE}={mine};;="
        answer = await d.ask(SESSION, token=None, headers={"Cookie": cookies})
        assert answer.status_code == 200


async def test_a_cookie_that_opens_nothing_is_not_counted_as_a_guess(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for odd in ("", "x", "%00", "a=b", "x" * 8000, f"Bearer {TOKEN}", TOKEN):
            answer = await ask(d, "/api/v1/calls", odd)
            assert answer.status_code == 401, odd
        for _ in range(FAILURES_MAX + 2):
            assert (await ask(d, "/api/v1/calls", "stale")).status_code == 401
        assert (await d.ask("/api/v1/calls")).status_code == 200


CHANGES = (
    ("POST", "/api/v1/calls"),
    ("POST", "/api/v1/calls/CA1/hang-up"),
    ("DELETE", "/api/v1/calls/CA1"),
    ("POST", "/api/v1/agents/reload"),
    ("PUT", "/api/v1/users/ada"),
    ("DELETE", SESSION),
    ("PATCH", "/api/v1/calls"),
    ("OPTIONS", "/api/v1/calls"),
)


def forgeries(secret: str, other: str) -> Iterator[dict[str, str]]:
    """What a page of another site, or one that knows another session, can send along."""
    yield {"X-Offhook-CSRF": ""}
    yield {"X-Offhook-CSRF": "null"}
    yield {"X-Offhook-CSRF": sessions.csrf_of(other)}
    yield {"X-Offhook-CSRF": sessions.csrf_of(secret)[:-1]}
    yield {"X-Offhook-CSRF": sessions.csrf_of(secret).upper()}
    yield {"X-Offhook-CSRF": secret}
    yield {"X-CSRF-Token": sessions.csrf_of(secret), "X-Offhook-CSRF": ""}
    yield {"X-Offhook-CSRF": sessions.csrf_of(secret), "Origin": "https://evil.example"}
    yield {"X-Offhook-CSRF": sessions.csrf_of(secret), "Origin": "null"}


async def test_a_page_of_another_site_changes_nothing_with_the_cookie(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        secret = secret_in(await enter(d, code=link(d)))
        other = secret_in(await enter(d, code=link(d)))
        before = audited(d)
        for method, path in CHANGES:
            for headers in forgeries(secret, other):
                answer = await ask(d, path, secret, method=method, headers=headers)
                assert answer.status_code == 403, (method, path, headers)
                assert answer.json()["code"] in ("E-API-24", "E-API-04")
                assert "access-control-allow-origin" not in answer.headers
        assert audited(d) == before
        answer = await ask(d, SESSION, secret, headers={"X-Offhook-CSRF": ""})
        assert answer.status_code == 200, "reading needs none"
        assert (await ask(d, SESSION, secret, headers={"Origin": d.url})).status_code == 200
        assert (await ask(d, SESSION, secret, method="DELETE")).status_code == 204


async def test_a_flood_of_sign_ins_is_throttled_and_written_down_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as d:
        add(d, "ada")
        secret = secret_in(await enter(d, name="ada", password=PASSWORD))
        for tries in (
            [enter(d, name="ada", password=f"wrong {n}") for n in range(FAILURES_MAX + 10)],
            [enter(d, code=f"wrong {n}") for n in range(FAILURES_MAX + 10)],
        ):
            answers = await asyncio.gather(*tries)
            counts = [sum(one.status_code == n for one in answers) for n in (401, 429)]
            assert counts == [FAILURES_MAX, 10]
        for answer in (
            await enter(d, name="ada", password=PASSWORD),
            await enter(d, code=link(d)),
        ):
            assert code_of(answer) == (429, "E-API-05")
            assert 0 < int(answer.headers["retry-after"]) <= 61
        assert len(audited(d)) == 1 + 2 * FAILURES_MAX
        assert sum("E-API-02" in one.getMessage() for one in caplog.records) == 1
        assert "wrong 1" not in caplog.text
        assert (await ask(d, SESSION, secret)).status_code == 200, "who is in stays in"


async def test_who_guesses_one_secret_locks_out_no_other_at_their_address(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as d:
        add(d, "ada")
        add(d, "eve")
        for n in range(FAILURES_MAX):
            assert code_of(await enter(d, name="eve", password=f"wrong {n}"))[0] == 401
            assert (await d.ask("/api/v1/calls", token=f"wrong {n}")).status_code == 401
        assert code_of(await enter(d, name="eve", password=PASSWORD))[0] == 429
        assert (await d.ask("/api/v1/calls")).status_code == 429
        assert (await enter(d, name="ada", password=PASSWORD)).status_code == 200
        assert (await enter(d, code=link(d))).status_code == 200


async def test_a_stranger_behind_the_same_proxy_locks_nobody_out(tmp_path: Path) -> None:
    def behind(config: Config) -> Config:
        server = config.server.model_copy(update={"operator_proxies": ("127.0.0.1/32",)})
        return dataclasses.replace(config, server=server)

    async with desk(tmp_path, change=behind) as d:
        add(d, "ada")
        stranger, colleague = ({"X-Forwarded-For": f"192.0.2.{n}"} for n in (1, 2))
        for n in range(FAILURES_MAX):
            answer = await enter(d, name="ada", password=f"wrong {n}", headers=stranger)
            assert answer.status_code == 401
        forged = {"X-Forwarded-For": "192.0.2.2, 192.0.2.1"}
        for headers in (stranger, forged):
            answer = await enter(d, name="ada", password=PASSWORD, headers=headers)
            assert answer.status_code == 429
        answer = await enter(d, name="ada", password=PASSWORD, headers=colleague)
        assert answer.status_code == 200


async def test_right_passwords_are_no_failures(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        add(d, "ada")
        for _ in range(FAILURES_MAX + 5):
            assert (await enter(d, name="ada", password=PASSWORD)).status_code == 200


async def test_the_audit_log_has_who_did_what_to_whom_with_which_outcome(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        add(d, "ada", Role.ADMIN)
        add(d, "eve", Role.VIEWER)
        ada = secret_in(await enter(d, name="ada", password=PASSWORD))
        eve = secret_in(await enter(d, name="eve", password=PASSWORD))
        sid = "CA" + "1" * 32
        said = {"text": "Nobody may read this."}
        body = {"name": "bob", "role": "operator", "password": PASSWORD}
        asked = (
            (eve, "POST", f"/api/v1/calls/{sid}/say", said, 403),
            (ada, "POST", f"/api/v1/calls/{sid}/say", said, 404),
            (ada, "POST", "/api/v1/users", body, 201),
            (ada, "DELETE", "/api/v1/users/not%20a%20name", None, 422),
            (ada, "DELETE", "/api/v1/users/bob", None, 204),
            (ada, "GET", "/api/v1/audit", None, 200),
            (ada, "POST", "/api/v1/nothing", None, 404),
        )
        for secret, method, path, body_, expected in asked:
            answer = await ask(d, path, secret, method=method, body=body_)
            assert answer.status_code == expected, (path, answer.text)
        assert (await d.ask(f"/api/v1/calls/{sid}", method="DELETE")).status_code == 404
        expected_entries = [
            ("ada", "signIn", "", 200),
            ("eve", "signIn", "", 200),
            ("eve", "say", sid, 403),
            ("ada", "say", sid, 404),
            ("ada", "addUser", "bob", 201),
            ("ada", "removeUser", "", 422),
            ("ada", "removeUser", "bob", 204),
            (API_TOKEN.name, "eraseCall", sid, 404),
        ]
        await until(lambda: len(audited(d)) == len(expected_entries))
        assert sorted(audited(d)) == sorted(expected_entries)
        page = (await d.ask("/api/v1/audit?limit=3")).json()
        newest = [audit.outcome_of(status) for *_, status in audited(d)][:-4:-1]
        assert [one["outcome"] for one in page["entries"]] == newest
        rest = (await d.ask(f"/api/v1/audit?limit=50&before={page['before']}")).json()
        assert (len(rest["entries"]), rest["before"]) == (5, None)
        assert "Nobody" not in str(page) + str(rest)


async def test_a_database_that_is_away_costs_no_answer_and_signs_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    async with desk(tmp_path) as d:
        secret = secret_in(await enter(d, code=link(d)))
        assert (await ask(d, SESSION, secret)).status_code == 200
        monkeypatch.setattr("offhook.api.signed_in.FRESH_S", 0)
        monkeypatch.setattr(SignedIn, "_look", away)
        monkeypatch.setattr(audit, "note", away)
        path = "/api/v1/calls/CA1/hang-up"
        assert code_of(await ask(d, path, secret, method="POST")) == (404, "E-API-18")
        await until(lambda: "E-API-26" in caplog.text)
        stranger = await ask(d, SESSION, "never seen before")
        assert code_of(stranger) == (503, "E-REC-05")


async def test_a_stream_ends_with_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.api.auth.STREAM_FRESH_S", 0)
    async with desk(tmp_path) as d:
        secret = secret_in(await enter(d, code=link(d)))
        headers = {"Cookie": f"{COOKIE}={secret}"}
        async with d.whole.http.stream(
            "GET", d.url + "/api/v1/live", headers=headers, timeout=60
        ) as live:
            pieces = live.aiter_bytes()
            await anext(pieces)
            assert (await ask(d, SESSION, secret, method="DELETE")).status_code == 204
            d.api.live(CallEvent("CA1", 0, KeyPressed("1")))
            assert [piece async for piece in pieces] == [], "an orderly end, and nothing of it"
        await until(lambda: not d.api.live._listeners)


# --- sockets -------------------------------------------------------------------------------------


def admitted(d: Desk, **headers: str) -> Principal | Refusal:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return d.api.auth.admit_socket(Upgrade("/console/streams/x", given, "127.0.0.1"))


async def test_a_browser_opens_sockets_by_its_session_and_its_own_origin(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        add(d, "ada")
        add(d, "eve", Role.VIEWER)
        ada = secret_in(await enter(d, name="ada", password=PASSWORD))
        eve = secret_in(await enter(d, name="eve", password=PASSWORD))
        host = d.url.removeprefix("http://")
        mine = {"Host": host, "Origin": d.url}
        assert not isinstance(await d.ask("/docs"), Refusal)
        cookie = f"{COOKIE}={ada}"
        found = admitted(d, **mine, Cookie=cookie)
        assert isinstance(found, Refusal), "the session was used for nothing yet"
        for secret in (ada, eve):
            assert (await ask(d, SESSION, secret)).status_code == 200
        assert admitted(d, **mine, Cookie=cookie) == Principal("ada", Role.OPERATOR)
        port = host.rpartition(":")[2]
        for origin in (
            "https://evil.example",
            "null",
            "",
            "http://127.0.0.1",
            f"http://127.0.0.1.evil.example:{port}",
            f"http://evil.example/127.0.0.1:{port}",
            f"http://localhost:{port}",
            f"http://127.0.0.1:{port}@evil.example",
            f"http://[127.0.0.1:{port}",
            "file://",
        ):
            refused = admitted(d, Host=host, Origin=origin, Cookie=cookie)
            assert isinstance(refused, Refusal), origin
            assert refused.status == 403, origin
        for refused, status in (
            (admitted(d, Host=host, Cookie=cookie), 403),  # a browser always sends its Origin
            (admitted(d, **mine), 401),
            (admitted(d, **mine, Cookie=f"{COOKIE}=x"), 401),
            (admitted(d, **mine, Cookie=f"{cookie}; {COOKIE}=x"), 401),
            (admitted(d, **mine, Cookie=f"{COOKIE}={eve}"), 403),
            (admitted(d, Host="evil.example", Origin="http://evil.example", Cookie=cookie), 404),
            (admitted(d, **mine, Authorization="Bearer wrong-token-of-mine"), 401),
        ):
            assert isinstance(refused, Refusal)
            assert refused.status == status
        assert admitted(d, Host=host, Authorization=f"Bearer {TOKEN}") == API_TOKEN
        await ask(d, SESSION, ada, method="DELETE")
        assert isinstance(admitted(d, **mine, Cookie=cookie), Refusal)


@pytest.mark.parametrize("how", ["sign out", "remove the user"])
async def test_a_session_s_sockets_end_with_it(tmp_path: Path, how: str) -> None:
    async with desk(tmp_path, script=QUICK) as d:
        add(d, "ada")
        pages = []
        for _ in "ab":
            secret = secret_in(await enter(d, name="ada", password=PASSWORD))
            d.whole.http.cookies.clear()
            given = {
                "Cookie": f"{COOKIE}={secret}",
                "X-Offhook-CSRF": sessions.csrf_of(secret),
                "Origin": d.url,
            }
            pages.append(ConsolePage(d.url, d.whole.http, given))
        opened = [await page.open_phone() for page in pages]
        sockets = [await page.socket(one.stream) for page, one in zip(pages, opened, strict=True)]
        for raw, one in zip(sockets, opened, strict=True):
            begin(raw, one)
        if how == "sign out":
            answer = await d.ask(SESSION, method="DELETE", token=None, headers=pages[0].headers)
        else:
            answer = await d.ask("/api/v1/users/ada", method="DELETE")
        assert answer.status_code == 204
        async with asyncio.timeout(GIVEN_UP_AFTER_S):
            closed = await sockets[0].closed
        assert (closed.received, closed.reason) == (1008, "the session has ended")
        if how == "sign out":
            assert not sockets[1].closed.done(), "the other browser of the same user"
            sockets[1].channel.close()
        async with asyncio.timeout(GIVEN_UP_AFTER_S):
            await sockets[1].closed
        made = {one.call_sid for one in opened}
        await until(  # no answer waits for its entry
            lambda: made == {about for _, what, about, _ in audited(d) if what == "openPhoneCall"}
        )
        await d.whole.until_ended(2)
