"""The limit on wrong secrets, with a clock of its own."""

import pytest

from offhook.api.problems import ApiError
from offhook.api.throttle import (
    ADDRESS_FAILURES_MAX,
    COUNTS_MAX,
    FAILURES_MAX,
    FAILURES_S,
    Throttle,
)


def is_checked(throttle: Throttle, address: str, account: str) -> bool:
    try:
        throttle.require(address, account)
    except ApiError:
        return False
    return True


def test_guessing_many_names_is_throttled_until_the_minute_is_over() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for n in range(ADDRESS_FAILURES_MAX):
        assert is_checked(throttle, "192.0.2.7", f"user {n}")
        throttle.add("192.0.2.7", f"user {n}")
    assert not is_checked(throttle, "192.0.2.7", "user ada")
    assert is_checked(throttle, "192.0.2.8", "user ada")
    now[0] = FAILURES_S
    assert is_checked(throttle, "192.0.2.7", "user ada")


def test_the_answer_says_whose_secrets_were_wrong() -> None:
    throttle = Throttle(lambda: 0.0)
    for n in range(ADDRESS_FAILURES_MAX):
        throttle.add("192.0.2.7", "user ada" if n < FAILURES_MAX else f"user {n}")
    with pytest.raises(ApiError) as of_account:
        throttle.require("192.0.2.7", "user ada")
    assert "of this user, token or link from this address" in of_account.value.problem.what
    with pytest.raises(ApiError) as of_address:
        throttle.require("192.0.2.7", "user bob")
    assert "passwords from this address" in of_address.value.problem.what


def test_a_right_secret_counts_for_nothing() -> None:
    throttle = Throttle(lambda: 0.0)
    for _ in range(2 * ADDRESS_FAILURES_MAX):
        throttle.require("192.0.2.7", "user ada")
        throttle.add("192.0.2.7", "user ada")
        throttle.take_back("192.0.2.7", "user ada")


@pytest.mark.parametrize("names", [1, FAILURES_MAX])
def test_names_and_addresses_without_end_are_forgotten_the_oldest_first(names: int) -> None:
    throttle = Throttle(lambda: 0.0)
    for _ in range(FAILURES_MAX):
        throttle.add("192.0.2.7", "user ada")
    for n in range(COUNTS_MAX // 2 - 1):
        throttle.add(f"2001:db8:{n // names:x}::/64", f"user {n}")
    assert not is_checked(throttle, "192.0.2.7", "user ada")
    for n in range(COUNTS_MAX):
        throttle.add(f"2001:db8:f{n // names:x}::/64", f"user {n}")
    assert is_checked(throttle, "192.0.2.7", "user ada")
    assert len(throttle._counts) == COUNTS_MAX
