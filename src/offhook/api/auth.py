"""Authentication of the operator's application: see docs/security.md.

The application is protected, not the spelling of its paths: every path of the operator's listener
needs authentication, known or not. Open are the page of the console, which holds no data, and
signing in.

Loopback protects nothing: requests from a tunnel, or from any web page in a browser on this
machine, come from there. So a request must be for one of the operator's host names, must not come
from another site's page, and must have the token or the cookie of somebody who has signed in. A
request with a cookie that changes something must also have the token that a page of another site
cannot read (`X-Offhook-CSRF`).
"""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offhook.api.audit_log import AuditLog
from offhook.api.client_address import FORWARDED, ClientAddresses
from offhook.api.console_files import ConsoleFiles
from offhook.api.links import Links
from offhook.api.paths import SESSION
from offhook.api.principal import set_principal
from offhook.api.problems import ApiError, response
from offhook.api.signed_in import STREAM_FRESH_S, SignedIn, cookie_of, csrf_is_right
from offhook.api.throttle import Throttle
from offhook.errors import UserError
from offhook.net.websocket import Refusal, Upgrade
from offhook.users.principal import API_TOKEN, AUDIO_LINK, Principal, Role
from offhook.webhooks.auth import host_name

PAGES: Final = ("/docs", "/openapi.json")
"""Paths for a browser, which asks for a password: the token, by HTTP Basic."""

CSRF_HEADER: Final = "x-offhook-csrf"

SAFE: Final = ("GET", "HEAD")
"""Methods that change nothing."""

BODY_MAX: Final = 256 * 1024
"""Bytes of a request's body: a prompt and an agent's functions at most."""

_HEADERS: Final = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}


class OperatorAuth:
    """Authentication in front of `operator`, for every path and for `hosts` alone."""

    def __init__(
        self,
        operator: ASGIApp,
        *,
        hosts: Sequence[str],
        token: SecretStr,
        links: Links,
        signed_in: SignedIn,
        throttle: Throttle,
        addresses: ClientAddresses,
        files: ConsoleFiles,
        audit: AuditLog,
    ) -> None:
        self._operator = operator
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token.get_secret_value().encode()
        self._links = links
        self._signed_in = signed_in
        self._throttle = throttle
        self._addresses = addresses
        self._files = files
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # sockets are admitted by `admit_socket`
            return
        sending = _Sending(send)
        headers = Headers(scope=scope)
        try:
            self._require_own_page(headers)
            if self._files.serves(scope["method"], scope["path"]):
                await self._files(scope, receive, sending)
                return
            is_entrance = (scope["method"], scope["path"]) == ("POST", SESSION)
            principal = None if is_entrance else await self._principal(scope, headers, sending)
            _require_short(headers)
        except ApiError as refused:
            await response(refused)(scope, receive, sending)
            return
        if principal is None:
            await self._operator(scope, receive, sending)
        else:
            await self._serve(principal, scope, receive, sending)

    async def _serve(
        self, principal: Principal, scope: Scope, receive: Receive, sending: "_Sending"
    ) -> None:
        set_principal(scope, principal)
        try:
            await self._operator(scope, receive, sending)
        except _SessionOverError:
            await sending.finish()
        finally:
            if scope["method"] not in SAFE:
                await self._audit.note(scope, principal.name, sending.status)

    def admit_socket(self, upgrade: Upgrade) -> Principal | Refusal:
        """Return the principal of a WebSocket request, or the refusal.

        A browser must send an Origin that is this server, and the cookie of an operator's session
        that it has used within the last seconds. A program sends the API's token.
        """
        headers = Headers(dict(upgrade.headers))
        try:
            self._require_own_page(headers)
            token = _credentials(headers.get("authorization", ""), basic=False)
            if token is not None:
                address = self._addresses.of(upgrade.peer, headers.get(FORWARDED, ""))
                self._require_token(token, address, "")
                return API_TOKEN
            if "origin" not in headers:
                raise _foreign()
            secret = cookie_of(headers)
            principal = None if secret is None else self._signed_in.at_once(secret)
            if principal is None:
                raise _not_signed_in()
            if not principal.role.includes(Role.OPERATOR):
                return Refusal(403, "This needs the role operator.\n")
        except ApiError as refused:
            problem = refused.problem
            words = f"{problem.code} {problem.what} {problem.fix}\n"
            return Refusal(refused.status, words, refused.headers)
        return principal

    # --- what each check raises ApiError for ---

    def _require_own_page(self, headers: Mapping[str, str]) -> None:
        if host_name(headers) not in self._hosts:
            raise ApiError(
                404,
                UserError(
                    "E-API-20",
                    "The operator's paths are not served under this host name.",
                    "Add it to server.operator_hosts in offhook.yaml, or use 127.0.0.1.",
                ),
            )
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != headers.get("host", "").lower():
            raise _foreign()

    async def _principal(self, scope: Scope, headers: Headers, sending: "_Sending") -> Principal:
        if self._links.opens(scope["method"], scope["path"], scope["query_string"]):
            return AUDIO_LINK
        authorization, secret = headers.get("authorization", ""), cookie_of(headers)
        given = _credentials(authorization, basic=scope["path"] in PAGES)
        if given is not None:
            self._require_token(given, self._addresses.of_request(scope), scope["path"])
            return API_TOKEN
        if secret is not None:
            return await self._by_cookie(secret, scope["method"], headers, sending)
        if b"signature=" in scope["query_string"]:
            raise ApiError(
                403,
                UserError(
                    "E-API-11",
                    "This link has expired, or it is not one that Offhook has made.",
                    "Have a new one made, by who has the API's token.",
                ),
            )
        raise _unauthorised(scope["path"], "The API's token is missing.")

    def _require_token(self, given: bytes, address: str, path: str) -> None:
        self._throttle.require(address, API_TOKEN.name)
        if not hmac.compare_digest(given, self._token):
            self._throttle.add(address, API_TOKEN.name)
            self._throttle.tell(address)
            raise _unauthorised(path, "This is not the API's token.")

    async def _by_cookie(
        self, secret: str, method: str, headers: Headers, sending: "_Sending"
    ) -> Principal:
        found = await self._session_of(secret)
        if found is None:
            raise _not_signed_in()
        if method not in SAFE and not csrf_is_right(secret, headers.get(CSRF_HEADER, "")):
            raise ApiError(
                403,
                UserError(
                    "E-API-24",
                    "The request lacks the token that goes with its session.",
                    "Load the page again; a program sends the API's token in place of a cookie.",
                ),
            )
        sending.session = lambda: self._session_of(secret, STREAM_FRESH_S)
        return found

    async def _session_of(self, secret: str, fresh_s: float | None = None) -> Principal | None:
        try:
            if fresh_s is None:
                return await self._signed_in.find(secret)
            return await self._signed_in.find(secret, fresh_s)
        except SQLAlchemyError as error:
            raise self._signed_in.unreachable(error) from None


