"""Principal of a request, and the role that its route needs.

A GET or HEAD needs a viewer, every other method an operator, unless the route is declared with
`dependencies=[needs(Role.…)]`.
"""

from typing import Any, Final

from fastapi import Depends
from starlette.requests import Request
from starlette.types import Scope

from offhook.api.problems import ApiError
from offhook.errors import UserError
from offhook.users.principal import Principal, Role

_KEY: Final = "offhook.principal"
"""Key of the principal in the scope of a request."""


class _Needed:
    """The role that a route is declared to need. As a dependency it does nothing by itself."""

    def __init__(self, role: Role) -> None:
        self.role: Final = role

    def __call__(self) -> None:
        """Do nothing: `require_role` reads the role."""


def needs(role: Role) -> Any:
    """Return the dependency by which a route declares the role that it needs."""
    return Depends(_Needed(role))


def set_principal(scope: Scope, principal: Principal) -> None:
    """Note who a request is from, for `principal_of`."""
    scope[_KEY] = principal


def principal_of(request: Request) -> Principal:
    """Return who a request is from: `OperatorAuth` lets no request in without."""
    found: Principal = request.scope[_KEY]
    return found


def role_needed(method: str, dependencies: Any) -> Role:
    """Return the role that a route with these dependencies needs for a method."""
    declared = [each.dependency for each in dependencies if isinstance(each.dependency, _Needed)]
    if declared:
        return declared[-1].role
    return Role.VIEWER if method in ("GET", "HEAD") else Role.OPERATOR


async def require_role(request: Request) -> None:
    """Refuse a request whose principal lacks the role that its route needs."""
    principal = principal_of(request)
    needed = role_needed(request.method, request.scope["route"].dependencies)
    if not principal.role.includes(needed):
        raise ApiError(
            403,
            UserError(
                "E-API-22",
                f"This needs the role {needed.value}, and yours is {principal.role.value}.",
                "Ask an admin to do it.",
            ),
        )
