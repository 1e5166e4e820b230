"""offhook dnc: the list of numbers that are never to be called."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offhook.cli import app
from offhook.errors import UserError
from offhook.outbound.ledger_file import FILE, LedgerFile

ADA = "+12025550142"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def dnc(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["dnc", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_number_comes_and_goes() -> None:
    assert dnc("add", ADA, "--why", "asked by letter") == (0, f"{ADA} is never called.\n")
    assert dnc("add", ADA) == (0, f"{ADA} was on the list already.\n")
    code, told = dnc("list")
    assert code == 0
    assert ADA in told
    assert "asked by letter" in told
    [one] = json.loads(dnc("list", "--json")[1])
    assert (one["number"], one["why"], one["in_call"]) == (ADA, "asked by letter", None)
    assert dnc("remove", ADA) == (0, f"{ADA} may be called.\n")
    assert dnc("remove", ADA) == (1, f"{ADA} was not on the list.\n")
    assert dnc("list") == (0, "No numbers.\n")


def test_a_server_that_runs_obeys_at_once_and_one_that_is_started_later_too(
    tmp_path: Path,
) -> None:
    of_the_server = LedgerFile(tmp_path / "offhook-data" / FILE)
    assert not of_the_server.is_barred(ADA)
    dnc("add", ADA)
    assert of_the_server.is_barred(ADA)
    dnc("remove", ADA)
    assert not of_the_server.is_barred(ADA)
    of_the_server.bar(ADA)  # in a call a moment ago: the database does not have it yet
    assert dnc("remove", ADA) == (0, f"{ADA} may be called.\n")
    assert not of_the_server.is_barred(ADA)


def test_while_the_database_is_away_a_number_is_barred_here_at_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFHOOK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(UserError, match="E-REC-05"):
        dnc("add", ADA)
    assert LedgerFile(tmp_path / "offhook-data" / FILE).is_barred(ADA)


@pytest.mark.parametrize("command", ["add", "remove"])
def test_what_is_no_number_is_refused(command: str) -> None:
    with pytest.raises(UserError, match="E-OUT-04"):
        dnc(command, "2025550142")
