"""Authentication of the operator's application: see docs/security.md.

The application is protected, not the spelling of its paths: every path of the operator's listener
needs authentication, known or not.

Loopback protects nothing: requests from a tunnel, or from any web page in a browser on this
machine, come from there. So a request must be for one of the operator's host names, must not come
from another site's page, and must have the token.
"""

import base64
import binascii
import hmac
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offhook.api.links import Links
from offhook.api.principal import set_principal
from offhook.api.problems import ApiError, response
from offhook.clock import Clock
from offhook.errors import UserError
from offhook.net.websocket import Refusal, Upgrade
from offhook.users.principal import API_TOKEN, AUDIO_LINK, Principal
from offhook.webhooks.auth import host_name

_log: Final = logging.getLogger("offhook.api")

PAGES: Final = ("/docs", "/openapi.json")
"""Paths for a browser, which asks for a password: the token, by HTTP Basic."""

FAILURES_MAX: Final = 20
"""Wrong tokens from one address within FAILURES_S, after which its tokens are not checked."""
FAILURES_S: Final = 60.0
BODY_MAX: Final = 256 * 1024
"""Bytes of a request's body: a prompt and an agent's functions at most."""

ADDRESSES_MAX: Final = 1000
"""Addresses whose failures are counted; the one that failed longest ago is forgotten first."""

_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class OperatorAuth:
    """Authentication in front of `operator`, for every path and for `hosts` alone."""

    def __init__(
        self,
        operator: ASGIApp,
        *,
        hosts: Sequence[str],
        token: SecretStr,
        links: Links,
        clock: Clock,
    ) -> None:
        self._operator = operator
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token.get_secret_value().encode()
        self._links = links
        self._failures = _Failures(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # there are no WebSockets here
            return
        found = self._admit(scope, Headers(scope=scope))
        if isinstance(found, ApiError):
            await response(found)(scope, receive, _with_headers(send))
        else:
            set_principal(scope, found)
            await self._operator(scope, receive, _with_headers(send))

    def admit_socket(self, upgrade: Upgrade) -> Principal | Refusal:
        """Return who opens a WebSocket, or why it is refused."""
        path, _, query = upgrade.path.partition("?")
        scope = {
            "method": "GET",
            "path": path,
            "query_string": query.encode("latin-1"),
            "client": (upgrade.peer, 0),
        }
        found = self._admit(scope, Headers(dict(upgrade.headers)))
        if isinstance(found, ApiError):
            problem = found.problem
            return Refusal(found.status, f"{problem.code} {problem.what} {problem.fix}\n")
        return found

    def _admit(self, scope: Scope, headers: Headers) -> Principal | ApiError:
        if host_name(headers) not in self._hosts:
            return ApiError(
                404,
                UserError(
                    "E-API-20",
                    "The operator's paths are not served under this host name.",
                    "Add it to server.operator_hosts in offhook.yaml, or use 127.0.0.1.",
                ),
            )
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != headers.get("host", "").lower():
            return ApiError(
                403,
                UserError(
                    "E-API-04",
                    "This request comes from a page of another site.",
                    "Ask from a program, or from a page that this server has served.",
                ),
            )
        if self._links.opens(scope["method"], scope["path"], scope["query_string"]):
            return AUDIO_LINK
        given = _credentials(headers.get("authorization", ""), basic=scope["path"] in PAGES)
        if given is None and b"signature=" in scope["query_string"]:
            return ApiError(
                403,
                UserError(
                    "E-API-11",
                    "This link has expired, or it is not one that Offhook has made.",
                    "Have a new one made, by who has the API's token.",
                ),
            )
        if given is None:
            return self._unauthorised(scope["path"], "The API's token is missing.")
        address = scope["client"][0] if scope.get("client") else ""
        wait_s = self._failures.wait_s(address)
        if wait_s > 0:
            return ApiError(
                429,
                UserError(
                    "E-API-05",
                    f"There were {FAILURES_MAX} wrong tokens from this address within a minute.",
                    "Wait as long as Retry-After says, and then use the right one.",
                ),
                {"Retry-After": str(int(wait_s) + 1)},
            )
        if not hmac.compare_digest(given, self._token):
            self._failures.add(address)
            return self._unauthorised(scope["path"], "This is not the API's token.")
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdigit() or int(length) > BODY_MAX:
            return ApiError(
                413,
                UserError(
                    "E-API-06",
                    f"The body is longer than {BODY_MAX} bytes, or does not say how long it is.",
                    "Send a short one, with Content-Length.",
                ),
            )
        return API_TOKEN

    def _unauthorised(self, path: str, what: str) -> ApiError:
        scheme = "Basic" if path in PAGES else "Bearer"
        return ApiError(
            401,
            UserError(
                "E-API-03",
                what,
                'Send "Authorization: Bearer TOKEN"; "offhook serve" says where the token is.',
            ),
            {"WWW-Authenticate": f'{scheme} realm="Offhook"'},
        )


class _Failures:
    """Counts of wrong tokens, by address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._said_until = 0.0

    def wait_s(self, address: str) -> float:
        """Return the seconds until a token from that address is checked; 0: now."""
        count, until = self._by_address.get(address, (0, 0.0))
        return max(0.0, until - self._clock.now()) if count >= FAILURES_MAX else 0.0

    def add(self, address: str) -> None:
        """Count another wrong token."""
        now = self._clock.now()
        count, until = self._by_address.pop(address, (0, 0.0))
        self._by_address[address] = (count + 1, until) if now < until else (1, now + FAILURES_S)
        if len(self._by_address) > ADDRESSES_MAX:
            self._by_address.popitem(last=False)
        if now >= self._said_until:
            self._said_until = now + FAILURES_S
            _log.warning(
                "E-API-02 wrong API token from %s; the next minute's are not logged", address
            )


def _credentials(authorization: str, *, basic: bool) -> bytes | None:
    """Return the token in the header; None when there is none."""
    scheme, _, given = authorization.partition(" ")
    given = given.strip()
    if scheme.lower() == "bearer" and given:
        return given.encode("latin-1")
    if basic and scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return b""
        return decoded.partition(b":")[2]
    return None


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await send(message)

    return with_headers
