"""The HTTP client of the server, and where it may connect.

What an operator wrote into the configuration, letter by letter, is trusted: its origin may be on
this machine or in a private network. Every other URL may hold what a caller, a model, a lookup or a
client of the API has said. So its host is resolved once, every address is checked, and the
connection is made to the address that was checked: a name that resolves otherwise a moment later
(DNS rebinding) changes nothing. A redirect is another request, which is checked like the first.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Final, NamedTuple, Self

import httpx2

from offhook.net import tls
from offhook.net.addresses import is_public

_PORTS: Final = {"http": 80, "https": 443}


class ForbiddenAddressError(httpx2.ConnectError):
    """Error: a URL leads to an address that only a URL of the configuration may lead to.

    Nothing was connected. The message holds neither URL nor address.
    """


def origin_of(url: httpx2.URL | str) -> tuple[str, str, int | None]:
    """Return scheme, host and port, by which URLs are trusted."""
    url = httpx2.URL(url)
    return url.scheme, url.host.lower(), url.port or _PORTS.get(url.scheme)


class Egress(httpx2.AsyncBaseTransport):
    """A transport that connects to the origins of `trusted`, and to hosts of the internet."""

    def __init__(
        self,
        trusted: Iterable[str],
        *,
        verify: ssl.SSLContext | None = None,
        limits: httpx2.Limits | None = None,
    ) -> None:
        self._trusted: Final = frozenset(map(origin_of, trusted))
        self._verify = verify
        self._limits: Final = limits or httpx2.Limits()
        self._loading: asyncio.Future[ssl.SSLContext] | None = None
        self._plain: _Transports | None = None
        self._secured: _Transports | None = None

    async def __aenter__(self) -> Self:
        if self._trusted:  # else there may be no request, and what makes one is slow to import
            self._without_tls()
        # The first request should not wait for the authorities, if there may be one over TLS.
        if self._verify is None and any(scheme == "https" for scheme, _, _ in self._trusted):
            self._loading = tls.loading()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._loading is not None:
            await asyncio.wait([self._loading])
        for made in filter(None, (self._plain, self._secured)):
            await made.checked.aclose()
            await made.direct.aclose()

    def _transports(self, verify: ssl.SSLContext) -> "_Transports":
        # No connection is kept of the checked: the pool knows them by address, and two names may
        # share one.
        most = self._limits.max_connections
        alone = httpx2.Limits(max_connections=most, max_keepalive_connections=0)
        return _Transports(
            httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, limits=self._limits),
            httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, limits=alone),
        )

    def _without_tls(self) -> "_Transports":
        """Return both transports for plain HTTP, for which no authorities have to be loaded."""
        # A context that knows no authority trusts nobody.
        self._plain = self._plain or self._transports(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return self._plain

    async def _over_tls(self) -> "_Transports":
        """Return both transports for TLS, which share the authorities. They are made once."""
        verify = self._verify
        if verify is None:
            self._loading = self._loading or tls.loading()
            try:
                verify = await asyncio.shield(self._loading)
            except OSError as error:
                raise httpx2.ConnectError("the authorities cannot be read") from error
        self._secured = self._secured or self._transports(verify)
        return self._secured

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Make a request. Raises ForbiddenAddressError for an address that is not allowed."""
        transports = self._without_tls() if request.url.scheme == "http" else await self._over_tls()
        if origin_of(request.url) in self._trusted:
            return await transports.direct.handle_async_request(request)
        host = request.url.host
        address = await _checked_address(host, request.url.port or _PORTS.get(request.url.scheme))
        # To that address, under its name: in the Host header, which is set, and in TLS.
        request.url = request.url.copy_with(host=address)
        request.extensions = {**request.extensions, "sni_hostname": host}
        return await transports.checked.handle_async_request(request)


class _Transports(NamedTuple):
    """Transports to what is trusted, and to addresses that were checked."""

    direct: httpx2.AsyncHTTPTransport
    checked: httpx2.AsyncHTTPTransport


async def _checked_address(host: str, port: int | None) -> str:
    """Resolve a host, once. Raises ForbiddenAddressError if an address is not allowed."""
    try:
        addresses = await _resolved(host, port)
    except (OSError, UnicodeError):
        raise httpx2.ConnectError("the name cannot be resolved") from None
    if not addresses or not all(is_public(ipaddress.ip_address(each)) for each in addresses):
        raise ForbiddenAddressError("the address is not one of the internet")
    return addresses[0]


async def _resolved(host: str, port: int | None) -> list[str]:
    """Return every address of a host, by this machine's name servers."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]).partition("%")[0] for each in found]


def client(
    trusted: Iterable[str],
    *,
    verify: ssl.SSLContext | None = None,
    limits: httpx2.Limits | None = None,
) -> httpx2.AsyncClient:
    """Return an HTTP client; the code that enters it closes it.

    The client has no time limit, since every request has its own; it follows no redirect, and
    takes nothing from the environment.
    """
    transport = Egress(trusted, verify=verify, limits=limits)
    return httpx2.AsyncClient(
        transport=transport, timeout=None, trust_env=False, follow_redirects=False
    )
