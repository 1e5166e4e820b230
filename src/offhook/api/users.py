"""Routes of users and of the audit log, for admins."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field, SecretStr
from sqlalchemy import Connection
from starlette.requests import Request

from offhook.api import routers
from offhook.api.audit_log import acted_on
from offhook.api.models import ApiModel
from offhook.api.operator import Operator
from offhook.api.principal import needs
from offhook.records.database import clock_ms
from offhook.users import accounts, audit, passwords
from offhook.users.accounts import User
from offhook.users.audit import ListedAuditEntry
from offhook.users.principal import Role


class UserResponse(ApiModel):
    """A user."""

    name: str
    role: Role
    since_ms: int
    """Time at which the user was added, in ms since 1970."""


class UsersResponse(ApiModel):
    """All users, by name."""

    users: list[UserResponse]


class AddUserRequest(ApiModel):
    """A user to add."""

    name: str = Field(max_length=200, examples=["ada"])
    role: Role
    password: SecretStr = Field(max_length=1000)


class ChangeUserRequest(ApiModel):
    """Changes of a user; fields that are left out stay."""

    role: Role | None = None
    password: SecretStr | None = Field(default=None, max_length=1000)


class AuditResponse(ApiModel):
    """A page of the audit log, newest first."""

    entries: list[ListedAuditEntry]
    before: int | None
    """Value of `before` for the next page; null when this is the last."""


def router(operator: Operator) -> APIRouter:
    """Return the routes."""
    made = routers.for_users("users", needs(Role.ADMIN))
    unknown = {"description": "There is no such user."}

    @made.get(
        "/users", operation_id="listUsers", summary="List users", response_model=UsersResponse
    )
    async def list_users() -> UsersResponse:
        """List who may sign in with a password."""
        found = await operator.ask(accounts.users)
        return UsersResponse(
            users=[UserResponse(name=u.name, role=u.role, since_ms=u.since_ms) for u in found]
        )

    @made.post(
        "/users",
        operation_id="addUser",
        summary="Add a user",
        status_code=201,
        response_model=UserResponse,
        responses={409: {"description": "The name is taken."}},
    )
    async def add_user(request: Request, asked: AddUserRequest) -> UserResponse:
        """Add a user, who may sign in at once."""
        accounts.require_name(asked.name)
        acted_on(request, asked.name)
        password = asked.password.get_secret_value()
        hashed = await operator.readers.run(lambda: passwords.hash_of(password))

        def work(connection: Connection) -> User:
            user = User(asked.name, asked.role, clock_ms(connection), hashed)
            accounts.add(connection, user)
            return user

        user = await operator.change(work)
        return UserResponse(name=user.name, role=user.role, since_ms=user.since_ms)

    @made.put(
        "/users/{name}",
        operation_id="changeUser",
        summary="Change a user",
        status_code=204,
        response_class=Response,
        responses={404: unknown},
    )
    async def change_user(name: str, asked: ChangeUserRequest) -> Response:
        """Give a user another role or password. They must sign in again."""
        hashed = None
        if asked.password is not None:
            password = asked.password.get_secret_value()
            hashed = await operator.readers.run(lambda: passwords.hash_of(password))
        await operator.change(
            lambda connection: accounts.change(
                connection, name, role=asked.role, password_hash=hashed
            )
        )
        operator.signed_in.forget_user(name)
        return Response(status_code=204)

    @made.delete(
        "/users/{name}",
        operation_id="removeUser",
        summary="Remove a user",
        status_code=204,
        response_class=Response,
        responses={404: unknown},
    )
    async def remove_user(name: str) -> Response:
        """Remove a user, whose sessions end."""
        await operator.change(lambda connection: accounts.remove(connection, name))
        operator.signed_in.forget_user(name)
        return Response(status_code=204)

    @made.get(
        "/audit",
        operation_id="readAudit",
        summary="Read the audit log",
        response_model=AuditResponse,
    )
    async def read_audit(
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        before: Annotated[
            int | None, Query(ge=0, le=2**31 - 1, description="See `before`.")
        ] = None,
    ) -> AuditResponse:
        """Return the audit log: each request that was to change something, and each sign-in."""
        found = await operator.ask(lambda connection: audit.entries(connection, limit, before))
        return AuditResponse(
            entries=found,
            before=found[-1].id if len(found) == limit else None,
        )

    return made
