"""The file of the API's token."""

import os
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from offhook.api.token import FILE, token_in
from offhook.errors import UserError


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    token = token_in(folder).get_secret_value()
    assert len(token) >= 40
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert token_in(folder).get_secret_value() == token
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert token_in(tmp_path / "other").get_secret_value() != token


def test_one_of_your_own_is_taken(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("0123456789abcdef\n")
    (tmp_path / FILE).chmod(0o400)
    assert token_in(tmp_path) == SecretStr("0123456789abcdef")


@pytest.mark.parametrize(
    "content", [b"", b"short", b"has a space in it, this", b"\xff" * 20, b"x" * 300]
)
def test_what_is_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(UserError) as raised:
        token_in(tmp_path)
    assert raised.value.code == "E-API-01"
    assert content.decode("latin-1") not in raised.value.what or not content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_one_that_others_may_have_read_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / FILE).write_text("0123456789abcdef\n")
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(UserError, match="E-API-01"):
        token_in(tmp_path)


def test_a_link_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("0123456789abcdef\n")
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="E-API-01"):
        token_in(tmp_path)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir(mode=0o700)
    with pytest.raises(UserError, match="E-API-01"):
        token_in(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="E-API-01"):
        token_in(tmp_path / "file" / "data")
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
