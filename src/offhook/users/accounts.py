"""Users: their names, roles and passwords. Plain functions on a connection."""

import re
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, delete, select, update

from offhook.errors import UserError
from offhook.records import database, tables
from offhook.users.principal import Role

_users: Final = tables.users.c

NAME: Final = r"[a-z0-9][a-z0-9._@-]{0,62}"
"""Pattern of a user's name. The names of other principals (principal.py) have a space."""


@dataclass(frozen=True, slots=True)
class User:
    """A user. `since_ms` is the time of their making, in ms since 1970."""

    name: str
    role: Role
    since_ms: int
    password_hash: str = field(repr=False)


def users(connection: Connection) -> list[User]:
    """Return every user, by name."""
    rows = connection.execute(select(tables.users).order_by(_users.name))
    return [User(row.name, Role(row.role), row.since_ms, row.password_hash) for row in rows]


def find(connection: Connection, name: str) -> User | None:
    """Return the user of that name; None for an unknown one."""
    row = connection.execute(select(tables.users).where(_users.name == name)).one_or_none()
    return None if row is None else User(row.name, Role(row.role), row.since_ms, row.password_hash)


def require_name(name: str) -> None:
    """Raise UserError E-USR-02 for what cannot be a user's name."""
    if re.fullmatch(NAME, name) is None:
        raise UserError(
            "E-USR-02",
            "This cannot be the name of a user.",
            "Write up to 63 of: small letters, digits, and . _ @ - after the first.",
        )


def add(connection: Connection, user: User) -> None:
    """Add a user. Raises UserError E-USR-02 for a name that cannot be, E-USR-03 if it is there."""
    require_name(user.name)
    adding = database.insert(connection, tables.users).values(
        name=user.name,
        role=user.role.value,
        since_ms=user.since_ms,
        password_hash=user.password_hash,
    )
    if connection.scalar(adding.on_conflict_do_nothing().returning(_users.name)) is None:
        raise UserError(
            "E-USR-03",
            f"There is a user {user.name} already.",
            f"Take another name, or first run: offhook users remove {user.name}",
        )


def change(
    connection: Connection,
    name: str,
    *,
    role: Role | None = None,
    password_hash: str | None = None,
) -> None:
    """Give a user another role or password. Each session of theirs ends.

    Raises UserError E-USR-04 when there is no such user.
    """
    values = {"role": None if role is None else role.value, "password_hash": password_hash}
    given = {key: value for key, value in values.items() if value is not None}
    changing = update(tables.users).where(_users.name == name).values(**given)
    if given and connection.execute(changing).rowcount == 0:
        raise _unknown(name)
    connection.execute(delete(tables.sessions).where(tables.sessions.c.user_name == name))


def remove(connection: Connection, name: str) -> None:
    """Remove a user, and their sessions. Raises UserError E-USR-04 when there is no such user."""
    # Not left to the foreign key alone: a session without its user would be that of a link.
    connection.execute(delete(tables.sessions).where(tables.sessions.c.user_name == name))
    if connection.execute(delete(tables.users).where(_users.name == name)).rowcount == 0:
        raise _unknown(name)


def _unknown(name: str) -> UserError:
    require_name(name)  # so that the message repeats nothing but a name
    return UserError(
        "E-USR-04",
        f"There is no user {name}.",
        "See who there is: offhook users list",
    )
