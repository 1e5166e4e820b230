"""Classification of IP addresses: of the internet or not. No I/O: names are not resolved here."""

import ipaddress
from typing import Final, TypeAlias
from urllib.parse import urlsplit

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_CLOUDS: Final = tuple(map(ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24")))
"""Networks of clouds' metadata, Azure's and Oracle's, that some or all Pythons call public. Those
of the other clouds are link-local or private."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_NAT64: Final = ipaddress.ip_network("64:ff9b:1::/48")

_INSIDE: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
"""Ends of names that lead to this machine, a private network or a cloud's metadata."""


def is_public(address: _Address) -> bool:
    """Return whether an address is of a host of the internet.

    It is not for private networks, this machine, a cloud's metadata, and groups of hosts.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address in _LOCAL_NAT64 or address.is_site_local:
            return False
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    return address.is_global and not special and not any(address in each for each in _CLOUDS)


def is_outside(url: str) -> bool:
    """Return whether a URL may lead to a host of the internet, as far as it is written in it.

    Numbers in unusual forms (127.1, 0x7f000001) are not addresses: programs read them
    differently.
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    try:
        return is_public(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    last = host.rpartition(".")[2]
    numeric = last[:1].isdigit()
    return bool(host) and "." in host and not numeric and not host.endswith(_INSIDE)


def is_this_machine(host: str) -> bool:
    """Return whether a URL's host is this machine, by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
