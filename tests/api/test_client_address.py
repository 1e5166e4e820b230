"""For which address wrong secrets are counted, with and without proxies."""

import pytest

from offhook.api.client_address import ClientAddresses

PROXIES = ("127.0.0.1/32", "10.0.0.0/24", "2001:db8:a::/48")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "192.0.2.7, 10.0.0.9", "192.0.2.7"),
        ("127.0.0.1", "192.0.2.7:4711", "192.0.2.7"),
        ("127.0.0.1", "[2001:db8:b::7]:4711", "2001:db8:b::/64"),
        ("2001:db8:a::1", "192.0.2.7", "192.0.2.7"),
        ("::ffff:127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "", "192.0.2.7"),
        ("2001:db8:b:0:1:2:3:4", "", "2001:db8:b::/64"),
        ("fe80::1%eth0", "", "fe80::/64"),
        ("", "", ""),
    ],
)
def test_a_client_has_its_own_address(peer: str, forwarded: str, address: str) -> None:
    assert ClientAddresses(PROXIES).of(peer, forwarded) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        # From no proxy: the header is the client's own.
        ("192.0.2.7", "192.0.2.1", "192.0.2.7"),
        # What stands before the address that the proxy has seen is the client's own, too.
        ("127.0.0.1", "192.0.2.1, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "127.0.0.1, 10.0.0.1, 192.0.2.7", "192.0.2.7"),
        # What is no address is no client of ours: the proxy's count is shared.
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1, ", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1, _hidden, 10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "," * 10_000, "127.0.0.1"),
        ("127.0.0.1", "[" * 10_000, "127.0.0.1"),
        ("127.0.0.1", "\u0661.1.1.1", "127.0.0.1"),
    ],
)
def test_a_client_chooses_no_address(peer: str, forwarded: str, address: str) -> None:
    assert ClientAddresses(PROXIES).of(peer, forwarded) == address


def test_without_proxies_no_header_is_read() -> None:
    assert ClientAddresses(()).of("127.0.0.1", "192.0.2.7") == "127.0.0.1"
