"""Passwords and their hashes, with the real parameters."""

import pytest

from offhook.errors import UserError
from offhook.users import passwords

PASSWORD = "four words of mine"


def test_a_hash_is_argon2id_and_of_one_password_alone() -> None:
    hashed = passwords.hash_of(PASSWORD)
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert PASSWORD not in hashed
    assert passwords.is_right(hashed, PASSWORD)
    assert not passwords.is_right(hashed, PASSWORD + " ")
    assert not passwords.is_right(passwords.NO_ONES, PASSWORD)
    assert not passwords.is_right("no hash", PASSWORD)


def test_the_hash_of_nobody_takes_the_work_of_anybody_s() -> None:
    params = passwords.NO_ONES.split("$")[:4]
    assert params == passwords.hash_of(PASSWORD).split("$")[:4]


def test_one_password_is_right_on_every_keyboard() -> None:
    hashed = passwords.hash_of("Stra\u00dfenb\u00e4nder")
    assert passwords.is_right(hashed, "Stra\u00dfenba\u0308nder")


@pytest.mark.parametrize("password", ["", "123456789", "x" * 201, "x" * 100_000])
def test_a_password_that_is_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(UserError, match="E-USR-01") as told:
        passwords.hash_of(password)
    assert not password or password not in str(told.value)


def test_half_a_character_is_no_fault() -> None:
    assert not passwords.is_right(passwords.NO_ONES, "\ud800")
    assert passwords.hash_of("ten and \udcff half").startswith("$argon2id$")
