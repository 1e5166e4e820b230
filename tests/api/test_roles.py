"""Every route with every method and every role, over HTTP, by the cookies of users."""

import re
from pathlib import Path

from tests.api.desk import Desk, desk

from offhook.api.paths import SESSION
from offhook.api.signed_in import COOKIE
from offhook.records.database import clock_ms
from offhook.users import accounts, sessions
from offhook.users.accounts import User
from offhook.users.principal import Role

OPEN = {"signIn"}
"""Operations, by their ids, that need nobody to be signed in."""

VIEWER = {"signOut"}
"""Operations that a viewer may do although they are no GET."""

ADMIN = {
    "addUser",
    "changeUser",
    "eraseCall",
    "listUsers",
    "readAudit",
    "reloadAgents",
    "removeUser",
    "tryFunction",
}
"""Operations that an admin alone may do."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

OPERATOR = {"getWireLog", "downloadWireLog"}
"""Operations that read what a viewer may not see."""

SID = "CA" + "0" * 32


def needed(method: str, name: str) -> Role:
    if name in ADMIN:
        return Role.ADMIN
    if name in OPERATOR:
        return Role.OPERATOR
    return Role.VIEWER if method == "GET" or name in VIEWER else Role.OPERATOR


def session_of(d: Desk, role: Role) -> str:
    """Begin a session of a user with that role; return its secret."""
    name = f"a-{role.value}"
    with d.engine.begin() as connection:
        if accounts.find(connection, name) is None:
            accounts.add(connection, User(name, role, 0, "no password"))
        return sessions.begin(connection, name, clock_ms(connection))


async def status(d: Desk, method: str, path: str, secret: str | None) -> tuple[int, str]:
    """Return the status of the answer to a request without a body, and the code of an error."""
    headers = {}
    if secret is not None:
        headers = {"Cookie": f"{COOKIE}={secret}", "X-Offhook-CSRF": sessions.csrf_of(secret)}
    url = d.url + re.sub(r"\{\w+\}", SID, path)
    # Streamed: one of the answers has no end.
    async with d.whole.http.stream(method, url, headers=headers, timeout=60) as answer:
        if answer.status_code < 400 or method == "HEAD":
            return answer.status_code, ""
        await answer.aread()
        return answer.status_code, answer.json()["code"]


async def test_every_route_answers_its_roles_and_methods_and_no_others(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        document = (await d.ask("/openapi.json")).json()
        found = {
            (method.upper(), path): operation["operationId"]
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }
        assert {*found.values()} >= OPEN | VIEWER | OPERATOR | ADMIN
        for (method, path), name in found.items():
            refused = await status(d, method, path, None)
            assert (refused[0] == 401) is (name not in OPEN), (method, path, refused)
            for role in Role:
                got = await status(d, method, path, session_of(d, role))
                may = name in OPEN or role.includes(needed(method, name))
                assert (got == (403, "E-API-22")) is not may, (method, path, role, got)
                assert got[0] != 401, (method, path, role)
        secret = session_of(d, Role.ADMIN)
        for path in document["paths"]:
            for method in METHODS:
                if (method, path) not in found and (method, path[-6:]) != ("HEAD", "/audio"):
                    got = await status(d, method, path, secret)
                    assert got[0] in (404, 405), (method, path, got)
                    got = await status(d, method, path, None)
                    assert got[0] == 401, (method, path, got)


async def test_another_role_counts_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        secret = session_of(d, Role.ADMIN)
        assert (await status(d, "GET", "/api/v1/users", secret))[0] == 200
        body = {"role": "viewer"}
        answer = await d.ask("/api/v1/users/a-admin", method="PUT", body=body)
        assert answer.status_code == 204
        assert (await status(d, "GET", SESSION, secret)) == (401, "E-API-23")
        secret = session_of(d, Role.ADMIN)  # of the same user, whose role is another now
        assert (await status(d, "GET", "/api/v1/users", secret)) == (403, "E-API-22")
