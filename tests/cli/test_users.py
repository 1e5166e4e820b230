"""offhook users: who may sign in, and what they did."""

import json
import re
from pathlib import Path

import argon2
import httpx2
import pytest
from tests.cli.served import serving
from typer.testing import CliRunner

from offhook.api.paths import SESSION
from offhook.cli import app
from offhook.errors import UserError
from offhook.users import passwords

PASSWORD = "four words of mine"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", cheap)


def users(*arguments: str, typed: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(app, ["users", *arguments], input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_user_comes_changes_and_goes_and_the_log_has_it() -> None:
    assert users("list")[1].startswith("No users.")
    typed = PASSWORD + "\n"
    assert users("add", "ada", "--role", "operator", typed=typed) == (
        0,
        "ada may sign in as operator.\n",
    )
    with pytest.raises(UserError, match="E-USR-03"):
        users("add", "ada", typed=typed)
    assert users("add", "eve", typed=typed)[0] == 0
    found = json.loads(users("list", "--json")[1])
    assert [(one["name"], one["role"]) for one in found] == [("ada", "operator"), ("eve", "viewer")]
    assert PASSWORD not in str(found)
    assert "argon2" not in str(found)
    assert users("role", "ada", "admin") == (0, "ada is admin now.\n")
    assert users("password", "ada", typed="another of mine\n") == (
        0,
        "ada has the new password.\n",
    )
    assert users("remove", "eve") == (0, "eve is removed.\n")
    for arguments in (("remove", "eve"), ("role", "eve", "admin")):
        with pytest.raises(UserError, match="E-USR-04"):
            users(*arguments)
    assert "ada  admin, since 20" in users("list")[1]
    log = json.loads(users("audit", "--json")[1])
    assert [(one["what"], one["about"]) for one in reversed(log)] == [
        ("addUser", "ada"),
        ("addUser", "eve"),
        ("changeUser", "ada"),
        ("changeUser", "ada"),
        ("removeUser", "eve"),
    ]
    assert {(one["who"], one["outcome"]) for one in log} == {("command line", "done")}
    assert users("audit", "--limit", "1")[1].endswith("command line: removeUser eve, done\n")


@pytest.mark.parametrize(
    ("name", "typed", "code"),
    [
        ("Ada", PASSWORD, "E-USR-02"),
        ("API token", PASSWORD, "E-USR-02"),
        ("../x", PASSWORD, "E-USR-02"),
        ("", PASSWORD, "E-USR-02"),
        ("x" * 64, PASSWORD, "E-USR-02"),
        ("ada", "short", "E-USR-01"),
        ("ada", "", "E-USR-01"),
        ("ada", "x" * 10_000, "E-USR-01"),
    ],
)
def test_what_cannot_be_a_user_is_refused(name: str, typed: str, code: str) -> None:
    with pytest.raises(UserError, match=code):
        users("add", name, typed=typed + "\n")
    assert not Path("offhook-data").exists(), "nothing is made for it"


def test_a_role_that_there_is_not_is_wrong_use() -> None:
    assert users("add", "ada", "--role", "root", typed=PASSWORD + "\n")[0] == 2


def test_without_a_server_there_is_nowhere_to_sign_in() -> None:
    with pytest.raises(UserError, match="E-ASK-15"):
        users("link")


async def test_a_link_of_the_command_signs_in_to_the_server_that_runs(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as server:
        url = await server.operator_url()
        code, told = users("link")
        found = re.fullmatch(re.escape(url) + r"/enter#([\w-]{43})\n", told)
        assert code == 0
        assert found is not None

        async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
            answer = await http.post(url + SESSION, json={"code": found[1]})
            assert answer.json()["role"] == "admin"
            assert (await http.get(url + SESSION)).json() == answer.json()
            page = await http.get(url + "/enter")
            assert page.status_code in (200, 503), "built, or told how to build it"
        await server.stop()
        assert found[1] not in server.said
        assert "/enter#" not in server.said, "a log is kept: no link goes there"
