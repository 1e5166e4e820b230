"""Routes of signing in and out, by a browser: its session is a cookie that no script can read."""

import asyncio
from typing import Final, Self

import pydantic
from fastapi import APIRouter, Response
from pydantic import Field, SecretStr
from sqlalchemy import Connection
from starlette.requests import Request

from offhook import __version__
from offhook.api import audit_log, routers
from offhook.api.models import ApiModel
from offhook.api.operator import Operator
from offhook.api.principal import needs, principal_of
from offhook.api.problems import ApiError
from offhook.api.signed_in import COOKIE, cookie_of
from offhook.errors import UserError
from offhook.records.database import clock_ms
from offhook.users import accounts, audit, passwords, sessions
from offhook.users.principal import SIGN_IN_LINK, Principal, Role

CHECKS_MAX: Final = 2
"""Passwords that are checked at once: each takes a thread, a core's work and 64 MiB."""

_SIGN_IN: Final = "signIn"


class SignInRequest(ApiModel):
    """The code of a link that the server has printed, or a user's name and password."""

    code: SecretStr | None = Field(default=None, max_length=200)
    """Code of a sign-in link: the text behind its `#`."""
    name: str | None = Field(default=None, max_length=200)
    password: SecretStr | None = Field(default=None, max_length=1000)

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.code is None) == (self.name is None or self.password is None):
            raise ValueError("send code, or name and password")
        return self


class SessionResponse(ApiModel):
    """User of a session."""

    name: str
    """Name of the user, or of what stands for one."""
    role: Role
    csrf: str
    """Value of the header X-Offhook-CSRF, which a browser sends with all but GET and HEAD. Empty
    for the API's token, which needs none."""
    version: str
    """Version of the server."""


def open_router(operator: Operator) -> APIRouter:
    """Return the route of signing in, which nobody needs to be signed in for."""
    made = routers.open_to_all("session")
    checks = asyncio.Semaphore(CHECKS_MAX)

    @made.post(
        "/session",
        operation_id=_SIGN_IN,
        summary="Sign in",
        response_model=SessionResponse,
        responses={401: {"description": "It is wrong, or used."}},
    )
    async def sign_in(
        request: Request, response: Response, asked: SignInRequest
    ) -> SessionResponse:
        """Begin a session, whose cookie the answer sets. A session that the browser had ends."""
        address = operator.addresses.of_request(request.scope)
        account = SIGN_IN_LINK.name if asked.name is None else f"user {asked.name}"
        operator.throttle.require(address, account)
        # Before the check: many may be on their way at once.
        operator.throttle.add(address, account)
        former = cookie_of(request.headers)
        if asked.code is not None:
            code = asked.code.get_secret_value()
            begun = await operator.change(lambda connection: _by_link(connection, code, former))
        else:
            async with checks:
                begun = await _by_password(operator, asked, former)
        if begun is None:
            operator.throttle.tell(address)
            raise _wrong(by_code=asked.code is not None)
        operator.throttle.take_back(address, account)
        if former is not None:
            operator.signed_in.forget(former)
        secret, principal = begun
        _set_cookie(request, response, secret)
        return _of(principal, sessions.csrf_of(secret))

    return made


def router(operator: Operator) -> APIRouter:
    """Return the routes of signed-in users."""
    made = routers.for_users("session")

    @made.get(
        "/session",
        operation_id="showSession",
        summary="Show the signed-in user",
        response_model=SessionResponse,
    )
    async def show_session(request: Request) -> SessionResponse:
        """Return who the request is from."""
        secret = cookie_of(request.headers)
        csrf = "" if "authorization" in request.headers or secret is None else secret
        return _of(principal_of(request), sessions.csrf_of(csrf) if csrf else "")

    @made.delete(
        "/session",
        operation_id="signOut",
        summary="Sign out",
        dependencies=[needs(Role.VIEWER)],
        status_code=204,
        response_class=Response,
    )
    async def sign_out(request: Request) -> Response:
        """End the session. Without one nothing happens."""
        answer = Response(status_code=204)
        secret = cookie_of(request.headers)
        if secret is not None and "authorization" not in request.headers:
            key = sessions.key_of(secret)
            await operator.change(lambda connection: sessions.end(connection, key))
            operator.signed_in.forget(secret)
            answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return made


def _by_link(connection: Connection, code: str, former: str | None) -> tuple[str, Principal] | None:
    """Begin a session if the code is good, and note in the same transaction that it was tried."""
    now_ms = clock_ms(connection)
    is_good = sessions.use_link(connection, code, now_ms)
    who = SIGN_IN_LINK.name if is_good else ""
    audit_log.write(connection, who, _SIGN_IN, "", 200 if is_good else 401)
    if not is_good:
        return None
    return _begin(connection, None, former, now_ms), SIGN_IN_LINK


async def _by_password(
    operator: Operator, asked: SignInRequest, former: str | None
) -> tuple[str, Principal] | None:
    assert asked.name is not None  # the request has them, or a code
    assert asked.password is not None
    name, password = asked.name, asked.password.get_secret_value()
    user = await operator.ask(lambda connection: accounts.find(connection, name))
    hashed = passwords.NO_ONES if user is None else user.password_hash
    is_right = await operator.readers.run(lambda: passwords.is_right(hashed, password))

    def work(connection: Connection) -> tuple[str, Principal] | None:
        # As it is now: the user may have been removed or changed while the password was checked.
        now = accounts.find(connection, name)
        is_good = is_right and now is not None and now == user
        # A name that nobody has may be a password that was typed into the wrong field.
        who = "" if now is None else now.name
        audit_log.write(connection, who, _SIGN_IN, "", 200 if is_good else 401)
        if now is None or not is_good:
            return None
        secret = _begin(connection, now.name, former, clock_ms(connection))
        return secret, Principal(now.name, now.role)

    return await operator.change(work)


def _begin(connection: Connection, name: str | None, former: str | None, now_ms: int) -> str:
    if former is not None:  # no session outlives a sign-in
        sessions.end(connection, sessions.key_of(former))
    audit.prune(connection, now_ms)
    return sessions.begin(connection, name, now_ms)


def _set_cookie(request: Request, response: Response, secret: str) -> None:
    origin = request.headers.get("origin", "")
    response.set_cookie(
        COOKIE,
        secret,
        max_age=sessions.SESSION_MS // 1000,
        path="/",
        httponly=True,
        samesite="strict",
        # Where TLS ends before this server, the page's origin tells of it.
        secure=request.url.scheme == "https" or origin.startswith("https://"),
    )


def _of(principal: Principal, csrf: str) -> SessionResponse:
    return SessionResponse(name=principal.name, role=principal.role, csrf=csrf, version=__version__)


def _wrong(*, by_code: bool) -> ApiError:
    if by_code:
        return ApiError(
            401,
            UserError(
                "E-API-25",
                "This link was used already, or is older than 15 minutes.",
                "Have a new one printed: offhook users link",
            ),
        )
    return ApiError(
        401,
        UserError(
            "E-API-28",
            "The name or the password is wrong.",
            "Try again, or set a new password on the server: offhook users password NAME",
        ),
    )
