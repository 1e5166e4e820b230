"""Every route with every role, over HTTP."""

import re
from pathlib import Path

import pytest
from tests.api.desk import Desk, desk

from offhook.api import auth
from offhook.users.principal import Principal, Role

ADMIN = {"eraseCall", "reloadAgents", "tryFunction"}
"""Operations, by their ids, that an admin alone may do."""

OPERATOR = {"getWireLog", "downloadWireLog"}
"""Operations that read what a viewer may not see."""

SID = "CA" + "0" * 32


@pytest.mark.parametrize("role", Role)
async def test_every_operation_answers_its_roles_and_refuses_the_others(
    tmp_path: Path, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "API_TOKEN", Principal("somebody", role))
    async with desk(tmp_path) as d:
        document = (await d.ask("/openapi.json")).json()
        found = {
            (method.upper(), path, operation["operationId"])
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }
        assert {name for *_, name in found} > ADMIN
        for method, path, name in sorted(found):
            if name == "followCalls":  # its answer has no end
                continue
            needed = Role.VIEWER if method == "GET" and name not in OPERATOR else Role.OPERATOR
            needed = Role.ADMIN if name in ADMIN else needed
            await _check(d, method, path, allowed=role.includes(needed))


async def _check(d: Desk, method: str, path: str, *, allowed: bool) -> None:
    # Without a body: what is allowed is refused for that at the latest, and does nothing.
    answer = await d.ask(re.sub(r"\{\w+\}", SID, path), method=method)
    refused = answer.status_code == 403 and answer.json()["code"] == "E-API-22"
    assert refused is not allowed, (method, path, answer.status_code)
