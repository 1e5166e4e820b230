"""The address for which wrong secrets are counted: the client's, behind a trusted proxy too."""

import ipaddress
from collections.abc import Sequence
from typing import Final, TypeAlias

from starlette.datastructures import Headers
from starlette.types import Scope

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

FORWARDED: Final = "x-forwarded-for"

_V6_PREFIX: Final = 64
"""Bits of an IPv6 address that a client cannot choose: a household has the rest to itself."""


class ClientAddresses:
    """Addresses of clients, of which `proxies` (`server.operator_proxies`) tell by a header."""

    def __init__(self, proxies: Sequence[str]) -> None:
        self._proxies = tuple(ipaddress.ip_network(each) for each in proxies)

    def of(self, peer: str, forwarded: str) -> str:
        """Return the address that a request comes from, an IPv6 one as its network of 64 bits.

        `peer` is the address of the connection, `forwarded` the values of X-Forwarded-For, joined
        by commas. Each proxy adds the address that it was reached from at the end, so the list is
        read from there for as long as a trusted proxy has written it: a client may have sent the
        rest itself.
        """
        address = _parsed(peer)
        if address is None:
            return peer  # a Unix socket has no address
        named = [each.strip() for each in forwarded.split(",")] if self._proxies else []
        while named and self._is_proxy(address):
            before = _parsed(_without_port(named.pop()))
            if before is None:
                break
            address = before
        if address.version == 6:
            return str(ipaddress.ip_network((address, _V6_PREFIX), strict=False))
        return str(address)

    def of_request(self, scope: Scope) -> str:
        """Return the address that an HTTP request comes from."""
        peer = scope["client"][0] if scope.get("client") else ""
        return self.of(peer, ",".join(Headers(scope=scope).getlist(FORWARDED)))

    def _is_proxy(self, address: _Address) -> bool:
        return any(address in network for network in self._proxies)


def _parsed(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return address if mapped is None else mapped


def _without_port(text: str) -> str:
    """Return an address without the port that some proxies add: 192.0.2.1:80, [2001:db8::1]:80."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