class _SessionOverError(Exception):
    """Error in a response without end: the session of its reader has ended."""


class _Sending:
    """The sending side of a response: adds headers, and ends when its session does."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        """HTTP status of the answer; 500 until it begins."""
        self.session: Callable[[], Awaitable[Principal | None]] | None = None
        """Looks the session of the request up, if it has one."""

    async def __call__(self, message: Message) -> None:
        """Send one message of the response. Raises _SessionOverError."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [*message.get("headers", ())]
            given = {name for name, _ in own}
            own += [(name, value) for name, value in _HEADERS.items() if name not in given]
            message = {**message, "headers": own}
        elif self.session is not None and message.get("more_body", False):
            try:
                found = await self.session()
            except ApiError:  # only the database would know, which is away for long
                found = None
            if found is None:
                raise _SessionOverError
        await self._send(message)

    async def finish(self) -> None:
        """End a response that has begun."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _require_short(headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdigit() or int(length) > BODY_MAX:
        raise ApiError(
            413,
            UserError(
                "E-API-06",
                f"The body is longer than {BODY_MAX} bytes, or does not say how long it is.",
                "Send a short one, with Content-Length.",
            ),
        )


def _foreign() -> ApiError:
    return ApiError(
        403,
        UserError(
            "E-API-04",
            "This request comes from a page of another site.",
            "Ask from a program, or from a page that this server has served.",
        ),
    )


def _unauthorised(path: str, what: str) -> ApiError:
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


def _not_signed_in() -> ApiError:
    return ApiError(
        401,
        UserError(
            "E-API-23",
            "Nobody is signed in here, or the session has ended.",
            "Sign in; this prints a link that signs in once: offhook users link",
        ),
        {"WWW-Authenticate": 'Bearer realm="Offhook"'},
    )


def _credentials(authorization: str, *, basic: bool) -> bytes | None:
    """Return the token in the header; None without a token."""
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
